/*
 * Destinations: where a peer is reached.
 *
 * Theory of operation. The peer of a destination is constant, so whoever holds one, under RCU,
 * holds it whole. The own address is where the peer last sent to: workers store it word by word,
 * and only where it differs, so that the cache line of a busy peer is not written for each message.
 */
#ifndef UDP_ENCAP_TUN_DESTINATION_H
#define UDP_ENCAP_TUN_DESTINATION_H

#include "peers/peer.h"

#include <stdatomic.h>

/** An own address that changes at run time; words may be seen apart, see destination_own_address().
 */
struct atomic_address {
	_Atomic uint32_t words[4];
};

/** Where an entry's peer is reached. */
struct destination {
	struct peer peer;          /* constant */
	struct atomic_address own; /* where the peer last sent to, all zero: not known */
};

/**
 * The own address that a peer last sent to. While it changes, a reader may see half of the old one
 * and half of the new: the kernel refuses such a source address, and the sender then leaves the
 * choice to the kernel. IPv4 addresses differ in one word alone. Worker, under RCU, or control
 * thread.
 */
static inline struct ip_address destination_own_address(const struct destination *destination)
{
	struct ip_address own;

	for (size_t i = 0; i < 4; i++) {
		uint32_t word = atomic_load_explicit(&destination->own.words[i],
						     memory_order_relaxed);

		memcpy(&own.bytes[4 * i], &word, sizeof(word));
	}
	return own;
}

/** Remembers the own address that a peer sent to. Worker, under RCU, or control thread. */
static inline void destination_set_own_address(struct destination *destination,
					       const struct ip_address *own)
{
	for (size_t i = 0; i < 4; i++) {
		_Atomic uint32_t *there = &destination->own.words[i];
		uint32_t word;

		memcpy(&word, &own->bytes[4 * i], sizeof(word));
		if (atomic_load_explicit(there, memory_order_relaxed) != word)
			atomic_store_explicit(there, word, memory_order_relaxed);
	}
}

#endif
