/*
 * What keeps the bound device from carrying although it is there.
 *
 * Theory of operation. A bridge, a bond or whatever else has ports takes what arrives on them
 * before any socket sees it; what is sent goes out as before. So sockets that are bound to a port
 * hear nothing, and hear again once it is none, with no need to be opened anew. A VRF is another
 * matter: the kernel compares a socket's device also with the port that a datagram came in by
 * (sdif, Linux include/net/inet_sock.h, inet_bound_dev_eq()), so all is heard, and only routes are
 * looked up in another table.
 */
#ifndef UDP_ENCAP_TUN_WAN_CONDITION_H
#define UDP_ENCAP_TUN_WAN_CONDITION_H

#include "link/link.h"

enum wan_obstacle { WAN_IS_CLEAR, WAN_IS_DOWN, WAN_IS_PORT, WAN_LACKS_CARRIER };

/** All zero: a device that carries, in no VRF. */
struct wan_condition {
	enum wan_obstacle obstacle;
	char port_of[IFNAMSIZ];         /* WAN_IS_PORT: whose */
	char port_kind[LINK_KIND_SIZE]; /* WAN_IS_PORT: "bridge", "bond" ... */
	char vrf[IFNAMSIZ];             /* empty: none */
};

/** @master: the name of the interface that the device is enslaved to, if it is */
struct wan_condition wan_condition_of(const struct link_state *device, const char *master);

/** Says what has changed of a device. */
void wan_condition_tell(const char *device, const struct wan_condition *before,
			const struct wan_condition *now);

#endif
