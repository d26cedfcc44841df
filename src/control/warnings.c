/* Answers to notices; see warnings.h for the theory of operation. */
#include "control/warnings.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>
#include <sys/eventfd.h>

enum {
	REFUSALS_QUIET_MS = 10000, /* at most one line about refused peers in that time */
	SPARES_QUIET_MS = 20,      /* at most one look at the whole pool in that time */
	/* a line about foreign sources comes again when there was none for that long: what is set
	 * up wrongly stays so, and its senders try again and again */
	FOREIGN_QUIET_MS = 600000,
	/* each worker finds it out by itself, and finds it out again each minute */
	OFFLOAD_QUIET_MS = 3600000,
};

static void hear_again(void *state)
{
	struct quiet *quiet = state;

	notices_lower(quiet->notices, quiet->notice);
}

/* Leaves a notice up for so long: nothing is heard of its matter meanwhile. */
static void be_quiet(struct warnings *warnings, struct quiet *quiet, enum notice notice,
		     uint64_t milliseconds)
{
	quiet->notices = warnings->settings.notices;
	quiet->notice = notice;
	event_timer_start(warnings->ending->loop, &quiet->timer, milliseconds, hear_again, quiet);
}

static void tell_refusals(struct warnings *warnings)
{
	const struct warnings_settings *settings = &warnings->settings;
	uint64_t refused = tally_sum(settings->tally, COUNTER_connections_refused);
	const char *room = settings->is_server
				   ? "no room for another peer (see --peer-pool, --max-connections)"
				   : "too many destinations to keep alive (see --max-connections)";

	log_warning("%s: refused %llu times, %u entries", room,
		    (unsigned long long)(refused - warnings->refusals_told),
		    connection_store_count(settings->peers->store));
	warnings->refusals_told = refused;
	be_quiet(warnings, &warnings->refusals, NOTICE_PEER_REFUSED, REFUSALS_QUIET_MS);
}

static void look_for_spares(struct warnings *warnings)
{
	connection_store_refill_spares(warnings->settings.peers->store, monotonic_seconds());
	/* from the end of the look on: in a large pool it takes its time */
	be_quiet(warnings, &warnings->spares, NOTICE_SPARES_LOW, SPARES_QUIET_MS);
}

static void tell_gso(struct warnings *warnings)
{
	int error = atomic_load_explicit(&warnings->settings.notices->gso_error,
					 memory_order_relaxed);

	log_warning("segmentation offload does not work on %s (%s): datagrams go out one by one, "
		    "slower, not less; it is tried again every minute",
		    warnings->settings.device, strerror(error));
	be_quiet(warnings, &warnings->gso, NOTICE_GSO_GIVEN_UP, OFFLOAD_QUIET_MS);
}

static void tell_coalescing(struct warnings *warnings)
{
	int error = atomic_load_explicit(&warnings->settings.notices->coalescing_error,
					 memory_order_relaxed);

	log_warning("the kernel refuses coalesced packets on %s (%s): written one by one, slower, "
		    "not less; tried again each minute",
		    warnings->settings.tunnel, strerror(error));
	be_quiet(warnings, &warnings->coalescing, NOTICE_COALESCING_GIVEN_UP, OFFLOAD_QUIET_MS);
}

static uint32_t take_foreign_source(const struct warnings *warnings)
{
	return atomic_exchange_explicit(&warnings->settings.notices->foreign_source, 0,
					memory_order_relaxed);
}

/* As long as there are some, quiet begins anew. */
static void hear_of_foreign_sources_again(void *state)
{
	struct warnings *warnings = state;

	if (take_foreign_source(warnings) != 0)
		event_timer_start(warnings->ending->loop, &warnings->foreign.timer,
				  FOREIGN_QUIET_MS, hear_of_foreign_sources_again, warnings);
	else
		notices_lower(warnings->settings.notices, NOTICE_FOREIGN_SOURCE);
}

static void tell_foreign_source(struct warnings *warnings)
{
	const struct warnings_settings *settings = &warnings->settings;
	const struct ip_address source = ip_address_from_ipv4(take_foreign_source(warnings));
	const struct ip_address own = rcu_read(settings->peers->addresses)->tunnel.ipv4;
	char source_text[IP_ADDRESS_TEXT_SIZE], own_text[IP_ADDRESS_TEXT_SIZE];

	log_warning("packets from %s are routed into %s, whose address is %s: they are discarded, "
		    "for their answers would get lost; route them elsewhere, or masquerade them "
		    "(nft: oifname \"%s\" masquerade, see doc/router.md)",
		    ip_address_text(&source, source_text), settings->tunnel,
		    ip_address_text(&own, own_text), settings->tunnel);
	event_timer_start(warnings->ending->loop, &warnings->foreign.timer, FOREIGN_QUIET_MS,
			  hear_of_foreign_sources_again, warnings);
}

static bool is_news(uint32_t raised, enum notice notice, const struct quiet *quiet)
{
	return (raised & notice) && !event_timer_is_started(&quiet->timer);
}

static void answer(void *state)
{
	struct warnings *warnings = state;
	struct notices *notices = warnings->settings.notices;
	eventfd_t ignored;
	uint32_t raised;

	(void)eventfd_read(notices->event, &ignored);
	raised = notices_raised(notices);
	if (raised & NOTICE_TUNNEL_GONE)
		ending_come(warnings->ending, CONTROL_LOST_TUNNEL);
	if (raised & NOTICE_NEWCOMER) {
		notices_lower(notices, NOTICE_NEWCOMER);
		peer_log_newcomers(warnings->settings.peer_log);
	}
	if (is_news(raised, NOTICE_GSO_GIVEN_UP, &warnings->gso))
		tell_gso(warnings);
	if (is_news(raised, NOTICE_COALESCING_GIVEN_UP, &warnings->coalescing))
		tell_coalescing(warnings);
	if (is_news(raised, NOTICE_FOREIGN_SOURCE, &warnings->foreign))
		tell_foreign_source(warnings);
	if (raised & NOTICE_SOURCE_WANTED) {
		expiry_note_newcomers(warnings->settings.expiry);
		sources_want(warnings->settings.sources);
	}
	if (raised & NOTICE_DATA_CAME)
		lulls_note_data(warnings->settings.lulls);
	if (raised & NOTICE_ROOM_WANTED)
		room_want(warnings->settings.room);
	if (is_news(raised, NOTICE_SPARES_LOW, &warnings->spares))
		look_for_spares(warnings);
	if (is_news(raised, NOTICE_PEER_REFUSED, &warnings->refusals))
		tell_refusals(warnings);
}

void warnings_start(struct warnings *warnings, struct ending *ending,
		    const struct warnings_settings *settings)
{
	warnings->settings = *settings;
	warnings->ending = ending;
	event_watch_start(ending->loop, &warnings->watch, settings->notices->event, EVENT_IS_USUAL,
			  answer, warnings);
}

void warnings_close(struct warnings *warnings)
{
	event_watch_stop(&warnings->watch);
	event_timer_stop(&warnings->refusals.timer);
	event_timer_stop(&warnings->spares.timer);
	event_timer_stop(&warnings->foreign.timer);
	event_timer_stop(&warnings->gso.timer);
	event_timer_stop(&warnings->coalescing.timer);
}
