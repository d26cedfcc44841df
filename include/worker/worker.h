/*
 * A worker: one thread with a queue of the tunnel interface and a UDP socket.
 *
 * Theory of operation. A worker waits for its two descriptors and for its ring (exchange.h), takes
 * a batch from each descriptor that is readable, carries it to the other side, and waits again.
 * While it waits it is offline for RCU, so a round is one read-side critical section and nobody
 * ever waits for an idle worker. When one side is full, the worker keeps what it could not get rid
 * of, stops reading the side that it came from, and waits until there is room; the other direction
 * goes on. The directions know nothing of each other.
 */
#ifndef UDP_ENCAP_TUN_WORKER_H
#define UDP_ENCAP_TUN_WORKER_H

#include "base/counters.h"
#include "exchange/exchange.h"
#include "peers/peers.h"

struct worker;

/** What a worker works with; all of it outlives the worker. */
struct worker_settings {
	uint16_t number;       /* of this worker, from 0 on */
	uint16_t own_port;     /* of its socket, network byte order */
	int queue;             /* of the tunnel interface, not closed by the worker */
	bool with_vnet_header; /* the queue's packets lie behind one */
	bool may_segment;      /* UDP segmentation may be used */
	uint64_t busy_poll;    /* nanoseconds of polling at most, 0: none */
	struct peers *peers;
	struct notices *notices;
	struct channel *channel;
};

/**
 * Makes a worker, not yet running. Main thread.
 * @sockets: its own from now on, unless NULL is returned
 * Returns NULL when there is no memory.
 */
struct worker *worker_create(const struct worker_settings *settings,
			     const struct socket_record *sockets);

/** Starts the worker's thread. Returns 0 or a positive error number. Main thread. */
int worker_start(struct worker *worker);

/**
 * Keeps a running worker on one CPU. Returns 0 or a positive error number. Main thread.
 * @cpu: its number
 */
int worker_pin(struct worker *worker, size_t cpu);

/** Asks a running worker to end. Any thread. */
void worker_stop(struct worker *worker);

/** Waits for the thread to end, after worker_stop(). Main thread, offline for RCU. */
void worker_join(struct worker *worker);

/** Frees a worker that does not run, and closes its sockets. */
void worker_destroy(struct worker *worker);

/** The worker's counters. Any thread may read them. */
const struct counters *worker_counters(const struct worker *worker);

#endif
