/* Peers that come and go; see peer_log.h. */
#include "control/peer_log.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <stdio.h>

enum {
	PEER_TEXT_SIZE = TRANSPORT_ADDRESS_TEXT_SIZE + 16,
	OWN_TEXT_SIZE = IP_ADDRESS_TEXT_SIZE + 8,
	SUMMARY_MS = 1000,
};

static void tell_untold(void *state)
{
	struct peer_log *log = state;

	if (log->untold_came + log->untold_went > 0)
		log_record("%u peers came and %u went that are not listed: more than %d lines a "
			   "second",
			   log->untold_came, log->untold_went, LINE_BUDGET_PER_SECOND);
	log->untold_came = 0;
	log->untold_went = 0;
}

/* Whether a peer gets a line of its own. @untold: counts those that do not */
static bool may_tell(struct peer_log *log, uint32_t *untold)
{
	if (line_budget_take(&log->budget, monotonic_milliseconds()))
		return true;
	(*untold)++;
	counter_add(log->counters, COUNTER_log_lines_lost, 1);
	if (!event_timer_is_started(&log->summary))
		event_timer_start(log->loop, &log->summary, SUMMARY_MS, tell_untold, log);
	return false;
}

static const char *peer_text(const struct peer_log *log, const struct peer_entry *entry,
			     char text[PEER_TEXT_SIZE])
{
	const struct destination *destination = peer_entry_destination(entry);
	char remote[TRANSPORT_ADDRESS_TEXT_SIZE];

	if (destination == NULL)
		return "without a source";
	transport_address_text(&destination->peer.remote, remote);
	/* which of our ports a peer talks to says something only where there are several */
	if (log->has_several_ports)
		snprintf(text, PEER_TEXT_SIZE, "%s from port %u", remote,
			 ntohs(destination->peer.own_port));
	else
		snprintf(text, PEER_TEXT_SIZE, "%s", remote);
	return text;
}

/* Which address of ours it came to, as the end of a line; nothing where there is none. */
static const char *own_text(const struct peer_log *log, const struct peer_entry *entry,
			    char text[OWN_TEXT_SIZE])
{
	const struct destination *destination = peer_entry_destination(entry);
	char own[IP_ADDRESS_TEXT_SIZE];

	if (!log->has_tunnel_addresses || destination == NULL)
		return "";
	snprintf(text, OWN_TEXT_SIZE, ", to %s",
		 ip_address_text(&destination->peer.own_address, own));
	return text;
}

static void log_newcomer(const struct peer_entry *entry, void *argument)
{
	char peer[PEER_TEXT_SIZE], address[IP_ADDRESS_TEXT_SIZE], own[OWN_TEXT_SIZE];
	struct peer_log *log = argument;

	if (!may_tell(log, &log->untold_came))
		return;
	if (log->has_tunnel_addresses)
		log_record("peer %s came, tunnel address %s%s", peer_text(log, entry, peer),
			   ip_address_text(&entry->tunnel_address, address),
			   own_text(log, entry, own));
	else
		log_record("peer %s came", peer_text(log, entry, peer));
}

void peer_log_newcomers(struct peer_log *log)
{
	if (log->store != NULL)
		connection_store_take_newcomers(log->store, log_newcomer, log);
}

void peer_log_removed(const struct peer_entry *entry, void *argument)
{
	char peer[PEER_TEXT_SIZE], address[IP_ADDRESS_TEXT_SIZE], own[OWN_TEXT_SIZE];
	struct peer_log *log = argument;
	const struct peer_record *record;

	if (log->store == NULL)
		return;
	record = connection_store_record(log->store, entry);
	/* it may have come just before it went */
	peer_log_newcomers(log);
	if (!may_tell(log, &log->untold_went))
		return;
	log_record(
		"peer %s went after %u s%s%s, %llu bytes in, %llu bytes out%s",
		peer_text(log, entry, peer), seconds_since(record->made, monotonic_seconds()),
		log->has_tunnel_addresses ? ", tunnel address " : "",
		log->has_tunnel_addresses ? ip_address_text(&entry->tunnel_address, address) : "",
		(unsigned long long)atomic_load_explicit(&record->bytes_in, memory_order_relaxed),
		(unsigned long long)atomic_load_explicit(&record->bytes_out, memory_order_relaxed),
		own_text(log, entry, own));
}

static bool leaves_with_the_program(struct peer_entry *entry, void *argument)
{
	(void)entry;
	(void)argument;
	return true;
}

void peer_log_leaving(struct peer_log *log)
{
	if (log->store == NULL)
		return;
	connection_store_sweep(log->store, monotonic_seconds(), leaves_with_the_program,
			       peer_log_removed, log);
	tell_untold(log);
}

void peer_log_close(struct peer_log *log)
{
	event_timer_stop(&log->summary);
}
