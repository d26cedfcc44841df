/*
 * A keyed hash of a peer (SipHash-1-3): of 12 bytes where it is IPv4, of all 36 otherwise. The key
 * is random for each process: whoever can choose source addresses and ports must not be able to
 * choose the bucket that they land in.
 */
#ifndef UDP_ENCAP_TUN_PEER_HASH_H
#define UDP_ENCAP_TUN_PEER_HASH_H

#include "base/siphash.h"
#include "peers/peer.h"

/* What is hashed, the last word with its length in bytes on top. Returns how many words. */
static inline unsigned peer_hash_words(const struct peer *peer, uint64_t words[5])
{
	uint64_t ports = (uint64_t)peer->own_port << 16 | peer->remote.port;

	if (ip_address_is_ipv4(&peer->remote.address)) {
		/* the own address is of the same family, or none */
		words[0] = (uint64_t)ip_address_ipv4(&peer->own_address) << 32 |
			   ip_address_ipv4(&peer->remote.address);
		words[1] = (uint64_t)12 << 56 | ports;
		return 2;
	}
	memcpy(words, peer->remote.address.bytes, sizeof(peer->remote.address.bytes));
	memcpy(words + 2, peer->own_address.bytes, sizeof(peer->own_address.bytes));
	words[4] = (uint64_t)36 << 56 | ports;
	return 5;
}

static inline uint64_t peer_hash(const struct siphash_key *key, const struct peer *peer)
{
	struct siphash hash = siphash_begin(key);
	uint64_t message[5];
	unsigned words = peer_hash_words(peer, message);

	for (unsigned i = 0; i < words; i++)
		siphash_take(&hash, message[i], 1);
	return siphash_end(&hash, 3);
}

#endif
