/*
 * A worker: one thread with a queue of the tunnel interface and a UDP socket.
 *
 * Theory of operation. A worker waits for its two descriptors, takes a batch from each that is
 * readable, carries it to the other side, and waits again. While it waits it is offline for RCU, so
 * a round is one read-side critical section and nobody ever waits for an idle worker. When one side
 * is full, the worker keeps what it could not get rid of, stops reading the side that it came from,
 * and waits until there is room; the other direction goes on.
 */
#ifndef UDP_ENCAP_TUN_WORKER_H
#define UDP_ENCAP_TUN_WORKER_H

#include "base/counters.h"
#include "worker/forwarding.h"

struct worker;

/**
 * Makes a worker, not yet running. Main thread.
 * @number: of this worker, from 0 on
 * @queue: its queue of the tunnel interface, not closed by the worker
 * @socket: its UDP socket, closed by the worker
 * Returns NULL when there is no memory or descriptor for it; the socket is then left alone.
 */
struct worker *worker_create(struct forwarding *forwarding, size_t number, int queue, int socket);

/** Starts the worker's thread. Returns 0 or a positive error number. Main thread. */
int worker_start(struct worker *worker);

/**
 * Keeps a running worker on one CPU. Returns 0 or a positive error number. Main thread.
 * @cpu: its number
 */
int worker_pin(struct worker *worker, size_t cpu);

/** Waits for the thread to end, after `is_stopping` was set and the worker was woken. */
void worker_join(struct worker *worker);

/** Frees a worker that does not run, and closes its socket. */
void worker_destroy(struct worker *worker);

/** Makes the worker look at `is_stopping`. Any thread. */
void worker_wake(struct worker *worker);

/** Gives the worker another socket in place of the one that it has. Control thread. */
void worker_replace_socket(struct worker *worker, int socket);

/** The worker's counters. Any thread may read them. */
const struct counters *worker_counters(const struct worker *worker);

#endif
