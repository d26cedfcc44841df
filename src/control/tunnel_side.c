/* The tunnel interface; see tunnel_side.h for the theory of operation. */
#include "control/tunnel_side.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/options.h"
#include "packet/encapsulate.h"

#include <errno.h>
#include <stdio.h>

enum {
	/*
	 * Packets that may wait in a queue of the tunnel interface: room for a burst of a thousand
	 * connections, or for what one connection may have in flight (3 MB) in packets of 1,500
	 * bytes, so that without offloads none is lost to a busy processor (measured: 4,000 lost in
	 * 5 s with 1,000, none with 2,000). It bounds no delay, which standing_queue.h does.
	 */
	TUNNEL_QUEUE_LENGTH = 2000,
	/* Longer than a person or a script needs to replace an address. */
	GIVE_AGAIN_MS = 2000,
	/* And than a network manager needs that sees the interface for the first time, so that what
	 * it is about to give is not missed; soon for a person. */
	CONDITION_PATIENCE_MS = 300,
	UDP_OVER_IPV4_OVERHEAD = 8, /* the inner IPv4 header makes room for the outer one */
};

static const char *name_of(const struct tunnel_side *side)
{
	return side->name;
}

static void set_queue_length(const struct tun_interface *tun)
{
	int error = link_set_queue_length(tun->ifindex, TUNNEL_QUEUE_LENGTH);

	if (error < 0)
		log_warning("cannot set the queue length of %s: %s", tun->name, strerror(-error));
}

/*
 * Packets arrive from addresses that are routed elsewhere: strict reverse path filtering would drop
 * them. IPv6 is not carried: its router solicitations would only wake the process.
 */
static void set_sysctls(const char *name)
{
	int error = link_set_sysctl("ipv4", name, "rp_filter", "2");

	if (error < 0)
		log_warning("cannot set net.ipv4.conf.%s.rp_filter to 2: %s; strict reverse path "
			    "filtering drops what comes out of the tunnel",
			    name, strerror(-error));
	error = link_set_sysctl("ipv6", name, "disable_ipv6", "1");
	if (error < 0 && error != -ENOENT)
		log_debug("cannot set net.ipv6.conf.%s.disable_ipv6 to 1: %s", name,
			  strerror(-error));
}

static bool give_address(struct tunnel_side *side)
{
	const struct ip_prefix *address = &side->settings.address;
	int error;

	if (address->length == 0)
		return true;
	error = link_add_address(side->settings.tun->ifindex, address);
	if (error < 0 && error != -EEXIST) {
		log_error("cannot give %s the address of --address: %s", name_of(side),
			  strerror(-error));
		return false;
	}
	side->has_given_address = error == 0;
	error = link_set_up(side->settings.tun->ifindex);
	if (error < 0) {
		log_error("cannot bring %s up: %s", name_of(side), strerror(-error));
		return false;
	}
	return true;
}

bool tunnel_side_set_up(struct tunnel_side *side, event_loop *loop,
			const struct tunnel_side_settings *settings)
{
	side->settings = *settings;
	side->loop = loop;
	snprintf(side->name, sizeof(side->name), "%s", settings->tun->name);
	set_queue_length(settings->tun);
	set_sysctls(name_of(side));
	return give_address(side);
}

static bool is_range(const struct tunnel_side *side, const struct ip_prefix *prefix)
{
	return side->pool.length == prefix->length &&
	       ip_address_equal(&side->pool.address, &prefix->address);
}

/* Of a range that is told already other addresses are left out, which may happen all the time. */
static void log_pool(const struct tunnel_side *side, const struct ip_prefix *pool)
{
	bool is_told = is_range(side, pool);
	uint32_t capacity = connection_store_pool_capacity(side->settings.peers->store);
	uint32_t most = side->settings.max_entries;
	unsigned length = pool->length - (unsigned)IPV4_MAPPED_BITS;
	struct ip_address network = ip_prefix_network(pool);
	char text[IP_ADDRESS_TEXT_SIZE];

	ip_address_text(&network, text);
	if (capacity > 0)
		log_line(is_told ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
			 "tunnel addresses come from %s/%u: room for %u peers", text, length,
			 capacity < most ? capacity : most);
	else
		log_warning("%s/%u has no room for a single peer: give %s a larger subnet, or set "
			    "--peer-pool",
			    text, length, name_of(side));
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

static void tell_taken(const struct tunnel_side *side, const struct pool_change *change)
{
	counter_add(side->settings.counters, COUNTER_connections_displaced, change->taken);
	if (change->taken == 1)
		log_warning("%s was taken by this machine: peer %s gets another address",
			    change->address, change->peer);
	else if (change->taken > 1)
		log_warning("%u tunnel addresses were taken by this machine: their peers get "
			    "others; choose addresses outside the pool (--peer-pool)",
			    change->taken);
}

static void tell_dropped(const struct tunnel_side *side, uint32_t dropped)
{
	if (dropped == 0)
		return;
	counter_add(side->settings.counters, COUNTER_connections_dropped, dropped);
	log_warning("the tunnel interface's subnet changed: %u peers had addresses outside "
		    "and were dropped",
		    dropped);
}

static bool is_pool(const struct tunnel_side *side, const struct ip_prefix *prefix,
		    const struct own_addresses *excluded)
{
	return is_range(side, prefix) && own_addresses_equal(&side->excluded, excluded);
}

/* Sets a pool. Returns false, with everything as before, when there is no memory for it. */
static bool set_pool(const struct tunnel_side *side, const struct ip_prefix *prefix,
		     const struct own_addresses *excluded)
{
	const struct tunnel_side_settings *settings = &side->settings;
	const struct pool_range range = {
		.prefix = *prefix,
		.key = settings->pool_key,
		.excluded = excluded->list,
		.excluded_count = excluded->count,
		.max_slots = settings->max_entries * POOL_SLOTS_PER_ENTRY,
	};
	struct pool_change change = {
		.peer_log = settings->peer_log, .excluded = excluded, .peer = "without a source"};
	uint32_t lost;

	if (!connection_store_set_pool(settings->peers->store, &range, monotonic_seconds(),
				       note_lost, &change, &lost))
		return false;
	log_pool(side, prefix);
	tell_taken(side, &change);
	tell_dropped(side, lost - change.taken);
	return true;
}

/* Server mode: where tunnel addresses come from, as the machine's addresses are now. */
static void follow_pool(struct tunnel_side *side, const struct link_addresses *addresses,
			struct trouble *trouble)
{
	const struct ip_prefix *prefix = side->settings.peer_pool.length > 0
						 ? &side->settings.peer_pool
						 : &side->own;
	struct own_addresses excluded;

	if (!own_addresses_collect(addresses, prefix, &excluded)) {
		trouble_note(trouble, "find memory for the own addresses of", name_of(side),
			     -ENOMEM);
		return;
	}
	if (!is_pool(side, prefix, &excluded)) {
		if (set_pool(side, prefix, &excluded)) {
			own_addresses_free(&side->excluded);
			side->pool = *prefix;
			side->excluded = excluded;
			return;
		}
		trouble_note(trouble, "find memory for the tunnel addresses of", name_of(side),
			     -ENOMEM);
	}
	own_addresses_free(&excluded);
}

/* Somebody else's route to the pool is fine as long as it leads to the tunnel interface. */
static int check_foreign_route(struct tunnel_side *side)
{
	struct ip_address network = ip_prefix_network(&side->settings.peer_pool);
	unsigned ifindex;
	int error = link_route_to(&network, &ifindex);
	bool is_foreign = ifindex != side->settings.tun->ifindex;

	if (error < 0)
		return error;
	if (is_foreign && !side->has_foreign_route)
		log_warning("the route to --peer-pool leads elsewhere, not to %s: peers get no "
			    "answers (see 'ip route')",
			    name_of(side));
	side->has_foreign_route = is_foreign;
	return 0;
}

static bool is_covered(const struct tunnel_side *side, const struct link_addresses *addresses)
{
	for (size_t i = 0; i < addresses->count; i++) {
		const struct link_address *address = &addresses->list[i];

		if (address->ifindex == side->settings.tun->ifindex &&
		    ip_prefix_covers(&address->prefix, &side->settings.peer_pool))
			return true;
	}
	return false;
}

/* A pool outside the interface's subnet needs a route; it goes whenever the interface goes down. */
static void follow_route(struct tunnel_side *side, const struct link_addresses *addresses,
			 bool is_up, struct trouble *trouble)
{
	const struct ip_prefix *pool = &side->settings.peer_pool;
	int error;

	if (pool->length == 0 || side->own.length == 0 || !is_up || is_covered(side, addresses))
		return;
	error = link_add_route(side->settings.tun->ifindex, pool);
	if (error == 0)
		side->has_added_route = true;
	else if (error == -EEXIST)
		error = check_foreign_route(side);
	if (trouble_is_passing(error)) {
		trouble_note(trouble, "add a route for --peer-pool to", name_of(side), error);
		return;
	}
	if (error != 0 && error != side->route_error)
		log_warning("cannot add a route for --peer-pool to %s: %s", name_of(side),
			    strerror(-error));
	side->route_error = error;
}

static void publish_address(struct tunnel_side *side, struct trouble *trouble)
{
	const struct tunnel_addresses own = {.ipv4 = side->own.address};

	if (!peers_set_tunnel_addresses(side->settings.peers, &own))
		trouble_note(trouble, "find memory for the own address of", name_of(side), -ENOMEM);
}

static void tell_address(const struct tunnel_side *side, const struct ip_prefix *former)
{
	char text[IP_ADDRESS_TEXT_SIZE];

	if (ip_address_equal(&side->own.address, &former->address))
		return;
	if (side->own.length > 0)
		log_info("%s has address %s", name_of(side),
			 ip_address_text(&side->own.address, text));
}

static void give_again(void *state)
{
	struct tunnel_side *side = state;
	int error = link_add_address(side->settings.tun->ifindex, &side->settings.address);

	if (trouble_is_passing(error)) {
		event_timer_start(side->loop, &side->give_again, GIVE_AGAIN_MS, give_again, side);
		return;
	}
	if (error == 0) {
		side->has_given_address = true;
		log_info("%s is given the address of --address again", name_of(side));
	} else if (error != -EEXIST) {
		log_warning("cannot give %s the address of --address again: %s", name_of(side),
			    strerror(-error));
	}
}

/* Has the address of --address given again where none is left. */
static void follow_loss(struct tunnel_side *side)
{
	if (side->own.length > 0 || side->settings.address.length == 0)
		event_timer_stop(&side->give_again);
	else if (!event_timer_is_started(&side->give_again))
		event_timer_start(side->loop, &side->give_again, GIVE_AGAIN_MS, give_again, side);
}

static void follow_addresses(struct tunnel_side *side, bool is_up, struct trouble *trouble)
{
	const struct ip_prefix former = side->own;
	const struct link_address *chosen;
	struct link_addresses addresses;
	int error = link_read_addresses(&addresses);

	if (error < 0) {
		trouble_note(trouble, "read the addresses of", name_of(side), error);
		return;
	}
	chosen = own_addresses_choose(&addresses, side->settings.tun->ifindex, &former);
	side->own = chosen != NULL ? chosen->prefix : (struct ip_prefix){{{0}}, 0};
	if (chosen != NULL && side->settings.is_server)
		follow_pool(side, &addresses, trouble);
	tell_address(side, &former);
	follow_loss(side);
	publish_address(side, trouble);
	follow_route(side, &addresses, is_up, trouble);
	link_free_addresses(&addresses);
}

void tunnel_side_follow_name(struct tunnel_side *side, const char *name)
{
	if (strcmp(side->name, name) == 0)
		return;
	log_info("tunnel interface %s is called %s from here on", side->name, name);
	snprintf(side->name, sizeof(side->name), "%s", name);
}

void tunnel_side_follow_mtu(struct tunnel_side *side, uint32_t wan_mtu, uint32_t tunnel_mtu,
			    struct trouble *trouble)
{
	uint32_t mtu = side->settings.mtu;
	int error = 0;

	/* only when the bound device's changes: what somebody set by hand stays until then */
	if (wan_mtu == side->wan_mtu)
		return;
	if (mtu == 0)
		mtu = wan_mtu < DEFAULT_MAX_TUNNEL_MTU + UDP_OVER_IPV4_OVERHEAD
			      ? wan_mtu - UDP_OVER_IPV4_OVERHEAD
			      : DEFAULT_MAX_TUNNEL_MTU;
	if (mtu != tunnel_mtu)
		error = link_set_mtu(side->settings.tun->ifindex, mtu);
	if (trouble_is_passing(error)) {
		trouble_note(trouble, "set the MTU of", name_of(side), error);
		return;
	}
	side->wan_mtu = wan_mtu;
	if (error < 0)
		log_warning("cannot set the MTU of %s to %u: %s; set it by hand, or large packets "
			    "get lost",
			    name_of(side), mtu, strerror(-error));
}

static void tell_condition(void *state)
{
	struct tunnel_side *side = state;

	tunnel_condition_tell(name_of(side), &side->told, &side->condition);
	side->told = side->condition;
}

/* Ends of what was told are told at once, what begins is when it lasts. */
static void follow_condition(struct tunnel_side *side, bool is_up)
{
	struct tunnel_condition *now = &side->condition;
	const struct tunnel_condition former = side->told;

	now->is_down = !is_up;
	now->lacks_address = side->own.length == 0;
	now->is_strict =
		!side->settings.is_server &&
		tunnel_condition_filters_strictly(link_sysctl("ipv4", name_of(side), "rp_filter"),
						  link_sysctl("ipv4", "all", "rp_filter"));
	side->told.is_down &= now->is_down;
	side->told.lacks_address &= now->lacks_address;
	side->told.is_strict &= now->is_strict;
	tunnel_condition_tell(name_of(side), &former, &side->told);
	if (memcmp(&side->told, now, sizeof(*now)) == 0)
		event_timer_stop(&side->patience);
	else if (!event_timer_is_started(&side->patience))
		event_timer_start(side->loop, &side->patience, CONDITION_PATIENCE_MS,
				  tell_condition, side);
}

/* The kernel spreads packets over all queues that are attached, whoever reads them. */
static void follow_queues(struct tunnel_side *side, const struct link_state *state)
{
	size_t own = side->settings.tun->queue_count;
	bool has_strange_queues = state->tun.queues > own;

	if (has_strange_queues == side->has_strange_queues)
		return;
	side->has_strange_queues = has_strange_queues;
	if (has_strange_queues)
		log_warning("another process has attached itself to %s (%zu of %u queues are ours) "
			    "and takes packets away: connections stand still until it lets go",
			    name_of(side), own, state->tun.queues);
	else
		log_info("%s is ours alone again", name_of(side));
}

void tunnel_side_follow(struct tunnel_side *side, const struct link_state *state,
			struct trouble *trouble)
{
	follow_queues(side, state);
	follow_addresses(side, state->is_up, trouble);
	follow_condition(side, state->is_up);
}

void tunnel_side_undo(struct tunnel_side *side)
{
	const struct tun_interface *tun = side->settings.tun;

	event_timer_stop(&side->give_again);
	event_timer_stop(&side->patience);
	own_addresses_free(&side->excluded);
	/* an interface that was made takes its address and routes with it */
	if (tun == NULL || tun->is_made)
		return;
	if (side->has_added_route)
		(void)link_remove_route(tun->ifindex, &side->settings.peer_pool);
	if (side->has_given_address)
		(void)link_remove_address(tun->ifindex, &side->settings.address);
}
