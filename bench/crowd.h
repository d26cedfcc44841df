/*
 * Threads that do one thing together, as workers do: each is registered with RCU and announces a
 * quiescent state after each batch. The thread that has them do it is offline for RCU meanwhile.
 */
#ifndef UDP_ENCAP_TUN_CROWD_H
#define UDP_ENCAP_TUN_CROWD_H

#include <stddef.h>
#include <stdint.h>

enum {
	CROWD_MAX_THREADS = 64,
	CROWD_BATCH = 64, /* operations between two quiescent states, as in a worker's batch */
};

/**
 * One batch of work of one thread.
 * @thread: its number
 * @done: operations that it did before
 * Returns how many operations this was; 0 ends crowd_once().
 */
typedef size_t crowd_work(void *argument, size_t thread, uint64_t done);

/** Has the threads work for a while. Returns the operations a second of all of them together. */
double crowd_rate(size_t threads, double seconds, crowd_work *work, void *argument);

/**
 * Has each thread work until it has done its share.
 * Returns the seconds from the first one's start to the last one's end.
 */
double crowd_once(size_t threads, crowd_work *work, void *argument);

#endif
