/*
 * Provisional entries: how many there are, how many there may be, and which are the oldest.
 *
 * Theory of operation. Whoever makes an entry counts it before it takes anything, and takes the
 * count back where it comes to nothing or finds the limit passed: so there are never more. Whoever
 * comes near the limit says so, and the control thread has some of the oldest make room before
 * newcomers have to be refused: see connection_store_evict(). So does who finds no entry, or no
 * address but in quarantine, while there are others. A limit of a few has no such reserve,
 * for a peer that idles in it would be evicted though nobody needs its place; there the first
 * newcomer too many is refused, and its next datagram comes in.
 *
 * The count is written by whoever makes, proves or removes an entry, and lies apart from what
 * lookups read.
 */
#ifndef UDP_ENCAP_TUN_PROVISIONAL_H
#define UDP_ENCAP_TUN_PROVISIONAL_H

#include "peers/index_queue.h"

enum {
	/* Of the limit, kept free, and evicted in one go: with 16,384 places the control thread has
	 * 20 ms to come when 100,000 newcomers a second do, and a newcomer that was sent something
	 * keeps its place for three quarters of what fills all places, at least; one that was not,
	 * for seven sixteenths: it may be in the older half of all but a reserve. */
	PROVISIONAL_RESERVE_PART = 8,
};

#define PROVISIONAL_UNLIMITED UINT32_MAX

struct provisional {
	struct index_queue queue;
	_Alignas(64) _Atomic uint32_t count;
	_Atomic uint32_t limit;
	_Atomic bool wants_room;
	_Atomic bool is_pressed; /* wants it although there are few */
};

/** Prepares it, without a limit. Arguments as for index_queue_init(). */
void provisional_init(struct provisional *provisional, _Atomic uint32_t *first_link, size_t stride);

/** Sets how many there may be. Control thread. */
void provisional_set_limit(struct provisional *provisional, uint32_t limit);

/** Counts an entry that is about to be made. Returns false when there is no room. Any thread. */
bool provisional_enter(struct provisional *provisional);

/** Counts one whether there is room or not. Control thread. */
static inline void provisional_enter_anyway(struct provisional *provisional)
{
	atomic_fetch_add_explicit(&provisional->count, 1, memory_order_relaxed);
}

/** Takes it back. Any thread. */
static inline void provisional_leave(struct provisional *provisional)
{
	atomic_fetch_sub_explicit(&provisional->count, 1, memory_order_relaxed);
}

/** Whether there are any beside the one at hand, which is counted; of limited ones. Any thread. */
bool provisional_are_others(const struct provisional *provisional);

/** Has others make room for one that found no place, though the limit is far. Any thread. */
void provisional_press(struct provisional *provisional);

/** Whether there are so many that most are hardly what somebody waits for. Any thread. */
bool provisional_is_crowded(const struct provisional *provisional);

/** How many should make room now; the wish for it counts as heard. Control thread. */
uint32_t provisional_excess(struct provisional *provisional);

#endif
