/* Addresses to send from; see sources.h for the theory of operation. */
#include "control/sources.h"

#include "base/clock.h"
#include "control/pace.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

/* 192.0.0.8, the "dummy address" (RFC 7600), which nobody has: it follows the default route, and
 * nothing is ever sent there */
#define DEFAULT_ROUTE_PROBE 0xc0000008u

enum {
	CALM_MS = 100, /* between two looks because of routes, at least */
	QUIET_MS = 5,  /* between two looks for new entries, at least */
	/* A question takes some microseconds, a place that needs none some nanoseconds: a slice is
	 * about a millisecond of either. */
	SLICE_QUESTIONS = 64,
	SLICE_PLACES = 16384,
};

/* One slice. */
struct slice {
	struct sources *sources;
	struct link_round round;
	bool is_for_all; /* not only for entries that were never asked for */
	unsigned questions;
	int error; /* negative errno: a question that could not be asked */
};

static void run_slice(void *state);

static int ask(struct slice *slice, const struct ip_address *destination, uint16_t own_port,
	       struct link_source *source)
{
	const struct sources_settings *settings = &slice->sources->settings;
	const struct link_datagram datagram = {
		.destination = *destination,
		.mark = settings->fwmark,
		.source_port = own_port,
		.destination_port = settings->peers->settings.endpoint_port,
	};

	slice->questions++;
	return link_ask_source(&slice->round, &datagram, source);
}

/* Entries that have no source use the device's, until they are asked for anew. */
static void forget_missing(struct peer_entry *entry, void *argument)
{
	struct ip_address ignored;

	(void)argument;
	if (peer_entry_source(entry, &ignored) == SOURCE_IS_MISSING)
		peer_entry_set_source(entry, SOURCE_IS_NOT_ASKED_FOR, NULL);
}

/* Returns 0 or a negative errno. */
static int publish_device(struct sources *sources, const struct ip_address *address)
{
	struct peers *peers = sources->settings.peers;
	bool is_back = ip_address_is_none(&peers->addresses->device_source) &&
		       !ip_address_is_none(address);
	struct connection_store_iterator all = connection_store_begin(peers->store);

	if (!peers_set_device_source(peers, address))
		return -ENOMEM;
	if (is_back && sources->has_missing)
		(void)connection_store_visit(peers->store, &all, UINT32_MAX, forget_missing, NULL);
	return 0;
}

/* Where no route says anything, such as a default route that prohibits. */
static struct ip_address first_address(const struct link_round *round)
{
	for (size_t i = 0; i < round->addresses.count; i++) {
		if (round->addresses.list[i].ifindex == round->device.ifindex)
			return round->addresses.list[i].prefix.address;
	}
	return (struct ip_address){{0}};
}

/* Asks for the device's source. Returns 0 or a negative errno. */
static int ask_for_device(struct slice *slice)
{
	struct sources *sources = slice->sources;
	const struct ip_address probe = ip_address_from_ipv4(htonl(DEFAULT_ROUTE_PROBE));
	struct ip_address address;
	struct link_source source;
	int error = ask(slice, &probe, sources->settings.own_port, &source);

	if (error < 0)
		return error;
	address = source.address;
	if (!source.may_be_used)
		/* no default route that can be used: one to some destinations may name a source */
		error = link_find_route_source(&slice->round, &address);
	if (error == 0 && ip_address_is_none(&address) && source.error < 0)
		address = first_address(&slice->round);
	if (error == 0)
		error = publish_device(sources, &address);
	if (error < 0)
		return error;
	sources->device_is_due = false;
	if (ip_address_is_none(&address))
		source_log_is_missing(&sources->log, &sources->log.of_device, NULL, &source,
				      &slice->round);
	else
		source_log_device_has(&sources->log, &address);
	return 0;
}

static void miss_source(struct slice *slice, struct peer_entry *entry,
			const struct ip_address *destination, const struct link_source *source)
{
	struct sources *sources = slice->sources;
	struct source_trouble *trouble = &sources->log.of_destination;

	peer_entry_set_source(entry, SOURCE_IS_MISSING, NULL);
	sources->has_missing = true;
	/* one destination is told of; without the device's source none has one */
	if (!sources->log.of_device.is_there && !trouble->is_there)
		source_log_is_missing(&sources->log, trouble, destination, source, &slice->round);
}

static void ask_for_entry(struct peer_entry *entry, void *argument)
{
	struct slice *slice = argument;
	const struct destination *destination = peer_entry_destination(entry);
	struct ip_address former;
	struct link_source source;

	if (destination == NULL ||
	    (!slice->is_for_all && peer_entry_source(entry, &former) != SOURCE_IS_NOT_ASKED_FOR))
		return;
	slice->error = ask(slice, &destination->peer.remote.address, destination->peer.own_port,
			   &source);
	if (slice->error < 0)
		return;
	if (source.lacks_route)
		source_log_lacks_route(&slice->sources->log, &destination->peer.remote.address);
	slice->sources->lacks_way |= source.lacks_route || !source.may_be_used;
	if (source.may_be_used)
		peer_entry_set_source(entry, SOURCE_IS_OWN, &source.address);
	else if (source.error < 0)
		peer_entry_set_source(entry, SOURCE_IS_THE_DEVICES, NULL);
	else
		miss_source(slice, entry, &destination->peer.remote.address, &source);
}

static uint32_t one_less(uint32_t number)
{
	return number > 0 ? number - 1 : 0;
}

/* Goes on with the entries until the slice is over. Returns 0 or a negative errno. */
static int ask_for_entries(struct slice *slice)
{
	struct sources *sources = slice->sources;
	struct connection_store *store = sources->settings.peers->store;

	for (unsigned places = 0; places < SLICE_PLACES && slice->questions < SLICE_QUESTIONS &&
				  (sources->all_left > 0 || sources->new_left > 0);
	     places++) {
		struct connection_store_iterator at = connection_store_begin(store);

		at.next = sources->cursor < at.end ? sources->cursor : 0;
		slice->is_for_all = sources->all_left > 0;
		(void)connection_store_visit(store, &at, 1, ask_for_entry, slice);
		if (slice->error < 0)
			return slice->error;
		sources->cursor = at.next;
		sources->all_left = one_less(sources->all_left);
		sources->new_left = one_less(sources->new_left);
	}
	return 0;
}

static void count_missing(struct peer_entry *entry, void *argument)
{
	struct ip_address ignored;

	if (peer_entry_source(entry, &ignored) == SOURCE_IS_MISSING)
		++*(uint32_t *)argument;
}

/* All were asked for: tells of an end. */
static void end_pass(struct sources *sources)
{
	struct connection_store *store = sources->settings.peers->store;
	struct connection_store_iterator all = connection_store_begin(store);
	uint32_t missing = 0;

	if (sources->asks_all && !sources->lacks_way)
		source_log_routes_are_there(&sources->log);
	sources->asks_all = false;
	if (!sources->has_missing)
		return;
	(void)connection_store_visit(store, &all, UINT32_MAX, count_missing, &missing);
	sources->has_missing = missing > 0;
	if (missing == 0)
		source_log_destinations_have(&sources->log);
}

/* Asks what is due. Returns 0 or a negative errno. */
static int ask_what_is_due(struct slice *slice)
{
	struct sources *sources = slice->sources;
	int error = link_round_open(&slice->round, sources->settings.device);

	if (error < 0)
		return error;
	if (slice->round.device.ifindex == 0 || !slice->round.device.is_up) {
		source_log_device_is_away(&sources->log);
		sources->device_is_due = sources->asks_all = false;
		sources->all_left = sources->new_left = 0;
		return 0;
	}
	if (sources->device_is_due)
		error = ask_for_device(slice);
	return error < 0 ? error : ask_for_entries(slice);
}

static void run_slice(void *state)
{
	struct sources *sources = state;
	uint64_t began = monotonic_nanoseconds();
	struct slice slice = {.sources = sources};
	struct trouble trouble = {0};
	int error = ask_what_is_due(&slice);

	link_round_close(&slice.round);
	if (error < 0)
		trouble_note(&trouble, "ask for the sources of", sources->settings.device, error);
	retry_settle(&sources->retry, &trouble);
	if (error < 0)
		return;
	if (sources->all_left > 0 || sources->new_left > 0)
		event_timer_start(sources->loop, &sources->next, pace_pause(began, 1), run_slice,
				  sources);
	else
		end_pass(sources);
}

static uint32_t places_in(const struct sources *sources)
{
	return connection_store_begin(sources->settings.peers->store).end;
}

static void ask_all(struct sources *sources)
{
	sources->device_is_due = true;
	sources->all_left = places_in(sources);
	sources->asks_all = true;
	sources->lacks_way = false;
}

void sources_look(struct sources *sources)
{
	if (sources->loop == NULL)
		return;
	ask_all(sources);
	event_timer_stop(&sources->next);
	run_slice(sources);
}

static void listen_to_routes(void *state);

static void hear_of_routes(void *state)
{
	struct sources *sources = state;
	uint64_t began = monotonic_nanoseconds();

	event_watch_stop(&sources->watch);
	link_monitor_drain(sources->monitor);
	ask_all(sources);
	/* a pass that is under way goes on at its own pace */
	if (!event_timer_is_started(&sources->next))
		run_slice(sources);
	event_timer_start(sources->loop, &sources->calm, pace_pause(began, CALM_MS),
			  listen_to_routes, sources);
}

static void listen_to_routes(void *state)
{
	struct sources *sources = state;

	event_watch_start(sources->loop, &sources->watch, sources->monitor, EVENT_CAN_WAIT,
			  hear_of_routes, sources);
}

static void look_for_new(void *state)
{
	struct sources *sources = state;

	if (notices_raised(sources->settings.notices) & NOTICE_SOURCE_WANTED)
		sources_want(sources);
}

void sources_want(struct sources *sources)
{
	if (event_timer_is_started(&sources->quiet))
		return;
	/* lowered first: what is made from now on raises it again */
	notices_lower(sources->settings.notices, NOTICE_SOURCE_WANTED);
	if (sources->loop == NULL)
		return;
	sources->new_left = places_in(sources);
	event_timer_start(sources->loop, &sources->quiet, QUIET_MS, look_for_new, sources);
	if (!event_timer_is_started(&sources->next))
		run_slice(sources);
}

int sources_start(struct sources *sources, event_loop *loop,
		  const struct sources_settings *settings)
{
	sources->settings = *settings;
	sources->monitor = link_route_monitor_open();
	if (sources->monitor < 0)
		return -errno;
	sources->loop = loop;
	source_log_start(&sources->log, loop, settings->device);
	retry_start(&sources->retry, loop, run_slice, sources);
	listen_to_routes(sources);
	sources_look(sources);
	return 0;
}

void sources_close(struct sources *sources)
{
	if (sources->loop == NULL)
		return;
	event_watch_stop(&sources->watch);
	event_timer_stop(&sources->calm);
	event_timer_stop(&sources->next);
	event_timer_stop(&sources->quiet);
	retry_close(&sources->retry);
	source_log_close(&sources->log);
	close(sources->monitor);
	sources->loop = NULL;
}
