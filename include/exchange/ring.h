/*
 * A ring: fixed-size records on their way from exactly one thread to exactly one other.
 *
 * Theory of operation. The producer fills the next free record in place, publishes it, and goes on;
 * after a batch it calls ring_wake() once. The consumer takes records from the front until there is
 * none. Nobody ever waits for the other: a full ring is told to the producer, which counts what did
 * not fit, so every record either arrives or is counted. All memory is mapped by ring_open().
 *
 * Head and tail count records from the start and wrap with their 32 bits; the number of slots is a
 * power of two, so an index modulo that number names a slot across the wrap too, and tail less head
 * is how many records are in the ring. Each side keeps a copy of the other's index and reads the
 * real one only when the copy says "full" or "empty": a cache line changes sides once a batch.
 *
 * Waking. A write to the eventfd is a system call, and a consumer that is busy emptying the ring
 * needs none. `wants_wake` says whether it does: the consumer sets it when it finds the ring empty,
 * and the producer's next ring_wake() takes it back and writes the eventfd. So however many batches
 * come before the consumer is through, there is one write. The consumer's side of the bargain: it
 * goes to sleep only after ring_front() answered NULL. One that means to look again in a moment
 * takes as many as ring_waiting() says, and is not woken meanwhile.
 *
 * Memory ordering. A record's bytes are seen by whoever sees it published: tail is stored with
 * release and loaded with acquire ordering. A slot is filled again only after its last reader is
 * done: the same of head, the other way round. No wake-up is lost: the consumer sets `wants_wake`
 * before it looks at tail for the last time, the producer stores tail before it looks at
 * `wants_wake`, and each has a full barrier (seq_cst) in between. One of the two barriers is first
 * in their single order. If it is the producer's, the consumer sees the record. If it is the
 * consumer's, the producer sees the flag set, or what was stored later: taken back by the producer,
 * which then wrote the eventfd, or by the consumer, which then is awake and comes by here again.
 * The producer takes it back by an exchange, so that no setting is overwritten unanswered.
 */
#ifndef UDP_ENCAP_TUN_RING_H
#define UDP_ENCAP_TUN_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** All zero is a closed ring. Begins on a cache line: one on the heap needs aligned_alloc(). */
struct ring {
	/* written by ring_open() only */
	uint8_t *slots;      /* NULL: the ring is closed */
	size_t stride;       /* from one slot to the next, bytes */
	uint32_t slot_count; /* power of two */
	int event;           /* eventfd of the consumer */

	/* the producer's; indices are of all records ever, modulo 2^32 */
	_Alignas(64) _Atomic uint32_t tail; /* next to be published */
	uint32_t known_head;                /* where head was when it was last looked at */
	uint32_t woken_tail;                /* where tail was at the last ring_wake() */

	/* the consumer's */
	_Alignas(64) _Atomic uint32_t head; /* next to be taken */
	uint32_t known_tail;                /* where tail was when it was last looked at */

	/* of both, once a batch */
	_Alignas(64) _Atomic bool wants_wake;
};

/**
 * Opens a closed ring, before either side uses it. Any thread.
 * @record_size: bytes, more than 0; every record is aligned for any type
 * @slot_count: how many records fit, a power of two up to 2^31
 * Returns 0, -EINVAL for other sizes, -ENOMEM when they are beyond memory, or what eventfd() fails
 * with, negative; the ring is closed then.
 */
int ring_open(struct ring *ring, size_t record_size, uint32_t slot_count);

/**
 * Closes a ring that neither side uses any more; a closed one stays as it is. What its records own
 * (descriptors, say) is the caller's, who takes them out before. Any thread.
 */
void ring_close(struct ring *ring);

/**
 * The next free record, to be filled in place; the same again until ring_push(). What it holds is
 * left from an earlier record. Producer.
 * Returns NULL when the ring is full.
 */
void *ring_slot(struct ring *ring);

/** Publishes the record that ring_slot() answered with. Producer. */
void ring_push(struct ring *ring);

/** Wakes the consumer if anything was pushed since the last call and it may be asleep. Producer. */
void ring_wake(struct ring *ring);

/** How many records can be pushed at least before ring_slot() answers NULL. Producer. */
uint32_t ring_free_slots(struct ring *ring);

/** The descriptor that is readable when the consumer is to look; the ring's own. Any thread. */
int ring_event(const struct ring *ring);

/** Makes ring_event() unreadable. To be called before ring_front(), never after. Consumer. */
void ring_answer(struct ring *ring);

/** How many records there are to take; says nothing of sleep. Consumer. */
uint32_t ring_waiting(struct ring *ring);

/**
 * The oldest record, the consumer's until ring_pop(). Consumer.
 * Returns NULL when there is none; ring_event() is then readable after the next ring_wake().
 */
const void *ring_front(struct ring *ring);

/** Gives the record back that ring_front() answered with. Consumer. */
void ring_pop(struct ring *ring);

#endif
