/*
 * The path MTU towards a peer, as the kernel knows it. Only asked for after a send was refused for
 * its size. An unconnected socket cannot be asked (ENOTCONN), so a temporary one is connected to
 * the peer the same way as the worker's own; the answer is kept for a second.
 */
#ifndef UDP_ENCAP_TUN_PATH_MTU_H
#define UDP_ENCAP_TUN_PATH_MTU_H

#include "base/address.h"

enum { PATH_MTU_CACHE_SIZE = 16 };

struct path_mtu_entry {
	struct ip_address peer;
	uint32_t asked_at; /* monotonic seconds, 0: never */
	uint32_t mtu;      /* bytes, 0: unknown */
};

/** A worker's answers. */
struct path_mtu_cache {
	const char *device;
	uint32_t fwmark;
	struct path_mtu_entry entries[PATH_MTU_CACHE_SIZE];
};

/**
 * The MTU of the path to an address in bytes, or 0 when it is unknown. Worker.
 * @now: monotonic seconds
 */
uint32_t path_mtu(struct path_mtu_cache *cache, const struct ip_address *peer, uint32_t now);

#endif
