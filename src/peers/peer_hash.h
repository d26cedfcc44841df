/*
 * A keyed hash of a peer (SipHash-1-3 over three words, Aumasson and Bernstein 2012). The key is
 * random for each process: whoever can choose source addresses and ports must not be able to choose
 * the bucket that they land in.
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

static inline uint64_t peer_hash(const struct peer_hash_key *key, const struct peer *peer)
{
	uint64_t v[4] = {
		key->words[0] ^ 0x736f6d6570736575u,
		key->words[1] ^ 0x646f72616e646f6du,
		key->words[0] ^ 0x6c7967656e657261u,
		key->words[1] ^ 0x7465646279746573u,
	};
	uint64_t message[3];

	memcpy(message, peer->remote.address.bytes, sizeof(peer->remote.address.bytes));
	message[2] = (uint64_t)peer->own_port << 16 | peer->remote.port;
	for (int i = 0; i < 3; i++) {
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
