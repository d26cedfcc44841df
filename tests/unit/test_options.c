/*
 * The command line: defaults, every option, and every mistake, which is answered by one line that
 * names the option and what it takes.
 */
#include "cli/options.h"

#include "capture.h"
#include "random_traffic.h"

#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	MAX_WORDS = 40,
};

static struct options options;
static struct capture written;

/* Reads a command line whose words are separated by single spaces; '~' stands for an empty word. */
static enum options_outcome parse(const char *line)
{
	char *words[MAX_WORDS] = {NULL};
	char *copy = strdup(line);
	enum options_outcome outcome;
	int count = 0;

	assert_non_null(copy);
	words[count++] = copy;
	for (char *at = copy; (at = strchr(at, ' ')) != NULL;) {
		*at++ = '\0';
		assert_true(count < MAX_WORDS - 1);
		words[count++] = at;
	}
	for (int i = 0; i < count; i++) {
		if (strcmp(words[i], "~") == 0)
			words[i][0] = '\0';
	}
	memset(&options, 0xa5, sizeof(options));
	optind = 0; /* glibc: begin anew */
	capture_begin(&written);
	outcome = options_parse(count, words, &options);
	capture_end(&written);
	free(copy);
	return outcome;
}

#define REQUIRED "udp-encap-tun --interface tun0 --listen-port 12345 --bind-to-interface eth0"

/* Takes these words behind those that are required. */
static void take(const char *words)
{
	char line[512];

	snprintf(line, sizeof(line), "%s%s%s", REQUIRED, words[0] != '\0' ? " " : "", words);
	if (parse(line) != OPTIONS_RUN)
		fail_msg("'%s' is refused: %s", line, written.errors);
	assert_string_equal(written.output, "");
	assert_string_equal(written.errors, "");
}

static void refuse_line(const char *line, const char *must_name)
{
	if (parse(line) != OPTIONS_WRONG)
		fail_msg("'%s' is accepted", line);
	assert_string_equal(written.output, "");
	if (count_lines(written.errors) != 1 ||
	    strncmp(written.errors, "udp-encap-tun: error: ", 22) != 0)
		fail_msg("'%s' is not answered by one line: %s", line, written.errors);
	if (strstr(written.errors, must_name) == NULL)
		fail_msg("'%s' is answered without '%s': %s", line, must_name, written.errors);
}

/* Refuses these words behind those that are required, and says why. */
static void refuse(const char *words, const char *must_name)
{
	char line[512];

	snprintf(line, sizeof(line), "%s %s", REQUIRED, words);
	refuse_line(line, must_name);
}

static void defaults(void **state)
{
	(void)state;
	take("");
	assert_string_equal(options.interface, "tun0");
	assert_string_equal(options.bind_to_interface, "eth0");
	assert_int_equal(options.listen_port, 12345);
	assert_int_equal(options.endpoint_port, 0);
	assert_true(options_server_mode(&options));
	assert_int_equal(options.threads, 0);
	assert_int_equal(options.address.length, 0);
	assert_int_equal(options.peer_pool.length, 0);
	assert_int_equal(options.mtu, 0);
	assert_int_equal(CPU_COUNT(&options.cpus), 0);
	assert_false(options.wait_for_device);
	assert_false(options.port_per_worker);
	assert_int_equal(options.connection_timeout, 300);
	assert_int_equal(options_max_connections(&options), 65536);
	assert_int_equal(options.address_quarantine, 1200);
	assert_int_equal(options.keepalive, 25);
	assert_int_equal(options.busy_poll, 100);
	assert_int_equal(options.keepalive_for, 7500);
	assert_int_equal(options.fwmark, 0);
	assert_false(options.solicited_only);
	assert_true(options.offload);
	assert_true(options.tun_offload && options.udp_segmentation && options.udp_gro);
	assert_false(options.log_peers);
	assert_int_equal(options.log_level, LOG_LEVEL_INFO);
}

struct row {
	size_t offset, size; /* of the field in struct options */
	const char *name, *kind, *mode;
	bool is_required;
	const char *default_text;
	uint64_t minimum, maximum;
	const char *argument;
};

static const struct row rows[] = {
#define SIZE_OF(field) sizeof(((struct options *)NULL)->field)
#define ROW(field, name, letter, kind, mode, is_required, default_text, minimum, maximum,          \
	    argument, ...)                                                                         \
	{offsetof(struct options, field),                                                          \
	 SIZE_OF(field),                                                                           \
	 name,                                                                                     \
	 #kind,                                                                                    \
	 #mode,                                                                                    \
	 is_required,                                                                              \
	 default_text,                                                                             \
	 minimum,                                                                                  \
	 maximum,                                                                                  \
	 argument},
	OPTION_LIST(ROW)
#undef ROW
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

/* Who types a default gets what he has without it, and is not refused. */
static void each_default_is_read_as_if_it_were_typed(void **state)
{
	int defaults = 0;

	(void)state;
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const char *mode = strcmp(rows[i].mode, "ENDPOINT") == 0 ? "-e 1" : "-l 12345";
		struct options without;
		char words[128];

		if (rows[i].default_text == NULL)
			continue;
		defaults++;
		take(mode);
		without = options;
		snprintf(words, sizeof(words), "%s --%s %s", mode, rows[i].name,
			 rows[i].default_text);
		take(words);
		if (memcmp((char *)&without + rows[i].offset, (char *)&options + rows[i].offset,
			   rows[i].size) != 0)
			fail_msg("--%s %s is not what its absence is", rows[i].name,
				 rows[i].default_text);
	}
	assert_true(defaults > 0);
}

static void rows_that_hold_together(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct row *row = &rows[i];
		bool is_number = strcmp(row->kind, "NUMBER") == 0;
		uint64_t value;

		if ((row->argument == NULL) != (strcmp(row->kind, "FLAG") == 0))
			fail_msg("--%s: all but flags take an argument", row->name);
		if (row->default_text != NULL && (row->is_required || row->argument == NULL))
			fail_msg("--%s can have no default", row->name);
		if (is_number != (row->maximum > row->minimum))
			fail_msg("--%s: numbers have bounds, nothing else has", row->name);
		if (!is_number || row->default_text == NULL)
			continue;
		value = strtoull(row->default_text, NULL, 10);
		if (value < row->minimum || value > row->maximum)
			fail_msg("--%s: the default %s is out of its bounds", row->name,
				 row->default_text);
	}
}

static void assert_prefix(const struct ip_prefix *prefix, uint32_t address, unsigned length)
{
	struct ip_address expected = ipv4_address(address);

	assert_memory_equal(&prefix->address, &expected, sizeof(expected));
	assert_int_equal(prefix->length, 96 + length);
}

static void every_option_of_server_mode(void **state)
{
	(void)state;
	take("--threads 4 --address 10.0.0.1/24 --mtu 1400 --peer-pool 10.1.0.0/16 "
	     "--connection-timeout 60 --max-connections 1000000 --address-quarantine 0 "
	     "--fwmark 0x1f --offload off --log-level debug --log-peers");
	assert_int_equal(options.threads, 4);
	assert_prefix(&options.address, 0x0a000001, 24);
	assert_int_equal(options.mtu, 1400);
	assert_prefix(&options.peer_pool, 0x0a010000, 16);
	assert_int_equal(options.connection_timeout, 60);
	assert_int_equal(options.max_connections, 1000000);
	assert_int_equal(options_max_connections(&options), 1000000);
	assert_int_equal(options.address_quarantine, 0);
	assert_int_equal(options.fwmark, 0x1f);
	assert_false(options.offload);
	assert_false(options.tun_offload || options.udp_segmentation || options.udp_gro);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
	assert_true(options.log_peers);
	assert_true(options_server_mode(&options));
}

static void every_option_of_endpoint_mode(void **state)
{
	(void)state;
	take("--endpoint-port 443 --keepalive 0 --keepalive-for 86400 --solicited-only "
	     "--offload on --address 10.0.0.2/31 --wait-for-device");
	assert_int_equal(options.endpoint_port, 443);
	assert_false(options_server_mode(&options));
	assert_int_equal(options.keepalive, 0);
	assert_int_equal(options.keepalive_for, 86400);
	assert_true(options.solicited_only);
	assert_true(options.wait_for_device);
	assert_true(options.offload);
	assert_prefix(&options.address, 0x0a000002, 31);
}

static void short_options(void **state)
{
	(void)state;
	assert_int_equal(parse("udp-encap-tun -i tun7 -l 1 -b wwan0 -e 65535 -t 2"), OPTIONS_RUN);
	assert_string_equal(options.interface, "tun7");
	assert_int_equal(options.listen_port, 1);
	assert_string_equal(options.bind_to_interface, "wwan0");
	assert_int_equal(options.endpoint_port, 65535);
	assert_int_equal(options.threads, 2);
	assert_int_equal(parse("udp-encap-tun -itun7 -l1 -bwwan0"), OPTIONS_RUN);
	assert_int_equal(parse("udp-encap-tun --interface=tun7 --listen-port=9 "
			       "--bind-to-interface=eth1"),
			 OPTIONS_RUN);
	assert_int_equal(options.listen_port, 9);
}

static void log_levels(void **state)
{
	static const char *const levels[] = {"error", "warning", "info", "debug"};

	(void)state;
	for (int i = 0; i < 4; i++) {
		char words[64];

		snprintf(words, sizeof(words), "--log-level %s", levels[i]);
		take(words);
		assert_int_equal(options.log_level, LOG_LEVEL_ERROR + i);
	}
	refuse("--log-level loud", "--log-level");
	refuse("--log-level ~", "--log-level");
	refuse("--log-level INFO", "--log-level");
}

static void what_is_required(void **state)
{
	(void)state;
	refuse_line("udp-encap-tun", "--");
	refuse_line("udp-encap-tun -l 1 -b eth0", "--interface");
	refuse_line("udp-encap-tun -i tun0 -b eth0", "--listen-port");
	refuse_line("udp-encap-tun -i tun0 -l 1", "--bind-to-interface");
}

/* Values of `option` that are no number from low to high. */
static void refuse_numbers(const char *option, const char *more, uint64_t low, uint64_t high)
{
	static const char *const no_numbers[] = {"~",
						 "x",
						 "-1",
						 "+1",
						 "1x",
						 "1.5",
						 "1e3",
						 "0x",
						 "0xg",
						 "1,0",
						 "--",
						 "12345678901",
						 "18446744073709551617",
						 "0x100000001"};
	char words[128];

	for (size_t i = 0; i < sizeof(no_numbers) / sizeof(no_numbers[0]); i++) {
		snprintf(words, sizeof(words), "%s --%s %s", more, option, no_numbers[i]);
		refuse(words, option);
	}
	if (low > 0) {
		snprintf(words, sizeof(words), "%s --%s %llu", more, option,
			 (unsigned long long)low - 1);
		refuse(words, option);
	}
	snprintf(words, sizeof(words), "%s --%s %llu", more, option, (unsigned long long)high + 1);
	refuse(words, option);
	/* the line says what it takes */
	snprintf(words, sizeof(words), "from %llu to %llu", (unsigned long long)low,
		 (unsigned long long)high);
	assert_non_null(strstr(written.errors, words));
	snprintf(words, sizeof(words), "%s --%s %llu", more, option, (unsigned long long)low);
	take(words);
	snprintf(words, sizeof(words), "%s --%s %llu", more, option, (unsigned long long)high);
	take(words);
}

static void numbers(void **state)
{
	(void)state;
	refuse_numbers("listen-port", "--log-peers", 1, 65535);
	refuse_numbers("endpoint-port", "--log-peers", 1, 65535);
	refuse_numbers("threads", "--log-peers", 1, 256);
	refuse_numbers("connection-timeout", "--log-peers", 1, 1 << 30);
	refuse_numbers("address-quarantine", "--log-peers", 0, 1 << 30);
	refuse_numbers("max-connections", "--log-peers", 1, 1 << 24);
	refuse_numbers("keepalive", "-e 1", 0, 1 << 30);
	refuse_numbers("keepalive-for", "-e 1", 1, 1 << 30);
	refuse_numbers("busy-poll", "-e 1", 0, 10000);
	refuse_numbers("fwmark", "-e 1", 1, UINT32_MAX);
	refuse_numbers("mtu", "-e 1", 576, 65527);
}

/* Nobody means octal; marks are written in hexadecimal. */
static void how_numbers_are_written(void **state)
{
	(void)state;
	take("--threads 010");
	assert_int_equal(options.threads, 10);
	take("--fwmark 0xffffffff");
	assert_true(options.fwmark == 0xffffffff);
	take("--fwmark 0XaB");
	assert_int_equal(options.fwmark, 0xab);
}

static void names_of_interfaces(void **state)
{
	(void)state;
	assert_int_equal(parse("udp-encap-tun -i 123456789012345 -l 1 -b a"), OPTIONS_RUN);
	assert_string_equal(options.interface, "123456789012345");
	refuse_line("udp-encap-tun -i 1234567890123456 -l 1 -b a", "--interface");
	refuse_line("udp-encap-tun -i ~ -l 1 -b a", "--interface");
	refuse_line("udp-encap-tun -i a/b -l 1 -b a", "--interface");
	refuse_line("udp-encap-tun -i . -l 1 -b a", "--interface");
	refuse_line("udp-encap-tun -i .. -l 1 -b a", "--interface");
	refuse_line("udp-encap-tun -i tun0 -l 1 -b eth0:1", "--bind-to-interface");
	refuse_line("udp-encap-tun -i tun0 -l 1 -b 1234567890123456", "--bind-to-interface");
	refuse_line("udp-encap-tun -i eth0 -l 1 -b eth0", "--interface");
	/* the kernel would make a name of it: the program could not find it again */
	refuse_line("udp-encap-tun -i tun%d -l 1 -b a", "--interface");
}

static void prefixes(void **state)
{
	static const char *const wrong[] = {"~",           "10.0.0.1",      "10.0.0.1/33",
					    "10.0.0.1/0",  "10.0.0.256/24", "2001:db8::1/64",
					    "10.0.0.1/24x"};
	char words[128];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(words, sizeof(words), "--address %s", wrong[i]);
		refuse(words, "--address");
		snprintf(words, sizeof(words), "--peer-pool %s", wrong[i]);
		refuse(words, "--peer-pool");
	}
	take("--address 10.0.0.1/32 --peer-pool 10.0.0.0/1");
}

static void lists_of_cpus(void **state)
{
	static const char *const wrong[] = {"~",    "a",      "-1",  "1-",
					    "3-1",  "0,,1",   "0,",  ",0",
					    "1024", "0-1024", "0x1", "99999999999999999999"};
	char words[128];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(words, sizeof(words), "--cpus %s", wrong[i]);
		refuse(words, "--cpus");
	}
	take("--log-peers");
	assert_int_equal(CPU_COUNT(&options.cpus), 0);
	take("--cpus 1023,0,2-4,3");
	assert_int_equal(CPU_COUNT(&options.cpus), 5);
	assert_true(CPU_ISSET(0, &options.cpus) && !CPU_ISSET(1, &options.cpus) &&
		    CPU_ISSET(2, &options.cpus) && CPU_ISSET(3, &options.cpus) &&
		    CPU_ISSET(4, &options.cpus) && CPU_ISSET(1023, &options.cpus));
}

/* Each worker's port follows from its number alone; there must be one for each. */
static void ports_of_workers(void **state)
{
	(void)state;
	take("-e 1 --listen-port 5000 --threads 3");
	assert_int_equal(options_own_port(&options, 2), htons(5000));
	take("-e 1 --listen-port 5000 --threads 3 --port-per-worker");
	assert_int_equal(options_own_port(&options, 0), htons(5000));
	assert_int_equal(options_own_port(&options, 2), htons(5002));
	take("-e 1 --listen-port 65533 --threads 3 --port-per-worker");
	refuse("-e 1 --listen-port 65534 --threads 3 --port-per-worker", "--port-per-worker");
	refuse("--threads 3 --port-per-worker", "--port-per-worker");
}

static void on_and_off(void **state)
{
	(void)state;
	refuse("--offload yes", "--offload");
	refuse("--offload ~", "--offload");
	refuse("--offload ON", "--offload");
	refuse("--offload onn", "--offload");
}

static void each_offload_is_switched_by_itself(void **state)
{
	(void)state;
	take("--udp-segmentation off");
	assert_true(options.offload && options.tun_offload && options.udp_gro);
	assert_false(options.udp_segmentation);
	take("--tun-offload off --udp-gro off --udp-segmentation on");
	assert_false(options.tun_offload || options.udp_gro);
	assert_true(options.udp_segmentation);
	take("--offload off --udp-gro off");
	assert_false(options.tun_offload || options.udp_segmentation || options.udp_gro);
	refuse("--offload off --udp-gro on", "--udp-gro on");
	refuse("--tun-offload on --offload off", "--tun-offload on");
	refuse("--offload off --udp-segmentation on", "--udp-segmentation on");
	take("--offload off --udp-gro on --offload on");
	assert_true(options.tun_offload && options.udp_segmentation && options.udp_gro);
}

static void options_of_the_other_mode(void **state)
{
	(void)state;
	refuse("--keepalive 5", "--keepalive");
	refuse("--keepalive-for 5", "--keepalive-for");
	refuse("--solicited-only", "--solicited-only");
	refuse("-e 1 --peer-pool 10.0.0.0/8", "--peer-pool");
	refuse("-e 1 --address-quarantine 5", "--address-quarantine");
}

static void what_is_no_option(void **state)
{
	(void)state;
	refuse("--interfaces tun0", "--interfaces");
	refuse("--no-such", "--no-such");
	refuse("--no-such=5", "--no-such");
	refuse("-x", "-x");
	refuse("show", "show");
	refuse("--log-peers extra", "extra");
	refuse("-- extra", "extra");
	refuse("--listen-port", "--listen-port needs an argument: PORT");
	refuse("-l", "--listen-port needs an argument: PORT");
	refuse("--log-peers=yes", "--log-peers");
	refuse("--solicited-only=1", "--solicited-only");
}

static void an_option_given_twice_is_the_last_one(void **state)
{
	(void)state;
	take("--listen-port 7 --log-level error --log-level debug");
	assert_int_equal(options.listen_port, 7);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
}

static void help_and_version(void **state)
{
	static const char *const names[] = {
		"--interface",
		"--listen-port",
		"--bind-to-interface",
		"--endpoint-port",
		"--threads",
		"--port-per-worker",
		"--cpus",
		"--busy-poll",
		"--wait-for-device",
		"--address",
		"--mtu",
		"--peer-pool",
		"--keepalive",
		"--keepalive-for",
		"--connection-timeout",
		"--max-connections",
		"--solicited-only",
		"--fwmark",
		"--address-quarantine",
		"--offload",
		"--tun-offload",
		"--udp-segmentation",
		"--udp-gro",
		"--log-level",
		"--log-peers",
		"--version",
		"--help",
		"-i,",
		"-l,",
		"-b,",
		"-e,",
		"-t,",
	};

	(void)state;
	assert_int_equal(parse("udp-encap-tun --help"), OPTIONS_DONE);
	assert_string_equal(written.errors, "");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strstr(written.output, names[i]) == NULL)
			fail_msg("--help does not tell of %s", names[i]);
	}
	for (const char *line = written.output; *line != '\0';) {
		const char *end = strchr(line, '\n');

		assert_non_null(end);
		assert_in_range(end - line, 0, 100);
		line = end + 1;
	}
	/* without what is required, and whatever else there is */
	assert_int_equal(parse("udp-encap-tun --version"), OPTIONS_DONE);
	assert_string_equal(written.output, "udp-encap-tun " PROGRAM_VERSION "\n");
	assert_string_equal(written.errors, "");
	assert_int_equal(parse("udp-encap-tun -l 5 --version"), OPTIONS_DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(each_default_is_read_as_if_it_were_typed),
		cmocka_unit_test(rows_that_hold_together),
		cmocka_unit_test(every_option_of_server_mode),
		cmocka_unit_test(every_option_of_endpoint_mode),
		cmocka_unit_test(short_options),
		cmocka_unit_test(log_levels),
		cmocka_unit_test(what_is_required),
		cmocka_unit_test(numbers),
		cmocka_unit_test(how_numbers_are_written),
		cmocka_unit_test(names_of_interfaces),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(lists_of_cpus),
		cmocka_unit_test(ports_of_workers),
		cmocka_unit_test(on_and_off),
		cmocka_unit_test(each_offload_is_switched_by_itself),
		cmocka_unit_test(options_of_the_other_mode),
		cmocka_unit_test(what_is_no_option),
		cmocka_unit_test(an_option_given_twice_is_the_last_one),
		cmocka_unit_test(help_and_version),
	};

	return report_seed(cmocka_run_group_tests_name("options", tests, NULL, NULL));
}
