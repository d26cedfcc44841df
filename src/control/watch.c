/*
 * The two interfaces: the tunnel interface's address and MTU, the pool that follows from its
 * subnet, and sockets on the bound device, which may go and come back. Everything is read anew each
 * time.
 */
#include "control/control_rooms.h"

#include "base/clock.h"
#include "base/log.h"
#include "io/udp_socket.h"
#include "packet/encapsulate.h"

#include <errno.h>
#include <unistd.h>

enum {
	UDP_OVER_IPV4_OVERHEAD = 8, /* the inner IPv4 header makes room for the outer one */
	SOCKET_RETRY_MS = 1000,
};

static bool has_same_addresses(const struct link_addresses *a, const struct link_addresses *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (a->prefixes[i].length != b->prefixes[i].length ||
		    !ip_address_equal(&a->prefixes[i].address, &b->prefixes[i].address))
			return false;
	}
	return true;
}

static void log_pool(const struct control *control, const struct ip_prefix *pool)
{
	uint32_t capacity = connection_store_pool_capacity(control->forwarding->store);
	uint32_t most = options_max_connections(control->forwarding->options);
	unsigned length = pool->length - (unsigned)IPV4_MAPPED_BITS;
	struct ip_address network = ip_prefix_network(pool);
	char text[IP_ADDRESS_TEXT_SIZE];

	ip_address_text(&network, text);
	if (capacity > 0)
		log_info("tunnel addresses come from %s/%u: room for %u peers", text, length,
			 capacity < most ? capacity : most);
	else
		log_warning("%s/%u has no room for a single peer: give %s a larger subnet, or set "
			    "--peer-pool",
			    text, length, control->tun->name);
}

/* Server mode: where tunnel addresses come from, as the interface is now. */
static void follow_pool(struct control *control)
{
	const struct options *options = control->forwarding->options;
	const struct link_addresses *addresses = &control->addresses;
	struct pool_range range = {
		.prefix = options->peer_pool.length > 0 ? options->peer_pool
							: addresses->prefixes[0],
		.max_slots = options_max_connections(options) * POOL_SLOTS_PER_ENTRY,
	};
	uint32_t lost;

	for (size_t i = 0; i < addresses->count; i++)
		range.excluded[range.excluded_count++] = addresses->prefixes[i].address;
	if (!connection_store_set_pool(control->forwarding->store, &range, monotonic_seconds(),
				       housekeeping_log_removed, control, &lost)) {
		log_error("no memory for the pool of tunnel addresses: it stays as it was");
		return;
	}
	log_pool(control, &range.prefix);
	if (lost > 0) {
		counter_add(&control->counters, COUNTER_connections_dropped, lost);
		log_warning("the tunnel interface's subnet changed: %u peers had addresses outside "
			    "and were dropped",
			    lost);
	}
}

/* Somebody else's route to the pool is fine as long as it leads to the tunnel interface. */
static void check_foreign_route(struct control *control, const struct ip_prefix *pool)
{
	struct ip_address network = ip_prefix_network(pool);
	bool is_foreign = link_route_to(&network) != control->tun->index;

	if (is_foreign && !control->has_foreign_route)
		log_warning("the route to --peer-pool leads elsewhere, not to %s: peers get no "
			    "answers (see 'ip route')",
			    control->tun->name);
	control->has_foreign_route = is_foreign;
}

/* A pool outside the interface's subnet needs a route; it goes whenever the interface goes down. */
static void follow_route(struct control *control, bool is_up)
{
	const struct options *options = control->forwarding->options;
	int error;

	if (options->peer_pool.length == 0 || control->addresses.count == 0 || !is_up)
		return;
	for (size_t i = 0; i < control->addresses.count; i++) {
		if (ip_prefix_covers(&control->addresses.prefixes[i], &options->peer_pool))
			return;
	}
	error = link_add_route(control->tun->index, &options->peer_pool);
	if (error == 0)
		control->has_added_route = true;
	else if (error == -EEXIST)
		check_foreign_route(control, &options->peer_pool);
	else
		log_warning("cannot add a route for --peer-pool to %s: %s", control->tun->name,
			    strerror(-error));
}

static void follow_addresses(struct control *control, bool is_up)
{
	struct forwarding *forwarding = control->forwarding;
	char text[IP_ADDRESS_TEXT_SIZE];
	struct link_addresses addresses;
	uint32_t first = 0;

	if (link_read_addresses(control->tun->index, &addresses) < 0)
		return;
	if (addresses.count > 0)
		first = ip_address_ipv4(&addresses.prefixes[0].address);
	if (!has_same_addresses(&addresses, &control->addresses)) {
		control->addresses = addresses;
		if (addresses.count > 0 && options_server_mode(forwarding->options))
			follow_pool(control);
		log_info("%s has %s%s", control->tun->name,
			 first != 0 ? "address " : "no IPv4 address: everything is discarded",
			 first != 0 ? ip_address_text(&addresses.prefixes[0].address, text) : "");
	}
	atomic_store_explicit(&forwarding->tunnel_address, first, memory_order_relaxed);
	follow_route(control, is_up);
}

static void follow_mtu(struct control *control, uint32_t wan_mtu, uint32_t tunnel_mtu)
{
	const struct options *options = control->forwarding->options;
	uint32_t mtu = options->mtu;
	int error;

	/* only when the bound device's changes: what somebody set by hand stays until then */
	if (wan_mtu == control->wan_mtu)
		return;
	control->wan_mtu = wan_mtu;
	if (mtu == 0)
		mtu = wan_mtu < DEFAULT_MAX_TUNNEL_MTU + UDP_OVER_IPV4_OVERHEAD
			      ? wan_mtu - UDP_OVER_IPV4_OVERHEAD
			      : DEFAULT_MAX_TUNNEL_MTU;
	if (mtu == tunnel_mtu)
		return;
	error = link_set_mtu(control->tun->name, mtu);
	if (error < 0)
		log_warning("cannot set the MTU of %s to %u: %s; set it by hand, or large packets "
			    "get lost",
			    control->tun->name, mtu, strerror(-error));
}

/* Super-packets that fill one message, or are smaller if somebody wanted that before. */
static void follow_gso_size(struct control *control, const struct link_state *tunnel)
{
	uint32_t size = outbound_gso_max_size(tunnel->mtu);
	int error;

	/* without a header for them the kernel makes none */
	if (tunnel->mtu == control->gso_mtu || !control->tun->has_vnet_header)
		return;
	if (control->gso_mtu == 0)
		control->own_gso_max_size = tunnel->gso_max_size;
	control->gso_mtu = tunnel->mtu;
	if (control->own_gso_max_size > 0 && control->own_gso_max_size < size)
		size = control->own_gso_max_size;
	error = link_set_gso_max_size(control->tun->index, size);
	if (error < 0)
		log_debug("cannot set the gso_max_size of %s: %s; slower, not less",
			  control->tun->name, strerror(-error));
}

/* Sockets on a device that is gone stay useless when it comes back: all workers get new ones. */
static bool renew_sockets(struct control *control)
{
	struct udp_socket_settings settings = udp_socket_settings_of(control->forwarding->options);
	struct udp_socket_failure failure;
	int sockets[MAX_THREADS];

	if (!udp_sockets_open(&settings, sockets, control->worker_count, &failure)) {
		if (control->socket_retry_at == 0)
			log_warning("%s is back, but cannot %s (port %u): %s; trying again",
				    settings.device, failure.step, failure.port,
				    strerror(failure.error));
		control->socket_retry_at = monotonic_milliseconds() + SOCKET_RETRY_MS;
		return false;
	}
	control->socket_retry_at = 0;
	/* dup2() reuses the descriptor's number, so it cannot fail for want of one */
	for (size_t i = 0; i < control->keepalive_socket_count; i++)
		(void)dup2(sockets[i], control->keepalive_sockets[i]);
	for (size_t i = 0; i < control->worker_count; i++)
		worker_replace_socket(control->workers[i], sockets[i]);
	return true;
}

/* A device of the same index is the one that the sockets are bound to: renamed or moved, and back.
 */
static void follow_wan(struct control *control, uint32_t tunnel_mtu)
{
	const char *name = control->forwarding->options->bind_to_interface;
	struct link_state wan;
	bool is_another;

	if (link_read(name, &wan) < 0)
		return;
	if (wan.index == 0) {
		if (!control->wan_is_gone)
			log_warning("%s is gone: waiting for it to come back", name);
		control->wan_is_gone = true;
		return;
	}
	follow_mtu(control, wan.mtu, tunnel_mtu);
	is_another = wan.index != control->bound_index;
	if (is_another && monotonic_milliseconds() < control->socket_retry_at)
		return;
	if (is_another && !renew_sockets(control))
		return;
	if (control->wan_is_gone || is_another)
		log_info("%s is back%s", name, is_another ? ": sockets bound to it again" : "");
	control->bound_index = wan.index;
	control->wan_is_gone = false;
}

bool watch_look(struct control *control)
{
	struct link_state tunnel;

	if (link_read(control->tun->name, &tunnel) < 0)
		return true; /* a passing want of memory: the next word of a change asks again */
	if (tunnel.index != control->tun->index)
		return false;
	follow_wan(control, tunnel.mtu);
	follow_gso_size(control, &tunnel);
	follow_addresses(control, tunnel.is_up);
	return true;
}
