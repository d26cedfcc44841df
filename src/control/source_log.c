/* Lines about addresses to send from; see source_log.h for the theory of operation. */
#include "control/source_log.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

/* Longer than any client takes to replace an address, and soon for a person. */
enum { PATIENCE_MS = 300 };

void source_log_start(struct source_log *log, event_loop *loop, const char *device)
{
	log->loop = loop;
	log->device = device;
}

void source_log_close(struct source_log *log)
{
	event_timer_stop(&log->patience);
}

__attribute__((format(printf, 2, 3))) static void add(char *command, const char *format, ...)
{
	size_t used = strlen(command);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command + used, SOURCE_COMMAND_SIZE - used, format, arguments);
	va_end(arguments);
}

/* Where the route leads, as ip-route(8) has it. */
static void add_way(char *command, const char *device, const struct link_route *route)
{
	char text[IP_ADDRESS_TEXT_SIZE];

	if (route->nexthop != 0) {
		add(command, " nhid %u", route->nexthop);
		return;
	}
	if (!ip_address_is_none(&route->gateway))
		add(command, " via %s", ip_address_text(&route->gateway, text));
	add(command, " dev %s", device);
	if (route->is_onlink)
		add(command, " onlink");
}

void source_log_command(char *command, const char *device, const struct link_route *route,
			const struct ip_address *source)
{
	const uint32_t main_table = 254; /* RT_TABLE_MAIN */
	unsigned length = route->destination.length - (unsigned)IPV4_MAPPED_BITS;
	char text[IP_ADDRESS_TEXT_SIZE];

	command[0] = '\0';
	if (route->is_more && route->nexthop == 0)
		return;
	add(command, "ip route change %s",
	    length == 0 ? "default" : ip_address_text(&route->destination.address, text));
	if (length > 0)
		add(command, "/%u", length);
	add_way(command, device, route);
	if (route->table != main_table)
		add(command, " table %u", route->table);
	if (route->tos != 0)
		add(command, " tos 0x%02x", route->tos);
	if (route->metric != 0)
		add(command, " metric %u", route->metric);
	add(command, " src %s", ip_address_text(source, text));
}

static void tell(const struct source_log *log, struct source_trouble *trouble)
{
	bool is_for_all = ip_address_is_none(&trouble->destination);
	char address[IP_ADDRESS_TEXT_SIZE];
	char what[IP_ADDRESS_TEXT_SIZE + 32] = "to send from";

	if (!is_for_all)
		snprintf(what, sizeof(what), "from which to send to %s",
			 ip_address_text(&trouble->destination, address));
	trouble->is_told = true;
	trouble->advice_is_told = trouble->command[0] != '\0';
	if (trouble->advice_is_told)
		log_warning("%s has no address %s: datagrams are discarded until it has one; if "
			    "they shall leave from %s, an address of %s: %s",
			    log->device, what, ip_address_text(&trouble->address, address),
			    trouble->holder, trouble->command);
	else
		log_warning("%s has no address %s: datagrams are discarded until it has one%s",
			    log->device, what, is_for_all ? " (waiting for DHCP?)" : "");
}

static void tell_route(const struct source_log *log, struct source_trouble *trouble)
{
	char text[IP_ADDRESS_TEXT_SIZE];

	trouble->is_told = true;
	log_warning("%s has no route to %s: as a rule nothing arrives there; give the device a "
		    "default route with a metric of its own ('ip route add default via GATEWAY dev "
		    "%s metric NUMBER')",
		    log->device, ip_address_text(&trouble->destination, text), log->device);
}

static bool is_news(const struct source_trouble *trouble)
{
	return trouble->is_there &&
	       (!trouble->is_told || (trouble->command[0] != '\0' && !trouble->advice_is_told));
}

static void tell_what_is_missing(void *state)
{
	struct source_log *log = state;

	if (is_news(&log->of_device))
		tell(log, &log->of_device);
	if (is_news(&log->of_destination))
		tell(log, &log->of_destination);
	if (is_news(&log->of_route))
		tell_route(log, &log->of_route);
}

static void be_patient(struct source_log *log, const struct source_trouble *trouble)
{
	if (is_news(trouble) && !event_timer_is_started(&log->patience))
		event_timer_start(log->loop, &log->patience, PATIENCE_MS, tell_what_is_missing,
				  log);
}

static void end_trouble(struct source_trouble *trouble)
{
	memset(trouble, 0, sizeof(*trouble));
}

void source_log_device_has(struct source_log *log, const struct ip_address *address)
{
	bool is_other = !ip_address_is_none(&log->told) && !ip_address_equal(&log->told, address);
	char text[IP_ADDRESS_TEXT_SIZE];

	if (log->of_device.is_told || is_other)
		log_info("%s sends from %s", log->device, ip_address_text(address, text));
	log->told = *address;
	end_trouble(&log->of_device);
}

void source_log_device_is_away(struct source_log *log)
{
	event_timer_stop(&log->patience);
}

void source_log_destinations_have(struct source_log *log)
{
	if (log->of_destination.is_told && !log->of_device.is_there)
		log_info("%s has an address to send from to every destination", log->device);
	end_trouble(&log->of_destination);
}

void source_log_is_missing(struct source_log *log, struct source_trouble *trouble,
			   const struct ip_address *destination, const struct link_source *source,
			   const struct link_round *round)
{
	trouble->is_there = true;
	if (destination != NULL)
		trouble->destination = *destination;
	trouble->address = source->address;
	trouble->command[0] = '\0';
	if (source->has_route && !ip_address_is_none(&source->address)) {
		unsigned holder = link_holder_of(round, &source->address);

		if (holder != 0 && if_indextoname(holder, trouble->holder) != NULL)
			source_log_command(trouble->command, log->device, &source->route,
					   &source->address);
	}
	be_patient(log, trouble);
}

void source_log_lacks_route(struct source_log *log, const struct ip_address *destination)
{
	if (!log->of_route.is_there)
		log->of_route.destination = *destination;
	log->of_route.is_there = true;
	be_patient(log, &log->of_route);
}

void source_log_routes_are_there(struct source_log *log)
{
	if (log->of_route.is_told)
		log_info("%s has a route to every destination again", log->device);
	end_trouble(&log->of_route);
}
