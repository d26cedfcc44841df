/* Entries: expiry, keepalives, and the log of peers that come and go. */
#include "control/control_rooms.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/socket_address.h"

#include <errno.h>
#include <stdio.h>

enum { PEER_TEXT_SIZE = TRANSPORT_ADDRESS_TEXT_SIZE + 16 };

/* One pass over the entries. */
struct sweep {
	struct control *control;
	const struct options *options;
	uint32_t now;
	uint32_t next; /* seconds until an entry may need attention again */
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

static bool server_entry_is_over(struct peer_entry *connection, void *argument)
{
	struct sweep *sweep = argument;

	return has_passed(sweep, seconds_of(&connection->last_received, sweep->now),
			  sweep->options->connection_timeout);
}

/* Returns false when it could not be sent, such as when the socket is full. */
static bool send_keepalive(struct sweep *sweep, struct peer_entry *connection)
{
	struct control *control = sweep->control;
	struct socket_address name;
	socklen_t length = socket_address_make(&name, &connection->destination->peer.remote);
	size_t which = ntohs(connection->destination->peer.own_port) -
		       (size_t)sweep->options->listen_port;

	if (sendto(control->keepalive_sockets[which], "", 0, MSG_DONTWAIT, &name.any, length) < 0)
		return false;
	counter_add(&control->counters, COUNTER_keepalives_sent, 1);
	peer_entry_refresh(&connection->last_sent, sweep->now);
	return true;
}

/* A destination is kept alive while it carried TCP lately, and remembered for --solicited-only. */
static bool destination_is_over(struct peer_entry *connection, void *argument)
{
	struct sweep *sweep = argument;
	const struct options *options = sweep->options;
	uint32_t silent = seconds_of(&connection->last_sent, sweep->now);

	if (options->keepalive > 0 &&
	    !has_passed(sweep, seconds_of(&connection->last_tcp, sweep->now),
			options->keepalive_for)) {
		uint32_t wait = 1; /* until the next try */

		if (silent < options->keepalive)
			wait = options->keepalive - silent;
		else if (send_keepalive(sweep, connection))
			wait = options->keepalive;
		if (wait < sweep->next)
			sweep->next = wait;
		return false;
	}
	return has_passed(sweep, silent, options->connection_timeout);
}

static void log_expired(const struct peer_entry *connection, void *argument)
{
	housekeeping_log_removed(connection, ((struct sweep *)argument)->control);
}

/* The longest sleep that cannot miss what happens to entries made meanwhile. */
static uint32_t shortest_life(const struct options *options)
{
	if (!options_server_mode(options) && options->keepalive > 0 &&
	    options->keepalive < options->connection_timeout)
		return options->keepalive;
	return options->connection_timeout;
}

void housekeeping_sweep(struct control *control)
{
	struct forwarding *forwarding = control->forwarding;
	struct sweep sweep = {
		.control = control,
		.options = forwarding->options,
		.now = monotonic_seconds(),
		.next = shortest_life(forwarding->options),
	};
	bool server_mode = options_server_mode(forwarding->options);
	uint32_t removed;

	removed = connection_store_sweep(forwarding->store, sweep.now,
					 server_mode ? server_entry_is_over : destination_is_over,
					 log_expired, &sweep);
	counter_add(&control->counters, COUNTER_connections_expired, removed);
	control->sweep_at = monotonic_milliseconds() + (uint64_t)sweep.next * 1000;
}

/* Which of our ports a peer talks to says something only where there are several. */
static const char *peer_text(const struct control *control, const struct peer *peer,
			     char text[PEER_TEXT_SIZE])
{
	char remote[TRANSPORT_ADDRESS_TEXT_SIZE];

	transport_address_text(&peer->remote, remote);
	if (control->forwarding->options->port_per_worker)
		snprintf(text, PEER_TEXT_SIZE, "%s from port %u", remote, ntohs(peer->own_port));
	else
		snprintf(text, PEER_TEXT_SIZE, "%s", remote);
	return text;
}

static void log_newcomer(const struct peer_entry *connection, void *argument)
{
	char peer[PEER_TEXT_SIZE], address[IP_ADDRESS_TEXT_SIZE];
	const struct control *control = argument;

	if (options_server_mode(control->forwarding->options))
		log_record("peer %s came, tunnel address %s",
			   peer_text(control, &connection->destination->peer, peer),
			   ip_address_text(&connection->tunnel_address, address));
	else
		log_record("peer %s came",
			   peer_text(control, &connection->destination->peer, peer));
}

void housekeeping_log_newcomers(struct control *control)
{
	if (control->forwarding->options->log_peers)
		connection_store_take_newcomers(control->forwarding->store, log_newcomer, control);
}

void housekeeping_log_removed(const struct peer_entry *connection, void *argument)
{
	struct control *control = argument;
	char peer[PEER_TEXT_SIZE], address[IP_ADDRESS_TEXT_SIZE];
	const struct options *options = control->forwarding->options;
	bool server_mode = options_server_mode(options);
	const struct peer_record *record;

	if (!options->log_peers)
		return;
	record = connection_store_record(control->forwarding->store, connection);
	/* it may have come just before it went */
	housekeeping_log_newcomers(control);
	log_record(
		"peer %s went after %u s%s%s, %llu bytes in, %llu bytes out",
		peer_text(control, &connection->destination->peer, peer),
		seconds_since(record->made, monotonic_seconds()),
		server_mode ? ", tunnel address " : "",
		server_mode ? ip_address_text(&connection->tunnel_address, address) : "",
		(unsigned long long)atomic_load_explicit(&record->bytes_in, memory_order_relaxed),
		(unsigned long long)atomic_load_explicit(&record->bytes_out, memory_order_relaxed));
}

static bool leaves_with_the_program(struct peer_entry *connection, void *argument)
{
	(void)connection;
	(void)argument;
	return true;
}

void control_log_leaving(struct control *control)
{
	if (control->forwarding->options->log_peers)
		connection_store_sweep(control->forwarding->store, monotonic_seconds(),
				       leaves_with_the_program, housekeeping_log_removed, control);
}
