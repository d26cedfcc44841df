/*
 * The bound device, which may go and come back, or come only later (--wait-for-device).
 *
 * Theory of operation. Sockets on a device that is gone stay useless when it comes back: all
 * workers get new ones, through their rings. A device of the same ifindex is the one that the
 * sockets are bound to, renamed or moved to another namespace, and back. What cannot be opened is
 * tried again after a while. One that is awaited comes as one that comes back: until then the
 * workers have no sockets, and the port is not held. What keeps a device that is there from
 * carrying is said once (wan_condition.h); the sockets stay, and carry when it is over.
 */
#ifndef UDP_ENCAP_TUN_WAN_H
#define UDP_ENCAP_TUN_WAN_H

#include "base/event_loop.h"
#include "control/expiry.h"
#include "control/kernel_drops.h"
#include "control/retry.h"
#include "control/wan_condition.h"
#include "exchange/exchange.h"
#include "io/udp_socket.h"
#include "link/link.h"

struct wan_settings {
	struct udp_socket_settings sockets;
	struct exchange *exchange;
	struct expiry *expiry;      /* sends keepalives by the sockets */
	struct kernel_drops *drops; /* counts what they have no room for */
	unsigned ifindex;           /* of the device that the sockets are bound to */
	bool is_awaited;            /* there are no sockets yet: the device was never there */
	/* called when the first sockets are there after all, with one of them */
	void (*has_sockets)(void *state, int socket);
	void *has_sockets_state;
};

struct wan {
	struct wan_settings settings;
	event_loop *loop;
	struct event_timer retry;
	event_handler *look_again; /* when the timer is due */
	void *look_again_state;
	unsigned ifindex;               /* of the device that the sockets are bound to now */
	struct wan_condition condition; /* as it was told last */
	bool is_awaited;                /* it never was there, and there were no sockets yet */
	bool is_gone;
	bool is_retrying; /* sockets could not be opened, and that was logged */
};

/** Begins with sockets that are bound, or without any. @look_again: has wan_look() called */
void wan_start(struct wan *wan, event_loop *loop, const struct wan_settings *settings,
	       event_handler *look_again, void *look_again_state);

/**
 * Follows what the device is now. Control thread.
 * @trouble: gets what could not be read
 * Returns its MTU in bytes, 0 while it is away or cannot be read.
 */
uint32_t wan_look(struct wan *wan, struct trouble *trouble);

void wan_close(struct wan *wan);

#endif
