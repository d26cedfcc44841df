/*
 * The tunnel interface: set up once, followed while it is there, taken back at the end.
 *
 * Theory of operation. Everything is read anew each time somebody says that something changed. Its
 * first IPv4 address of global scope becomes the tunnel's own address and stays it while it exists.
 * A server's pool follows that (tunnel_pool.h). What was changed on an interface that stays is
 * undone; one that this process made takes everything with it. What fails for a passing reason is
 * noted as trouble and done at the next look, which comes by itself; what fails for good is said
 * once. A queue that is not ours takes packets away (a network manager's detached one, attached
 * again): that is said, too.
 *
 * A network manager may take away the address of --address, which is not its own. Where none is
 * left after a while, in which a person may give another one, it is given again.
 */
#ifndef UDP_ENCAP_TUN_TUNNEL_SIDE_H
#define UDP_ENCAP_TUN_TUNNEL_SIDE_H

#include "base/event_loop.h"
#include "control/retry.h"
#include "control/tunnel_condition.h"
#include "control/tunnel_pool.h"
#include "io/tun_interface.h"
#include "link/link.h"

struct tunnel_side_settings {
	const struct tun_interface *tun;
	struct peers *peers;
	struct ip_prefix address; /* to be given, length 0: none */
	bool is_server;           /* has a pool */
	struct tunnel_pool_settings pool;
	uint32_t mtu; /* bytes, 0: follow the bound device's */
};

struct tunnel_side {
	struct tunnel_side_settings settings;
	char name[IFNAMSIZ];  /* as the interface is called now */
	struct ip_prefix own; /* the tunnel's own address, all zero: none */
	struct tunnel_pool pool;
	uint32_t wan_mtu; /* that the MTU follows, 0: none yet */
	struct tunnel_condition condition;
	event_loop *loop;
	struct event_timer give_again; /* the address of --address */
	bool has_strange_queues;       /* somebody else's, and that was said */
	bool has_given_address;
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
