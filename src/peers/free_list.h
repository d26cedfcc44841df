/*
 * Places in an array that nobody uses. Lock-free, for any number of threads; allocates nothing.
 *
 * Theory of operation. Places that were never used are handed out in order, so that the memory
 * behind the others stays untouched; places that were given back form a stack linked by index
 * (Treiber 1986). The upper half of its head counts the changes, so that a compare-and-swap does
 * not succeed on a head that was taken and put back while the successor was being read; it would
 * take a thread that sleeps there for a multiple of 2^32 changes exactly.
 *
 * Memory ordering. Acquire on taking pairs with release on giving: the place's last user is done
 * with it. A place in use keeps its link, or uses that word for something else: whoever read it as
 * a link finds the head changed and throws it away.
 */
#ifndef UDP_ENCAP_TUN_FREE_LIST_H
#define UDP_ENCAP_TUN_FREE_LIST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define FREE_LIST_IS_EMPTY UINT32_MAX

struct free_list {
	/* written by whoever takes or gives: kept off the lines that lookups read */
	_Alignas(64) _Atomic uint64_t head; /* changes << 32 | index + 1 */
	_Atomic uint32_t touched;           /* places used at least once */
	uint32_t places;
	_Atomic uint32_t *first_link;
	size_t stride; /* from one link to the next, in units of their size */
};

/**
 * Prepares a list in which every place is free. Before other threads use it.
 * @first_link: an _Atomic uint32_t in the first place
 * @stride: bytes from one place to the next
 */
void free_list_init(struct free_list *list, _Atomic uint32_t *first_link, size_t stride,
		    uint32_t places);

/** Takes a place. Returns its index or FREE_LIST_IS_EMPTY. Any thread. */
uint32_t free_list_take(struct free_list *list);

/** Gives a place back that no thread can see any more. Any thread. */
void free_list_give(struct free_list *list, uint32_t index);

/** Places before this index were used at least once. Any thread. */
static inline uint32_t free_list_touched(const struct free_list *list)
{
	return atomic_load_explicit(&list->touched, memory_order_relaxed);
}

#endif
