/*
 * A standing queue: when packets wait in the tunnel interface because the link is slow, and for so
 * long that TCP has to be told. Pure: the caller brings the clock.
 *
 * Theory of operation. A tunnel takes away TCP's own limit on what it has in local queues, and the
 * tunnel interface's queue is counted in packets, which may be 60 bytes or 64 KiB: at 20 Mbit/s a
 * full one is seconds long. What a packet waited cannot be read from a tun device, but when its
 * queue was last empty can: if it was never empty for 100 ms after the socket was full, there is
 * more in flight than the link and the socket buffer can use. Then one segment is marked (ECN) or
 * dropped, and again in ever shorter intervals until the queue runs empty: the control law of CoDel
 * (RFC 8289) with "not empty" in place of its sojourn time. A queue that stands because the
 * processor is busy is left alone: there most rounds end with everything sent, not with a full
 * socket.
 */
#ifndef UDP_ENCAP_TUN_STANDING_QUEUE_H
#define UDP_ENCAP_TUN_STANDING_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	STANDING_QUEUE_INTERVAL = 100, /* milliseconds, RFC 8289 section 3.2 */
	STANDING_QUEUE_BALANCE_LIMIT = 16,
};

struct standing_queue {
	uint64_t next_signal; /* milliseconds, 0: the socket was not full since the queue was empty
			       */
	uint32_t signals;     /* since the queue was empty */
	uint32_t root;        /* square root of it, rounded up */
	int balance;          /* rounds that ended with a full socket, less those that did not */
};

/** The queue was found empty. */
static inline void standing_queue_emptied(struct standing_queue *queue)
{
	queue->next_signal = 0;
}

/** A round ended with all that was read sent. */
static inline void standing_queue_sent(struct standing_queue *queue)
{
	if (queue->balance > -STANDING_QUEUE_BALANCE_LIMIT)
		queue->balance--;
}

/**
 * A round ended with the socket full.
 * @now: milliseconds, never 0
 */
static inline void standing_queue_blocked(struct standing_queue *queue, uint64_t now)
{
	if (queue->balance < STANDING_QUEUE_BALANCE_LIMIT)
		queue->balance++;
	if (queue->next_signal != 0)
		return;
	queue->next_signal = now + STANDING_QUEUE_INTERVAL;
	queue->signals = 0;
	queue->root = 1;
}

/** True when the next segment is to carry the signal. */
static inline bool standing_queue_signal(struct standing_queue *queue, uint64_t now)
{
	if (queue->next_signal == 0 || now < queue->next_signal || queue->balance <= 0)
		return false;
	queue->signals++;
	if (queue->root * queue->root < queue->signals)
		queue->root++;
	queue->next_signal = now + STANDING_QUEUE_INTERVAL / queue->root;
	return true;
}

#endif
