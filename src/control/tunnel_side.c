/* The tunnel interface; see tunnel_side.h for the theory of operation. */
#include "control/tunnel_side.h"

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
	tunnel_pool_start(&side->pool, &settings->pool, side->name);
	tunnel_condition_start(&side->condition, loop, side->name);
	set_queue_length(settings->tun);
	set_sysctls(name_of(side));
	return give_address(side);
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
		tunnel_pool_follow(&side->pool, &addresses, &side->own, is_up, trouble);
	tell_address(side, &former);
	follow_loss(side);
	publish_address(side, trouble);
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

static void follow_condition(struct tunnel_side *side, bool is_up)
{
	const struct tunnel_obstacles now = {
		.is_down = !is_up,
		.lacks_address = side->own.length == 0,
		.is_strict = !side->settings.is_server &&
			     tunnel_condition_filters_strictly(
				     link_sysctl("ipv4", name_of(side), "rp_filter"),
				     link_sysctl("ipv4", "all", "rp_filter")),
	};

	tunnel_condition_follow(&side->condition, &now);
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
	bool is_left = tun != NULL && !tun->is_made;

	event_timer_stop(&side->give_again);
	tunnel_condition_close(&side->condition);
	/* an interface that was made takes its address and routes with it */
	tunnel_pool_undo(&side->pool, is_left);
	if (is_left && side->has_given_address)
		(void)link_remove_address(tun->ifindex, &side->settings.address);
}
