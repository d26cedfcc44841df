/*
 * What keeps the tunnel interface from carrying although it is there. Not for the tunnel address
 * that it has at last: tunnel_side.c names that.
 */
#ifndef UDP_ENCAP_TUN_TUNNEL_CONDITION_H
#define UDP_ENCAP_TUN_TUNNEL_CONDITION_H

#include <stdbool.h>

/** All zero: it carries. */
struct tunnel_condition {
	bool is_down;
	bool lacks_address;
	/* Reverse path filtering drops what arrives from where the routes do not lead into the
	 * tunnel; of an endpoint. What a server delivers comes from the tunnel interface's subnet.
	 */
	bool is_strict;
};

/** Whether the kernel filters strictly on an interface: of its number and that of `all` the larger
 * one counts (Linux include/linux/inetdevice.h, IN_DEV_RPFILTER()). Negative: not known. */
bool tunnel_condition_filters_strictly(int of_interface, int of_all);

/** Says what has changed. @name: of the interface */
void tunnel_condition_tell(const char *name, const struct tunnel_condition *before,
			   const struct tunnel_condition *now);

#endif
