/* What decides whether a source may be used, and where it is read from; pure. */
#ifndef UDP_ENCAP_TUN_SOURCE_FACTS_H
#define UDP_ENCAP_TUN_SOURCE_FACTS_H

#include "link/source.h"

#include <libmnl/libmnl.h>

struct source_facts {
	struct ip_address chosen; /* by the kernel, all zero: none */
	bool stands_on_device;
	bool stands_on_vrf;             /* that the device belongs to */
	struct ip_address route_source; /* the matched route's `src`, all zero: none */
};

/** Rule T5. */
bool source_may_be_used(const struct source_facts *facts);

/** The ifindex of the VRF that the interface of an RTM_NEWLINK belongs to, or 0. */
unsigned source_vrf_of(const struct nlmsghdr *message);

#endif
