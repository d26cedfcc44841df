/*
 * Network interfaces: what they are now, changes to them, and word of changes (rtnetlink(7)). Only
 * the main and control thread, never a worker.
 *
 * Theory of operation. The kernel's word of a change is taken only as a reason to look again: what
 * counts is read anew each time, so a lost or repeated message does no harm. A request fails as a
 * whole: an answer that was cut short, lost or changed while it was read is an error, never a part
 * of the truth. Interfaces are told by their ifindex, which stays when somebody renames them.
 */
#ifndef UDP_ENCAP_TUN_LINK_H
#define UDP_ENCAP_TUN_LINK_H

#include "base/address.h"

#include <net/if.h>

/** A tun device as the kernel describes it (IFLA_TUN_*, Linux include/uapi/linux/if_link.h). */
struct link_tun {
	bool is_tun;     /* created through /dev/net/tun */
	bool is_layer_3; /* IFF_TUN, not IFF_TAP */
	bool is_multi_queue;
	bool is_persistent;   /* stays when the last process lets go of it */
	bool has_packet_info; /* IFF_NO_PI is not set */
	bool has_vnet_header;
	uint32_t queues; /* that packets come to; known only when multi-queue */
};

enum { LINK_KIND_SIZE = 16 }; /* of "openvswitch", the longest one, there is room to spare */

struct link_state {
	unsigned ifindex;       /* 0: there is no such interface */
	char name[IFNAMSIZ];    /* as it is called now */
	uint32_t mtu;           /* bytes */
	bool is_up;             /* IFF_UP */
	bool has_carrier;       /* IFLA_CARRIER */
	bool is_point_to_point; /* no addresses on its link: what is sent finds its only end */
	uint64_t dropped;       /* packets to send that it did not take, since it was made */
	unsigned master;        /* ifindex of the interface that it is enslaved to, 0: none */
	char master_kind[LINK_KIND_SIZE]; /* "bridge", "bond", "team", "vrf"; empty: not known */
	struct link_tun tun;
};

/** The ifindex of the VRF that an interface belongs to, 0: none. */
static inline unsigned link_vrf_of(const struct link_state *state)
{
	return strcmp(state->master_kind, "vrf") == 0 ? state->master : 0;
}

/** An IPv4 address of this machine. */
struct link_address {
	struct ip_prefix prefix; /* with host part */
	unsigned ifindex;        /* of the interface that it stands on */
	bool is_global;          /* of global scope */
};

/** Addresses, those of one interface in the kernel's order. All zero: none. */
struct link_addresses {
	struct link_address *list; /* freed by link_free_addresses() */
	size_t count;
	size_t room;
};

/**
 * Reads an interface's state. `state->ifindex` is 0 when there is no such interface.
 * Returns 0 or a negative errno.
 */
int link_read(const char *name, struct link_state *state);

/** Reads the state of an interface whatever its name is; the rest is as with link_read(). */
int link_read_index(unsigned ifindex, struct link_state *state);

/**
 * Reads the IPv4 addresses of all interfaces.
 * @addresses: the caller's to free, unless there was an error: then there are none
 * Returns 0 or a negative errno.
 */
int link_read_addresses(struct link_addresses *addresses);

/** Frees what link_read_addresses() gave; none are left. */
void link_free_addresses(struct link_addresses *addresses);

/** Adds an address. Returns 0 or a negative errno, -EEXIST when it is there already. */
int link_add_address(unsigned ifindex, const struct ip_prefix *address);

/** Removes an address. Returns 0 or a negative errno. */
int link_remove_address(unsigned ifindex, const struct ip_prefix *address);

/** Adds a route to a prefix. Returns 0 or a negative errno, -EEXIST when there is one already. */
int link_add_route(unsigned ifindex, const struct ip_prefix *prefix);

/** Removes a route that link_add_route() made. Returns 0 or a negative errno. */
int link_remove_route(unsigned ifindex, const struct ip_prefix *prefix);

/**
 * Asks which interface the kernel's routes choose for an address.
 * @ifindex: 0 when there is no route
 * Returns 0 or a negative errno.
 */
int link_route_to(const struct ip_address *address, unsigned *ifindex);

/** Changes properties of an interface. Each returns 0 or a negative errno. */
int link_set_mtu(unsigned ifindex, uint32_t mtu);
int link_set_queue_length(unsigned ifindex, uint32_t packets);
int link_set_up(unsigned ifindex);

/**
 * Writes a value to /proc/sys/net/FAMILY/conf/NAME/KEY unless it stands there already.
 * Returns 0 or a negative errno; -ENOENT when the kernel has no such family.
 */
int link_set_sysctl(const char *family, const char *name, const char *key, const char *value);

/** What stands there: a number that is not negative; or a negative errno. */
int link_sysctl(const char *family, const char *name, const char *key);

/**
 * Opens a descriptor that becomes readable when an interface, an IPv4 address or a setting such as
 * `rp_filter` changes; or < 0.
 */
int link_monitor_open(void);

/** The same for IPv4 routes, the rules that choose among their tables, and nexthop objects. */
int link_route_monitor_open(void);

/** Reads and forgets all that the monitor has to say. */
void link_monitor_drain(int monitor);

#endif
