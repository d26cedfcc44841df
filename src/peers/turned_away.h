/*
 * Newcomers that were turned away because more came than can be taken in: who comes again as TCP
 * does, after a second and after three, is told from those that come once, and let in.
 *
 * Theory of operation. A table of words in lines of the processor's cache; where a newcomer's word
 * stands follows from its hash, and it holds another part of the hash and when the newcomer was
 * turned away. In a full line the oldest word makes room: at 100,000 newcomers a second, all turned
 * away, one that was is remembered for 2.6 s on average. Workers write without agreement: a word
 * that is lost costs one newcomer another try.
 *
 * It holds no more than that somebody came: it gives nobody a place and needs no upkeep.
 */
#ifndef UDP_ENCAP_TUN_TURNED_AWAY_H
#define UDP_ENCAP_TUN_TURNED_AWAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct turned_away {
	_Atomic uint32_t *words; /* NULL: there is no table */
};

/** Prepares it, empty. Returns false when there is no memory. */
bool turned_away_open(struct turned_away *table);

/** Frees it; one that is all zero, too. */
void turned_away_close(struct turned_away *table);

/**
 * Whether a newcomer was turned away before, half a second to eight seconds ago; if not, it is
 * turned away now. Any thread; no system call.
 * @hash: of the peer, that nobody outside can compute
 * @milliseconds: monotonic
 */
bool turned_away_comes_again(struct turned_away *table, uint64_t hash, uint64_t milliseconds);

#endif
