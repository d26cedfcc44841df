/*
 * The control thread: signals, interfaces, expiry, keepalives, the log. It never touches a packet.
 *
 * Theory of operation. It sleeps until a signal, word from the kernel about an interface, a notice
 * of a worker, or the next moment at which an entry may expire or a keepalive may be due. An entry
 * cannot expire sooner than its time-out after it was made, so sleeping that long without knowing
 * of new entries misses nothing, and an idle process does not wake.
 */
#ifndef UDP_ENCAP_TUN_CONTROL_H
#define UDP_ENCAP_TUN_CONTROL_H

#include "io/tun_interface.h"
#include "link/link.h"
#include "worker/forwarding.h"
#include "worker/worker.h"

struct control {
	struct forwarding *forwarding;
	struct tun_interface *tun;
	struct worker **workers;
	size_t worker_count;
	struct counters counters; /* the control thread's own */
	int signals;              /* signalfd */
	int monitor;              /* rtnetlink */
	/* Duplicates of the workers' sockets: of the first one, or of each that has its own port.
	 */
	size_t keepalive_socket_count;
	int keepalive_sockets[MAX_THREADS];

	bool wan_is_gone;
	unsigned bound_index; /* of the device that the sockets are bound to */
	uint32_t wan_mtu;
	uint32_t own_gso_max_size;       /* of the tunnel interface before, 0: not changed */
	uint32_t gso_mtu;                /* its MTU when it was changed last, 0: never */
	struct link_addresses addresses; /* of the tunnel interface */
	bool has_given_address;          /* added the one of --address: takes it away again */
	bool has_added_route;            /* added the one to --peer-pool */
	bool has_foreign_route;          /* there is one to --peer-pool over another interface */

	uint64_t sweep_at;        /* milliseconds; 0: not needed */
	uint64_t socket_retry_at; /* milliseconds; 0: no need */
	uint64_t refusals_quiet_until;
	uint64_t reserve_quiet_until;
	uint64_t refusals_told; /* as many were in the log lines so far */
};

/** Why the control loop ended. */
enum control_outcome {
	CONTROL_WAS_STOPPED, /* SIGINT, SIGTERM or SIGHUP */
	CONTROL_LOST_TUNNEL, /* the tunnel interface is gone */
};

/**
 * Prepares the control thread: blocks the signals that it handles, opens its descriptors. Before
 * any other thread starts. Returns false after an error was logged.
 */
bool control_init(struct control *control, struct forwarding *forwarding,
		  struct tun_interface *tun);

/** Sets the interfaces up as the options say; before the workers start. */
bool control_set_up(struct control *control);

/**
 * Gives the control thread its workers.
 * @sockets: the workers', to send keepalives from; they are duplicated
 * @bound_index: of the device that the sockets are bound to
 * Returns false after an error was logged.
 */
bool control_set_workers(struct control *control, struct worker **workers, size_t count,
			 const int *sockets, unsigned bound_index);

/** Runs until there is a reason to end. Main thread, registered with RCU. */
enum control_outcome control_run(struct control *control);

/** Logs the peers that are still there when the program ends, as --log-peers asks for. */
void control_log_leaving(struct control *control);

/** Prints the counters on standard output. Main thread. */
void control_print_counters(const struct control *control);

/** Takes back what was changed on interfaces that stay, and closes the descriptors. */
void control_close(struct control *control);

#endif
