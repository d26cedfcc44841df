/*
 * A keyed hash of a peer (SipHash-1-3, Aumasson and Bernstein 2012): of 12 bytes where it is IPv4,
 * of all 36 otherwise. The key is random for each process: whoever can choose source addresses and
 * ports must not be able to choose the bucket that they land in.
 */
#ifndef UDP_ENCAP_TUN_PEER_HASH_H
#define UDP_ENCAP_TUN_PEER_HASH_H

#include "peers/peer.h"

struct peer_hash_key {
	uint64_t words[2];
};

static inline uint64_t rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate_left(v[1], 13) ^ v[0];
	v[0] = rotate_left(v[0], 32);
	v[2] += v[3];
	v[3] = rotate_left(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate_left(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate_left(v[1], 17) ^ v[2];
	v[2] = rotate_left(v[2], 32);
}

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

static inline uint64_t peer_hash(const struct peer_hash_key *key, const struct peer *peer)
{
	uint64_t v[4] = {
		key->words[0] ^ 0x736f6d6570736575u,
		key->words[1] ^ 0x646f72616e646f6du,
		key->words[0] ^ 0x6c7967656e657261u,
		key->words[1] ^ 0x7465646279746573u,
	};
	uint64_t message[5];
	unsigned words = peer_hash_words(peer, message);

	for (unsigned i = 0; i < words; i++) {
		v[3] ^= message[i];
		sip_round(v);
		v[0] ^= message[i];
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
