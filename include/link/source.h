/*
 * From which address the kernel would send, and whether it may be used (rule T5). Only the main and
 * control thread, never a worker.
 *
 * Theory of operation. RTM_GETROUTE with the device, the mark, the protocol and the ports of a
 * datagram answers as sending it would (Linux net/ipv4/route.c, inet_rtm_getroute()): with its
 * route, and the source that the kernel chooses. Where the device has no address that fits, that is
 * one of any other interface (net/ipv4/devinet.c, inet_select_addr()), and the far end takes us for
 * somebody else. An address may be used when it stands on the device, or on the VRF that the device
 * belongs to, or when the matched route names it (`src`). Whether it does tells the route as it
 * stands in its table (RTM_F_FIB_MATCH); a destination without a route, which the kernel takes to
 * be on the link of a socket's device, has none. What is sent there gets lost where a link has
 * addresses: nobody answers for the destination's.
 *
 * Questions come in rounds, on one socket, and what they have in common is asked once in a round.
 */
#ifndef UDP_ENCAP_TUN_LINK_SOURCE_H
#define UDP_ENCAP_TUN_LINK_SOURCE_H

#include "link/link.h"

/** A round of questions about a device. Read-only for others than this room. */
struct link_round {
	struct link_state device;        /* ifindex 0: there is none */
	struct link_addresses addresses; /* of all interfaces */
	struct mnl_socket *netlink;
};

/** A datagram by the device. */
struct link_datagram {
	struct ip_address destination;
	uint32_t mark;
	uint16_t source_port; /* network byte order, as the next one */
	uint16_t destination_port;
};

/** A route as it stands in its table. */
struct link_route {
	struct ip_prefix destination;
	struct ip_address gateway; /* all zero: none, as the next one */
	struct ip_address source;  /* its `src` */
	uint32_t table;
	uint32_t metric;
	uint32_t nexthop; /* number of its nexthop object, 0: none */
	unsigned ifindex; /* of the device it leads over, 0: of several */
	uint8_t tos;
	bool is_onlink;
	bool is_more; /* than can be said here: leads over several devices, or an IPv6 gateway */
};

/** What the kernel does with a datagram. */
struct link_source {
	int error;                 /* negative errno: it is not sent; 0: it is, see the others */
	struct ip_address address; /* that it would leave from, all zero: none */
	bool may_be_used;
	bool lacks_route; /* and what is sent gets lost, or the route refuses it */
	bool has_route;   /* and `route` is filled; not asked where the address may be used */
	struct link_route route;
};

/**
 * Begins a round. Returns 0 or a negative errno; the round is closed then. It is no error that the
 * device is not there.
 */
int link_round_open(struct link_round *round, const char *device);

/** Ends a round; one that is all zero, too. */
void link_round_close(struct link_round *round);

/**
 * Asks what the kernel does with a datagram.
 * Returns 0, or a negative errno when it could not be asked.
 */
int link_ask_source(struct link_round *round, const struct link_datagram *datagram,
		    struct link_source *source);

/**
 * Finds a `src` that some route over the device names; all zero: none does. Reads all routes.
 * Returns 0 or a negative errno.
 */
int link_find_route_source(struct link_round *round, struct ip_address *source);

/** The ifindex of an interface that has an address, or 0. */
unsigned link_holder_of(const struct link_round *round, const struct ip_address *address);

/** Whether an address stands on the device, or on the VRF that it belongs to. */
bool link_round_lends(const struct link_round *round, const struct ip_address *address);

#endif
