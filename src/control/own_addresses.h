/*
 * This machine's own addresses: which one is the tunnel's (rule R4), and which ones no peer may
 * get. Pure functions on what link_read_addresses() gave.
 */
#ifndef UDP_ENCAP_TUN_OWN_ADDRESSES_H
#define UDP_ENCAP_TUN_OWN_ADDRESSES_H

#include "link/link.h"

/** Addresses without their prefix lengths, sorted, each once. All zero: none. */
struct own_addresses {
	struct ip_address *list; /* freed by own_addresses_free() */
	size_t count;
};

/**
 * The tunnel's own address: the one in use while it exists, else the first of global scope, else
 * the first; NULL when the interface has none. One whose prefix length changed is still the same,
 * unless it is there with both.
 * @ifindex: of the tunnel interface
 * @in_use: all zero: none
 */
const struct link_address *own_addresses_choose(const struct link_addresses *addresses,
						unsigned ifindex, const struct ip_prefix *in_use);

/**
 * Collects the addresses in a prefix, whichever interface they stand on.
 * @within: the caller's to free
 * Returns false when there is no memory.
 */
bool own_addresses_collect(const struct link_addresses *addresses, const struct ip_prefix *prefix,
			   struct own_addresses *within);

bool own_addresses_include(const struct own_addresses *addresses, const struct ip_address *address);

bool own_addresses_equal(const struct own_addresses *a, const struct own_addresses *b);

/** Frees the list; none are left. */
void own_addresses_free(struct own_addresses *addresses);

#endif
