/* Peers to fill a table with, and the random order in which they are asked for. */
#ifndef UDP_ENCAP_TUN_BENCH_PEERS_H
#define UDP_ENCAP_TUN_BENCH_PEERS_H

#include "peers/peer.h"

/** Makes `count` peers, all different; number `first` is the first one. NULL: no memory. */
struct peer *peers_make(uint32_t first, uint32_t count);

/** How long an order over so many things is: some rounds of them, together more than any cache. */
size_t order_length(uint32_t count);

/**
 * Makes an order: round after round, each has the numbers below `count` once, shuffled anew.
 * The same `seed` gives the same order. NULL: no memory.
 */
uint32_t *order_make(uint32_t count, uint64_t seed);

#endif
