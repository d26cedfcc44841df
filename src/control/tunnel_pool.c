/* Where tunnel addresses come from; see tunnel_pool.h for the theory of operation. */
#include "control/tunnel_pool.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>

static bool is_range(const struct tunnel_pool *pool, const struct ip_prefix *prefix)
{
	return pool->range.length == prefix->length &&
	       ip_address_equal(&pool->range.address, &prefix->address);
}

/* Of a range that is told already other addresses are left out, which may happen all the time. */
static void log_range(const struct tunnel_pool *pool, const struct ip_prefix *range)
{
	bool is_told = is_range(pool, range);
	uint32_t capacity = connection_store_pool_capacity(pool->settings.store);
	uint32_t most = pool->settings.max_entries;
	unsigned length = range->length - (unsigned)IPV4_MAPPED_BITS;
	struct ip_address network = ip_prefix_network(range);
	char text[IP_ADDRESS_TEXT_SIZE];

	ip_address_text(&network, text);
	if (capacity > 0)
		log_line(is_told ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
			 "tunnel addresses come from %s/%u: room for %u peers", text, length,
			 capacity < most ? capacity : most);
	else
		log_warning("%s/%u has no room for a single peer: give %s a larger subnet, or set "
			    "--peer-pool",
			    text, length, pool->name);
}

/* Who loses a tunnel address by another pool, for the log. */
struct pool_change {
	struct peer_log *peer_log;
	const struct own_addresses *excluded;
	uint32_t taken; /* by this machine; the others lie outside */
	/* the first of these */
	char address[IP_ADDRESS_TEXT_SIZE];
	char peer[TRANSPORT_ADDRESS_TEXT_SIZE];
};

static void note_lost(const struct peer_entry *entry, void *argument)
{
	struct pool_change *change = argument;
	const struct destination *destination = peer_entry_destination(entry);

	peer_log_removed(entry, change->peer_log);
	if (!own_addresses_include(change->excluded, &entry->tunnel_address))
		return;
	if (change->taken++ > 0)
		return;
	ip_address_text(&entry->tunnel_address, change->address);
	if (destination != NULL)
		transport_address_text(&destination->peer.remote, change->peer);
}

static void tell_taken(const struct tunnel_pool *pool, const struct pool_change *change)
{
	counter_add(pool->settings.counters, COUNTER_connections_displaced, change->taken);
	if (change->taken == 1)
		log_warning("%s was taken by this machine: peer %s gets another address",
			    change->address, change->peer);
	else if (change->taken > 1)
		log_warning("%u tunnel addresses were taken by this machine: their peers get "
			    "others; choose addresses outside the pool (--peer-pool)",
			    change->taken);
}

static void tell_dropped(const struct tunnel_pool *pool, uint32_t dropped)
{
	if (dropped == 0)
		return;
	counter_add(pool->settings.counters, COUNTER_connections_dropped, dropped);
	log_warning("the tunnel interface's subnet changed: %u peers had addresses outside "
		    "and were dropped",
		    dropped);
}

static bool is_pool(const struct tunnel_pool *pool, const struct ip_prefix *prefix,
		    const struct own_addresses *excluded)
{
	return is_range(pool, prefix) && own_addresses_equal(&pool->excluded, excluded);
}

/* Sets a pool. Returns false, with everything as before, when there is no memory for it. */
static bool set_pool(const struct tunnel_pool *pool, const struct ip_prefix *prefix,
		     const struct own_addresses *excluded)
{
	const struct tunnel_pool_settings *settings = &pool->settings;
	const struct pool_range range = {
		.prefix = *prefix,
		.key = settings->key,
		.excluded = excluded->list,
		.excluded_count = excluded->count,
		.max_slots = settings->max_entries * POOL_SLOTS_PER_ENTRY,
	};
	struct pool_change change = {
		.peer_log = settings->peer_log, .excluded = excluded, .peer = "without a source"};
	uint32_t lost;

	if (!connection_store_set_pool(settings->store, &range, monotonic_seconds(), note_lost,
				       &change, &lost))
		return false;
	log_range(pool, prefix);
	tell_taken(pool, &change);
	tell_dropped(pool, lost - change.taken);
	return true;
}

/* Where tunnel addresses come from, as the machine's addresses are now. */
static void follow_range(struct tunnel_pool *pool, const struct link_addresses *addresses,
			 const struct ip_prefix *own, struct trouble *trouble)
{
	const struct ip_prefix *prefix = pool->settings.given.length > 0 ? &pool->settings.given
									 : own;
	struct own_addresses excluded;

	if (!own_addresses_collect(addresses, prefix, &excluded)) {
		trouble_note(trouble, "find memory for the own addresses of", pool->name, -ENOMEM);
		return;
	}
	if (!is_pool(pool, prefix, &excluded)) {
		if (set_pool(pool, prefix, &excluded)) {
			own_addresses_free(&pool->excluded);
			pool->range = *prefix;
			pool->excluded = excluded;
			return;
		}
		trouble_note(trouble, "find memory for the tunnel addresses of", pool->name,
			     -ENOMEM);
	}
	own_addresses_free(&excluded);
}

/* Somebody else's route to the pool is fine as long as it leads to the tunnel interface. */
static int check_foreign_route(struct tunnel_pool *pool)
{
	struct ip_address network = ip_prefix_network(&pool->settings.given);
	unsigned ifindex;
	int error = link_route_to(&network, &ifindex);
	bool is_foreign = ifindex != pool->settings.ifindex;

	if (error < 0)
		return error;
	if (is_foreign && !pool->has_foreign_route)
		log_warning("the route to --peer-pool leads elsewhere, not to %s: peers get no "
			    "answers (see 'ip route')",
			    pool->name);
	pool->has_foreign_route = is_foreign;
	return 0;
}

static bool is_covered(const struct tunnel_pool *pool, const struct link_addresses *addresses)
{
	for (size_t i = 0; i < addresses->count; i++) {
		const struct link_address *address = &addresses->list[i];

		if (address->ifindex == pool->settings.ifindex &&
		    ip_prefix_covers(&address->prefix, &pool->settings.given))
			return true;
	}
	return false;
}

/* A pool outside the interface's subnet needs a route; it goes whenever the interface goes down. */
static void follow_route(struct tunnel_pool *pool, const struct link_addresses *addresses,
			 bool is_up, struct trouble *trouble)
{
	const struct ip_prefix *given = &pool->settings.given;
	int error;

	if (given->length == 0 || !is_up || is_covered(pool, addresses))
		return;
	error = link_add_route(pool->settings.ifindex, given);
	if (error == 0)
		pool->has_added_route = true;
	else if (error == -EEXIST)
		error = check_foreign_route(pool);
	if (trouble_is_passing(error)) {
		trouble_note(trouble, "add a route for --peer-pool to", pool->name, error);
		return;
	}
	if (error != 0 && error != pool->route_error)
		log_warning("cannot add a route for --peer-pool to %s: %s", pool->name,
			    strerror(-error));
	pool->route_error = error;
}

void tunnel_pool_start(struct tunnel_pool *pool, const struct tunnel_pool_settings *settings,
		       const char *name)
{
	pool->settings = *settings;
	pool->name = name;
}

void tunnel_pool_follow(struct tunnel_pool *pool, const struct link_addresses *addresses,
			const struct ip_prefix *own, bool is_up, struct trouble *trouble)
{
	follow_range(pool, addresses, own, trouble);
	follow_route(pool, addresses, is_up, trouble);
}

void tunnel_pool_undo(struct tunnel_pool *pool, bool is_left)
{
	own_addresses_free(&pool->excluded);
	if (is_left && pool->has_added_route)
		(void)link_remove_route(pool->settings.ifindex, &pool->settings.given);
}
