/*
 * Where a server's tunnel addresses come from: the pool of the store, and the route to it.
 *
 * Theory of operation. The subnet of the tunnel's own address is the pool, or --peer-pool is, which
 * may need a route to the tunnel interface; less all addresses of this machine, whichever interface
 * they stand on. When one of these changes the store gets another pool, and who loses an address by
 * that is counted and told. The route goes whenever the interface goes down, and is made again.
 */
#ifndef UDP_ENCAP_TUN_TUNNEL_POOL_H
#define UDP_ENCAP_TUN_TUNNEL_POOL_H

#include "base/counters.h"
#include "control/own_addresses.h"
#include "control/peer_log.h"
#include "control/retry.h"
#include "link/link.h"

struct tunnel_pool_settings {
	struct connection_store *store;
	struct peer_log *peer_log;
	struct counters *counters;
	unsigned ifindex;       /* of the tunnel interface */
	struct ip_prefix given; /* --peer-pool, length 0: the interface's subnet */
	struct siphash_key key;
	uint32_t max_entries;
};

/** All zero: there is none yet. */
struct tunnel_pool {
	struct tunnel_pool_settings settings;
	const char *name;              /* as the interface is called now, the caller's */
	struct ip_prefix range;        /* all zero: nowhere yet */
	struct own_addresses excluded; /* from that range */
	int route_error;               /* why there is no route to --peer-pool, as it was said */
	bool has_added_route;
	bool has_foreign_route; /* there is one over another interface */
};

/** Prepares it. @name: of the interface, stays the caller's, who changes it with the name */
void tunnel_pool_start(struct tunnel_pool *pool, const struct tunnel_pool_settings *settings,
		       const char *name);

/**
 * Follows the machine's addresses. Control thread, registered with RCU.
 * @own: the tunnel's own address and its subnet
 * @is_up: the tunnel interface is
 * @trouble: gets what could not be done for a passing reason
 */
void tunnel_pool_follow(struct tunnel_pool *pool, const struct link_addresses *addresses,
			const struct ip_prefix *own, bool is_up, struct trouble *trouble);

/** Takes the route back. @is_left: the interface stays; one that goes takes its routes with it */
void tunnel_pool_undo(struct tunnel_pool *pool, bool is_left);

#endif
