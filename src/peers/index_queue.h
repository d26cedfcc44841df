/*
 * A queue of places in an array, oldest first: any thread puts in, the control thread takes out.
 * Lock-free; allocates nothing.
 *
 * Theory of operation. Workers push onto a stack of indices, linked through a word of each place.
 * The control thread takes the whole stack at once and hangs what it took behind a list of its own,
 * oldest first; once in there, only it writes the links. A place is listed once at most until the
 * control thread has taken it out.
 *
 * Memory ordering. Acquire on taking the stack pairs with release on pushing: whoever takes a place
 * out sees what was written into it before. Links are atomic only because another structure may
 * look at the same word by mistake; see free_list.h.
 */
#ifndef UDP_ENCAP_TUN_INDEX_QUEUE_H
#define UDP_ENCAP_TUN_INDEX_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_queue {
	_Atomic uint32_t *first_link;
	size_t stride;   /* from one link to the next, in units of their size */
	uint32_t oldest; /* index + 1; control thread, as the next one */
	uint32_t youngest;
	_Alignas(64) _Atomic uint32_t pushed; /* index + 1 of the youngest */
};

/**
 * Prepares an empty queue. Before other threads use it.
 * @first_link: the link of the first place
 * @stride: bytes from one place to the next
 */
void index_queue_init(struct index_queue *queue, _Atomic uint32_t *first_link, size_t stride);

/** Puts a place in. Any thread. */
void index_queue_push(struct index_queue *queue, uint32_t index);

/** Lets what was pushed until now be found by the next two functions. Control thread. */
void index_queue_take_over(struct index_queue *queue);

/** Takes the oldest place out. Returns its index + 1, or 0 when there is none. Control thread. */
uint32_t index_queue_next(struct index_queue *queue);

/**
 * Looks at the places from the oldest on, also those just pushed, and takes out what `leaves` says.
 * After a grace period it sees every place that was filled before: whoever did has pushed it then.
 * Control thread.
 */
void index_queue_filter(struct index_queue *queue, bool (*leaves)(uint32_t index, void *argument),
			void *argument);

#endif
