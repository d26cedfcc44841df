/* The command line: the rows of OPTION_LIST, read, checked and explained. */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum option_kind {
	KIND_FLAG,
	KIND_NUMBER,
	KIND_INTERFACE,
	KIND_PREFIX,
	KIND_ON_OFF,
	KIND_LEVEL,
	KIND_CPUS,
};

enum option_mode { MODE_BOTH, MODE_SERVER, MODE_ENDPOINT };

struct option_description {
	size_t offset; /* in struct options */
	const char *name;
	char letter; /* 0: none */
	enum option_kind kind;
	enum option_mode mode;
	bool is_required;
	const char *default_text; /* NULL: none */
	uint32_t minimum, maximum;
	const char *argument; /* NULL: takes none */
	const char *help;
	const char *note; /* in brackets beside the default, NULL: none */
};

static const struct option_description descriptions[] = {
#define OPTION_DESCRIPTION(field, name, letter, kind, mode, ...)                                   \
	{offsetof(struct options, field), name, letter, KIND_##kind, MODE_##mode, __VA_ARGS__},
	OPTION_LIST(OPTION_DESCRIPTION)
#undef OPTION_DESCRIPTION
};

enum { DESCRIPTION_COUNT = sizeof(descriptions) / sizeof(descriptions[0]) };

/* What stands behind an option's help: that it is required, or its default and a note. */
static void print_brackets(const struct option_description *option)
{
	const char *first = option->is_required ? "required" : option->default_text;
	const char *note = option->note;

	if (first != NULL || note != NULL)
		printf(" (%s%s%s)", first != NULL ? first : "",
		       first != NULL && note != NULL ? ", " : "", note != NULL ? note : "");
}

static void print_help(void)
{
	printf("Usage: udp-encap-tun --interface NAME --listen-port PORT --bind-to-interface NAME\n"
	       "                     [--endpoint-port PORT] [option...]\n\n"
	       "Carries TCP inside UDP, so that middleboxes cannot strip its options.\n"
	       "Without --endpoint-port it is the server that others connect to.\n\n"
	       "Options (default in brackets):\n");
	for (size_t i = 0; i < DESCRIPTION_COUNT; i++) {
		const struct option_description *option = &descriptions[i];
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s --%s%s%s", option->letter ? '-' : ' ',
			 option->letter ? option->letter : ' ', option->letter ? "," : " ",
			 option->name, option->argument ? " " : "",
			 option->argument ? option->argument : "");
		printf("  %-32s %s", left, option->help);
		print_brackets(option);
		putchar('\n');
	}
	printf("\nSIGUSR1 prints the counters on standard output; SIGINT and SIGTERM end the "
	       "program.\n"
	       "Exit status: 0 clean end, 1 it could not start or go on, 2 wrong usage.\n");
}

static bool read_number(const char *text, uint32_t minimum, uint32_t maximum, uint32_t *number)
{
	unsigned long long value;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	/* decimal, or hexadecimal with 0x as marks are written; never octal */
	value = strtoull(text, &end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	if (errno != 0 || *end != '\0' || value < minimum || value > maximum)
		return false;
	*number = (uint32_t)value;
	return true;
}

/* What the kernel's dev_valid_name() accepts. */
static bool read_interface(const char *text, char *name)
{
	size_t length = strlen(text);

	if (length == 0 || length >= IFNAMSIZ || strpbrk(text, "/: \t\n%") != NULL ||
	    strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return false;
	memcpy(name, text, length + 1);
	return true;
}

static bool read_level(const char *text, enum log_level *level)
{
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(text, log_level_name((enum log_level)i)) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* Numbers and ranges: "0,2-3". */
static bool read_cpus(const char *text, cpu_set_t *cpus)
{
	CPU_ZERO(cpus);
	for (;;) {
		unsigned long first, last;
		char *end;

		if (*text < '0' || *text > '9')
			return false;
		first = last = strtoul(text, &end, 10);
		if (*end == '-') {
			if (end[1] < '0' || end[1] > '9')
				return false;
			last = strtoul(end + 1, &end, 10);
		}
		if (first > last || last >= CPU_SETSIZE)
			return false;
		for (; first <= last; first++)
			CPU_SET(first, cpus);
		if (*end == '\0')
			return true;
		if (*end != ',')
			return false;
		text = end + 1;
	}
}

static bool read_value(const struct option_description *option, const char *text,
		       struct options *options)
{
	char *field = (char *)options + option->offset;
	bool on;

	switch (option->kind) {
	case KIND_NUMBER:
		return read_number(text, option->minimum, option->maximum,
				   (uint32_t *)(void *)field);
	case KIND_INTERFACE:
		return read_interface(text, field);
	case KIND_PREFIX:
		return ip_prefix_parse(text, (struct ip_prefix *)field);
	case KIND_LEVEL:
		return read_level(text, (enum log_level *)(void *)field);
	case KIND_CPUS:
		return read_cpus(text, (cpu_set_t *)(void *)field);
	case KIND_ON_OFF:
		on = strcmp(text, "on") == 0;
		if (!on && strcmp(text, "off") != 0)
			return false;
		*(bool *)field = on;
		return true;
	case KIND_FLAG:
		*(bool *)field = true;
		return true;
	}
	return false;
}

static void complain_about_value(const struct option_description *option, const char *text)
{
	switch (option->kind) {
	case KIND_NUMBER:
		log_error("--%s takes a number from %u to %u, not '%s'", option->name,
			  option->minimum, option->maximum, text);
		break;
	case KIND_INTERFACE:
		log_error("--%s takes the name of an interface (1 to %d characters), not '%s'",
			  option->name, IFNAMSIZ - 1, text);
		break;
	case KIND_PREFIX:
		log_error("--%s takes an IPv4 address and prefix length such as 10.0.0.1/24, not "
			  "'%s'",
			  option->name, text);
		break;
	case KIND_CPUS:
		log_error("--%s takes numbers and ranges of CPUs from 0 to %d such as 0,2-3, not "
			  "'%s'",
			  option->name, CPU_SETSIZE - 1, text);
		break;
	case KIND_ON_OFF:
		log_error("--%s takes 'on' or 'off', not '%s'", option->name, text);
		break;
	default:
		log_error("--%s takes error, warning, info or debug, not '%s'", option->name, text);
		break;
	}
}

/* Returns false after one line told what the option takes. */
static bool take_value(const struct option_description *option, const char *text,
		       struct options *options)
{
	if (read_value(option, text, options))
		return true;
	complain_about_value(option, text);
	return false;
}

/* A default is read as what somebody typed: one that its own option refuses is refused. */
static bool take_defaults(struct options *options)
{
	memset(options, 0, sizeof(*options));
	for (size_t i = 0; i < DESCRIPTION_COUNT; i++) {
		const char *text = descriptions[i].default_text;

		if (text != NULL && !take_value(&descriptions[i], text, options))
			return false;
	}
	return true;
}

static const char *argument_of(const struct option_description *option)
{
	return option->argument != NULL ? option->argument : "nothing";
}

/* getopt_long() says only which character or word it stumbled over. */
static void complain_about_word(int found, char *word)
{
	char *equals;

	for (size_t i = 0; i < DESCRIPTION_COUNT; i++) {
		const struct option_description *option = &descriptions[i];

		if (optopt != 0 && (optopt == option->letter || optopt == (int)(256 + i))) {
			if (found == ':')
				log_error("--%s needs an argument: %s", option->name,
					  argument_of(option));
			else
				log_error("--%s takes no argument", option->name);
			return;
		}
	}
	equals = strchr(word, '=');
	if (equals != NULL)
		*equals = '\0';
	if (optopt != 0)
		log_error("unknown option '-%c' (see --help)", optopt);
	else
		log_error("unknown or ambiguous option '%s' (see --help)", word);
}

static bool check_required(const bool *given)
{
	for (size_t i = 0; i < DESCRIPTION_COUNT; i++) {
		if (descriptions[i].is_required && !given[i]) {
			log_error("--%s %s is missing: it is required (see --help)",
				  descriptions[i].name, argument_of(&descriptions[i]));
			return false;
		}
	}
	return true;
}

static bool check_mode(const bool *given, bool server_mode)
{
	for (size_t i = 0; i < DESCRIPTION_COUNT; i++) {
		const struct option_description *option = &descriptions[i];

		if (!given[i])
			continue;
		if (option->mode == MODE_SERVER && !server_mode) {
			log_error("--%s is for server mode: it does not go with --endpoint-port",
				  option->name);
			return false;
		}
		if (option->mode == MODE_ENDPOINT && server_mode) {
			log_error("--%s is for endpoint mode: it needs --endpoint-port",
				  option->name);
			return false;
		}
	}
	return true;
}

static bool is_one_of_the_offloads(const struct option_description *option)
{
	return option->offset == offsetof(struct options, tun_offload) ||
	       option->offset == offsetof(struct options, udp_segmentation) ||
	       option->offset == offsetof(struct options, udp_gro);
}

/* --offload off means all of them; asking for one beside it is a contradiction. */
static bool settle_offloads(struct options *options, const bool *given)
{
	if (options->offload)
		return true;
	for (size_t i = 0; i < DESCRIPTION_COUNT; i++) {
		const struct option_description *option = &descriptions[i];
		bool *field = (bool *)((char *)options + option->offset);

		if (!is_one_of_the_offloads(option))
			continue;
		if (given[i] && *field) {
			log_error("--offload off means --%s off: it does not go with --%s on",
				  option->name, option->name);
			return false;
		}
		*field = false;
	}
	return true;
}

static bool check_together(const struct options *options, const bool *given)
{
	if (!check_required(given) || !check_mode(given, options_server_mode(options)))
		return false;
	if (options->port_per_worker && options->listen_port + options->threads > UINT16_MAX + 1) {
		log_error("--port-per-worker needs %u ports from --listen-port on, and %u is the "
			  "last one",
			  options->threads, UINT16_MAX);
		return false;
	}
	if (strcmp(options->interface, options->bind_to_interface) == 0) {
		log_error("--interface and --bind-to-interface must be two interfaces, not '%s' "
			  "twice",
			  options->interface);
		return false;
	}
	if (options->address.length != 0 && options->address.length < IPV4_MAPPED_BITS + 1) {
		log_error("--address takes a prefix length from 1 to 32");
		return false;
	}
	if (options->peer_pool.length != 0 && options->peer_pool.length < IPV4_MAPPED_BITS + 1) {
		log_error("--peer-pool takes a prefix length from 1 to 32");
		return false;
	}
	return true;
}

/* The table in getopt's form; a long option's value is 256 plus its index. */
static void describe_to_getopt(struct option *longs, char *letters)
{
	size_t letter = 0;

	letters[letter++] = ':'; /* tell a missing argument from an unknown option */
	for (size_t i = 0; i < DESCRIPTION_COUNT; i++) {
		int takes = descriptions[i].argument != NULL ? required_argument : no_argument;

		longs[i] = (struct option){descriptions[i].name, takes, NULL, (int)(256 + i)};
		if (descriptions[i].letter == 0)
			continue;
		letters[letter++] = descriptions[i].letter;
		if (takes == required_argument)
			letters[letter++] = ':';
	}
	letters[letter] = '\0';
	longs[DESCRIPTION_COUNT] = (struct option){NULL, 0, NULL, 0};
}

static size_t index_of(int found)
{
	size_t index = 0;

	if (found >= 256)
		return (size_t)found - 256;
	while (descriptions[index].letter != found)
		index++;
	return index;
}

/* --help and --version, whichever came first. */
static void answer(const struct options *options)
{
	if (options->help)
		print_help();
	else
		printf("udp-encap-tun %s\n", PROGRAM_VERSION);
}

enum options_outcome options_parse(int argc, char **argv, struct options *options)
{
	struct option longs[DESCRIPTION_COUNT + 1];
	char letters[2 * DESCRIPTION_COUNT + 2];
	bool given[DESCRIPTION_COUNT] = {false};
	int found;

	if (!take_defaults(options))
		return OPTIONS_WRONG;
	describe_to_getopt(longs, letters);
	opterr = 0;
	optopt = 0;
	while ((found = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct option_description *option;

		if (found == '?' || found == ':') {
			complain_about_word(found, argv[optind - 1]);
			return OPTIONS_WRONG;
		}
		option = &descriptions[index_of(found)];
		if (!take_value(option, optarg, options))
			return OPTIONS_WRONG;
		if (options->help || options->version) {
			answer(options);
			return OPTIONS_DONE;
		}
		given[option - descriptions] = true;
	}
	if (optind < argc) {
		log_error("unknown command or argument '%s' (see --help)", argv[optind]);
		return OPTIONS_WRONG;
	}
	return check_together(options, given) && settle_offloads(options, given) ? OPTIONS_RUN
										 : OPTIONS_WRONG;
}
