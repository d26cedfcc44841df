/* Expiry and keepalives; see expiry.h for the theory of operation. */
#include "control/expiry.h"

#include "base/clock.h"
#include "io/udp_sender.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	/* a tick at most, of 100 Hz: a sweep that comes early by the entries' clock finds them one
	 * second short and has to come again */
	COARSE_CLOCK_LAG_MS = 10,
	CUT_SHORT_PAUSE_MS = 10,
};

/* One pass over the entries. */
struct sweep {
	const struct expiry *expiry;
	const struct expiry_settings *settings;
	uint32_t now;
	uint32_t next;            /* seconds until an entry may need attention again */
	unsigned keepalives_left; /* that may be sent */
	bool is_cut_short;        /* more are due */
};

static uint32_t seconds_of(const _Atomic uint32_t *time, uint32_t now)
{
	return seconds_since(atomic_load_explicit(time, memory_order_relaxed), now);
}

/* Times are whole seconds, rounded down: only more than the limit is surely the limit. */
static bool has_passed(struct sweep *sweep, uint32_t age, uint32_t limit)
{
	if (age > limit)
		return true;
	if (limit - age + 1 < sweep->next)
		sweep->next = limit - age + 1;
	return false;
}

static bool server_entry_is_over(struct peer_entry *entry, void *argument)
{
	struct sweep *sweep = argument;

	return has_passed(sweep, seconds_of(&entry->last_received, sweep->now),
			  sweep->settings->limits.connection_timeout);
}

bool expiry_send_keepalive(const struct expiry *expiry, struct peer_entry *entry, uint32_t now)
{
	const struct expiry_settings *settings = &expiry->settings;
	const struct destination *destination = peer_entry_destination(entry);
	struct datagram_route route = {0};
	size_t which;

	if (destination == NULL || !peers_find_source(settings->peers, entry, &route.source))
		return false;
	route.destination = destination->peer.remote;
	which = ntohs(destination->peer.own_port) - (size_t)settings->first_port;
	if (udp_send_datagram(expiry->sockets[which], &route, "", 0) < 0)
		return false;
	counter_add(settings->counters, COUNTER_keepalives_sent, 1);
	peer_entry_refresh(&entry->last_sent, now);
	return true;
}

/* Deals with a keepalive that is due. Returns the seconds until the entry needs attention. */
static uint32_t keep_alive(struct sweep *sweep, struct peer_entry *entry)
{
	uint32_t wait = 1; /* until the next try */

	if (sweep->keepalives_left == 0) {
		sweep->is_cut_short = true;
		return wait;
	}
	if (expiry_send_keepalive(sweep->expiry, entry, sweep->now)) {
		sweep->keepalives_left--;
		(void)destination_judge(&sweep->settings->limits, entry, sweep->now, &wait);
	}
	return wait;
}

static bool destination_is_over(struct peer_entry *entry, void *argument)
{
	struct sweep *sweep = argument;
	uint32_t wait;

	switch (destination_judge(&sweep->settings->limits, entry, sweep->now, &wait)) {
	case DESTINATION_IS_OVER:
		return true;
	case DESTINATION_WANTS_KEEPALIVE:
		wait = keep_alive(sweep, entry);
		break;
	case DESTINATION_STAYS:
		break;
	}
	if (wait < sweep->next)
		sweep->next = wait;
	return false;
}

static void log_expired(const struct peer_entry *entry, void *argument)
{
	const struct sweep *sweep = argument;

	peer_log_removed(entry, sweep->settings->peer_log);
}

/* The longest sleep that cannot miss what happens to entries meanwhile; see also
 * expiry_note_newcomers(). */
static uint32_t shortest_life(const struct expiry_settings *settings)
{
	const struct destination_limits *limits = &settings->limits;

	if (!settings->is_server && limits->keepalive > 0 &&
	    limits->keepalive < limits->connection_timeout)
		return limits->keepalive;
	return limits->connection_timeout;
}

static void sweep_entries(void *state);

static void sweep_in(struct expiry *expiry, uint64_t milliseconds)
{
	expiry->due = monotonic_milliseconds() + milliseconds;
	event_timer_start(expiry->loop, &expiry->timer, milliseconds, sweep_entries, expiry);
}

static void sweep_entries(void *state)
{
	struct expiry *expiry = state;
	const struct expiry_settings *settings = &expiry->settings;
	struct sweep sweep = {
		.expiry = expiry,
		.settings = settings,
		.now = monotonic_seconds(),
		.next = shortest_life(settings),
		.keepalives_left = KEEPALIVES_AT_ONCE,
	};
	uint32_t removed;

	removed = connection_store_sweep(settings->peers->store, sweep.now,
					 settings->is_server ? server_entry_is_over
							     : destination_is_over,
					 log_expired, &sweep);
	counter_add(settings->counters, COUNTER_connections_expired, removed);
	sweep_in(expiry, sweep.is_cut_short ? CUT_SHORT_PAUSE_MS
					    : (uint64_t)sweep.next * 1000 + COARSE_CLOCK_LAG_MS);
}

void expiry_note_newcomers(struct expiry *expiry)
{
	uint32_t seconds = destination_first_look(&expiry->settings.limits);
	uint64_t wait = (uint64_t)seconds * 1000 + COARSE_CLOCK_LAG_MS;

	if (expiry->due > monotonic_milliseconds() + wait)
		sweep_in(expiry, wait);
}

/* Where there is none yet, a descriptor that nothing can be sent by keeps its place. */
static int duplicate(int socket)
{
	return socket < 0 ? eventfd(0, EFD_CLOEXEC) : fcntl(socket, F_DUPFD_CLOEXEC, 0);
}

int expiry_open(struct expiry *expiry, event_loop *loop, const struct expiry_settings *settings,
		const int *sockets)
{
	expiry->settings = *settings;
	expiry->settings.socket_count = 0;
	expiry->loop = loop;
	expiry->sockets = calloc(settings->socket_count, sizeof(*expiry->sockets));
	if (expiry->sockets == NULL)
		return -ENOMEM;
	while (expiry->settings.socket_count < settings->socket_count) {
		size_t i = expiry->settings.socket_count;

		expiry->sockets[i] = duplicate(sockets[i]);
		if (expiry->sockets[i] < 0)
			return -errno;
		expiry->settings.socket_count++;
	}
	return 0;
}

void expiry_start(struct expiry *expiry)
{
	sweep_entries(expiry);
}

void expiry_renew_sockets(struct expiry *expiry, const int *sockets)
{
	/* dup3() reuses the descriptor's number, so it cannot fail for want of one */
	for (size_t i = 0; i < expiry->settings.socket_count; i++)
		(void)dup3(sockets[i], expiry->sockets[i], O_CLOEXEC);
}

void expiry_close(struct expiry *expiry)
{
	event_timer_stop(&expiry->timer);
	while (expiry->settings.socket_count > 0)
		close(expiry->sockets[--expiry->settings.socket_count]);
	free(expiry->sockets);
	expiry->sockets = NULL;
}
