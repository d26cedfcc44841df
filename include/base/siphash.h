/*
 * SipHash (Aumasson and Bernstein 2012), a keyed hash of short messages: who does not know the key
 * cannot tell what a message hashes to, however many others he knows of.
 *
 * SipHash-c-d has c rounds for each word and d at the end. siphash_2_4() is the one that its
 * authors recommend; where a hash only decides on a bucket, the parts make one with fewer rounds.
 */
#ifndef UDP_ENCAP_TUN_SIPHASH_H
#define UDP_ENCAP_TUN_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t words[2];
};

struct siphash {
	uint64_t v[4];
};

static inline uint64_t siphash_rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static inline void siphash_rounds(struct siphash *hash, unsigned rounds)
{
	uint64_t *v = hash->v;

	for (unsigned i = 0; i < rounds; i++) {
		v[0] += v[1];
		v[1] = siphash_rotate_left(v[1], 13) ^ v[0];
		v[0] = siphash_rotate_left(v[0], 32);
		v[2] += v[3];
		v[3] = siphash_rotate_left(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = siphash_rotate_left(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = siphash_rotate_left(v[1], 17) ^ v[2];
		v[2] = siphash_rotate_left(v[2], 32);
	}
}

static inline struct siphash siphash_begin(const struct siphash_key *key)
{
	return (struct siphash){{
		key->words[0] ^ 0x736f6d6570736575u,
		key->words[1] ^ 0x646f72616e646f6du,
		key->words[0] ^ 0x6c7967656e657261u,
		key->words[1] ^ 0x7465646279746573u,
	}};
}

/** @word: of the message; the last one has the message's length in bytes on top */
static inline void siphash_take(struct siphash *hash, uint64_t word, unsigned rounds)
{
	hash->v[3] ^= word;
	siphash_rounds(hash, rounds);
	hash->v[0] ^= word;
}

static inline uint64_t siphash_end(struct siphash *hash, unsigned rounds)
{
	hash->v[2] ^= 0xff;
	siphash_rounds(hash, rounds);
	return hash->v[0] ^ hash->v[1] ^ hash->v[2] ^ hash->v[3];
}

/** A key from its 16 bytes, the same on every machine. */
struct siphash_key siphash_key_of(const uint8_t bytes[16]);

/** SipHash-2-4 of a message, the same on every machine. Any thread. */
uint64_t siphash_2_4(const struct siphash_key *key, const void *message, size_t length);

#endif
