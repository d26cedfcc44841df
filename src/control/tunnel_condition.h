/*
 * What keeps the tunnel interface from carrying although it is there. Not for the tunnel address
 * that it has at last: tunnel_side.c names that.
 *
 * Theory of operation. An obstacle is told when it lasts: a network manager that sees the interface
 * for the first time gives it an address within milliseconds. The end of what was told is told at
 * once.
 */
#ifndef UDP_ENCAP_TUN_TUNNEL_CONDITION_H
#define UDP_ENCAP_TUN_TUNNEL_CONDITION_H

#include "base/event_loop.h"

/** All zero: it carries. */
struct tunnel_obstacles {
	bool is_down;
	bool lacks_address;
	/* Reverse path filtering drops what arrives from where the routes do not lead into the
	 * tunnel; of an endpoint. What a server delivers comes from the tunnel interface's subnet.
	 */
	bool is_strict;
};

struct tunnel_condition {
	event_loop *loop;
	const char *name; /* of the interface */
	struct tunnel_obstacles now;
	struct tunnel_obstacles told;
	struct event_timer patience; /* until what began is told */
};

/** Whether the kernel filters strictly on an interface: of its number and that of `all` the larger
 * one counts (Linux include/linux/inetdevice.h, IN_DEV_RPFILTER()). Negative: not known. */
bool tunnel_condition_filters_strictly(int of_interface, int of_all);

/** Prepares it. @name: stays the caller's, who changes it with the interface's name */
void tunnel_condition_start(struct tunnel_condition *condition, event_loop *loop, const char *name);

/** Says what has changed, now or when it lasts. Control thread. */
void tunnel_condition_follow(struct tunnel_condition *condition,
			     const struct tunnel_obstacles *now);

/** Stops its timer. */
void tunnel_condition_close(struct tunnel_condition *condition);

#endif
