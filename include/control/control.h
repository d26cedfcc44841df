/*
 * The control thread: signals, interfaces, expiry, keepalives, control datagrams, the log. It never
 * touches a packet.
 *
 * Theory of operation. An event loop (base/event_loop.h) with a handler for each matter, each with
 * a state and an undo of its own: signals.h, interfaces.h (with tunnel_side.h, wan.h and retry.h),
 * sources.h, expiry.h, warnings.h, control_datagrams.h, kernel_drops.h. This file's functions only
 * put them together. The thread sleeps until a signal, word from the kernel about an interface, a
 * notice or a record of a worker, or the next moment at which an entry may expire or a keepalive
 * may be due. An entry cannot expire sooner than its time-out after it was made, so sleeping that
 * long without knowing of new entries misses nothing, and an idle process does not wake.
 */
#ifndef UDP_ENCAP_TUN_CONTROL_H
#define UDP_ENCAP_TUN_CONTROL_H

#include "cli/options.h"
#include "control/outputs.h"
#include "exchange/exchange.h"
#include "io/tun_interface.h"
#include "io/udp_socket.h"
#include "peers/peers.h"
#include "worker/worker.h"

struct control;

/** Why the control loop ended. */
enum control_outcome {
	CONTROL_WAS_STOPPED, /* SIGINT, SIGTERM or SIGHUP */
	CONTROL_LOST_TUNNEL, /* the tunnel interface is gone */
	CONTROL_HAS_FAILED,  /* the event loop cannot go on, which was logged */
};

/** What the control thread looks after; all of it outlives it. */
struct control_settings {
	const struct options *options;
	struct outputs *outputs;
	struct tun_interface *tun;
	struct peers *peers;
	struct exchange *exchange;
	struct worker *const *workers;
	size_t worker_count;
	/* the workers', duplicated to send keepalives from; negative: there is no device yet */
	const int *sockets;
	/* called once when there are sockets after all, with one of them; control thread */
	void (*has_sockets)(void *state, int socket);
	void *has_sockets_state;
};

/**
 * Blocks the signals that the control thread handles and opens its descriptors, so that nothing
 * which happens from now on is missed. Main thread, before any other thread starts.
 * Returns NULL after an error was logged.
 */
struct control *control_open(void);

/**
 * Takes over what it looks after, and sets the interfaces up as the options say. Main thread,
 * registered with RCU, before the workers start.
 * Returns false after an error was logged; control_close() is due all the same.
 */
bool control_set_up(struct control *control, const struct control_settings *settings);

/** Runs until there is a reason to end. Main thread, registered with RCU. */
enum control_outcome control_run(struct control *control);

/**
 * The last words, after the workers ended: the peers that are still there, as --log-peers asks for,
 * and the counters. Main thread, registered with RCU.
 */
void control_say_goodbye(struct control *control);

/** Takes back what was changed on interfaces that stay, and frees everything. */
void control_close(struct control *control);

/** How sockets are to be opened, as the options say. Any thread. */
struct udp_socket_settings control_socket_settings(const struct options *options);

/** What a step of opening a socket is called after "cannot". Any thread. */
const char *control_socket_step(const struct udp_socket_settings *settings,
				enum udp_socket_step step);

#endif
