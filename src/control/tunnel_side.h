/*
 * The tunnel interface: set up once, followed while it is there, taken back at the end.
 *
 * Theory of operation. Everything is read anew each time somebody says that something changed. Its
 * first IPv4 address of global scope becomes the tunnel's own address and stays it while it exists.
 * That address's subnet becomes the pool (or --peer-pool does, which may need a route to it), less
 * all addresses of this machine, whichever interface they stand on; the interface's MTU the bound
 * of super-packets. What was changed on an interface that stays is undone; one that this process
 * made takes everything with it. What fails for a passing reason is noted as trouble and done at
 * the next look, which comes by itself; what fails for good is said once. A queue that is not ours
 * takes packets away (a network manager's detached one, attached again): that is said, too.
 *
 * A network manager may take away the address of --address, which is not its own. Where none is
 * left after a while, in which a person may give another one, it is given again.
 */
#ifndef UDP_ENCAP_TUN_TUNNEL_SIDE_H
#define UDP_ENCAP_TUN_TUNNEL_SIDE_H

#include "base/counters.h"
#include "base/event_loop.h"
#include "control/own_addresses.h"
#include "control/peer_log.h"
#include "control/retry.h"
#include "control/tunnel_condition.h"
#include "io/tun_interface.h"
#include "link/link.h"

struct tunnel_side_settings {
	const struct tun_interface *tun;
	struct peers *peers;
	struct peer_log *peer_log;
	struct counters *counters;
	struct ip_prefix address;   /* to be given, length 0: none */
	struct ip_prefix peer_pool; /* length 0: the interface's subnet */
	bool is_server;             /* has a pool */
	struct siphash_key pool_key;
	uint32_t mtu; /* bytes, 0: follow the bound device's */
	uint32_t max_entries;
};

struct tunnel_side {
	struct tunnel_side_settings settings;
	char name[IFNAMSIZ];           /* as the interface is called now */
	struct ip_prefix own;          /* the tunnel's own address, all zero: none */
	struct ip_prefix pool;         /* where tunnel addresses come from, all zero: nowhere yet */
	struct own_addresses excluded; /* from that pool */
	uint32_t wan_mtu;              /* that the MTU follows, 0: none yet */
	int route_error;               /* why there is no route to --peer-pool, as it was said */
	struct tunnel_condition condition; /* as it is */
	struct tunnel_condition told;
	struct event_timer patience; /* until what begins is told */
	event_loop *loop;
	struct event_timer give_again; /* the address of --address */
	bool has_strange_queues;       /* somebody else's, and that was said */
	bool has_given_address;
	bool has_added_route;   /* to --peer-pool */
	bool has_foreign_route; /* there is one to --peer-pool over another interface */
};

/** Sets the interface up. Main thread. Returns false after an error was logged. */
bool tunnel_side_set_up(struct tunnel_side *side, event_loop *loop,
			const struct tunnel_side_settings *settings);

/** Says that somebody renamed the interface, if so. @name: as it is called now */
void tunnel_side_follow_name(struct tunnel_side *side, const char *name);

/**
 * Sets the interface's MTU as that of the bound device wants it. Control thread.
 * @wan_mtu, @tunnel_mtu: bytes
 */
void tunnel_side_follow_mtu(struct tunnel_side *side, uint32_t wan_mtu, uint32_t tunnel_mtu,
			    struct trouble *trouble);

/**
 * Follows what the interface is now. Control thread, registered with RCU.
 * @trouble: gets what could not be read or changed, here and above
 */
void tunnel_side_follow(struct tunnel_side *side, const struct link_state *state,
			struct trouble *trouble);

/** Takes back what was changed. */
void tunnel_side_undo(struct tunnel_side *side);

#endif
