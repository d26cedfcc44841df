/*
 * The path MTU towards a peer, as the kernel knows it. Only asked for after a send was refused for
 * its size.
 *
 * Theory of operation. An unconnected socket cannot be asked (ENOTCONN), and a worker's own serves
 * all peers. So there is another one on the same device and with the same mark, which is bound to
 * the datagrams' source and connected to their destination for as long as the question takes: the
 * route is then the one that the datagrams take, also where a policy rule chooses by source.
 * Between two questions it has neither a peer nor a port, and so it never receives. An answer is
 * kept for a second.
 */
#ifndef UDP_ENCAP_TUN_PATH_MTU_H
#define UDP_ENCAP_TUN_PATH_MTU_H

#include "base/address.h"

enum { PATH_MTU_CACHE_SIZE = 16 };

struct path_mtu_entry {
	struct ip_address peer;
	struct ip_address source; /* all zero: the kernel chooses */
	uint32_t asked_at;        /* monotonic seconds, 0: never */
	uint32_t mtu;             /* bytes, 0: unknown */
};

/** A worker's answers. */
struct path_mtu_cache {
	int fd; /* as path_mtu_cache_init() was told */
	struct path_mtu_entry entries[PATH_MTU_CACHE_SIZE];
};

/**
 * Opens a socket to ask on. Any thread.
 * @device: what the workers' sockets are bound to; one that comes back needs a new socket
 * @fwmark: their mark, 0: none
 * Returns a descriptor or a negative errno.
 */
int path_mtu_socket_open(const char *device, uint32_t fwmark);

/**
 * Begins without answers. Worker.
 * @fd: of path_mtu_socket_open(), stays the caller's, who closes it; negative: all is unknown
 */
void path_mtu_cache_init(struct path_mtu_cache *cache, int fd);

/**
 * The MTU of the path to an address in bytes, or 0 when it is unknown. Worker.
 * @source: of the datagrams, all zero: the kernel chooses
 * @now: monotonic seconds
 */
uint32_t path_mtu(struct path_mtu_cache *cache, const struct ip_address *peer,
		  const struct ip_address *source, uint32_t now);

/** The same without a question: what path_mtu() answered within this second, else 0. Worker. */
uint32_t path_mtu_known(const struct path_mtu_cache *cache, const struct ip_address *peer,
			const struct ip_address *source, uint32_t now);

#endif
