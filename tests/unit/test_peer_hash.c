/* The hash that peers are found by: everything that tells peers apart has a say in it. */
#include "peers/peer_hash.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static unsigned differing_bits(uint64_t a, uint64_t b)
{
	return (unsigned)__builtin_popcountll(a ^ b);
}

/* One bit of source, own address, ports or key changes about half of the hash's bits. */
static void assert_bit_counts(const struct siphash_key *key, const struct peer *peer,
			      size_t byte_of_peer, unsigned bit)
{
	struct peer other = *peer;

	((uint8_t *)&other)[byte_of_peer] ^= (uint8_t)(1 << bit);
	assert_in_range(differing_bits(peer_hash(key, &other), peer_hash(key, peer)), 8, 56);
}

static void every_bit_of_a_peer_counts(void **state)
{
	struct dice dice = dice_for(__func__);
	struct siphash_key key;
	struct peer peer;

	(void)state;
	_Static_assert(sizeof(struct peer) == 36, "no padding, whose bits would not count");
	for (int round = 0; round < 20; round++) {
		dice_fill(&dice, &key, sizeof(key));
		dice_fill(&dice, &peer, sizeof(peer));
		for (unsigned bit = 0; bit < 8 * sizeof(peer); bit++)
			assert_bit_counts(&key, &peer, bit / 8, bit % 8);
		/* of IPv4, and what makes it so */
		peer.remote.address = ipv4_address((uint32_t)dice_roll(&dice));
		peer.own_address = ipv4_address((uint32_t)dice_roll(&dice));
		for (unsigned bit = 0; bit < 8 * sizeof(peer); bit++) {
			size_t byte = bit / 8;

			if (byte < offsetof(struct peer, own_address) ||
			    byte >= offsetof(struct peer, own_address) + 12)
				assert_bit_counts(&key, &peer, byte, bit % 8);
		}
	}
}

static void every_bit_of_the_key_counts(void **state)
{
	struct dice dice = dice_for(__func__);
	struct peer peer = numbered_peer(1);
	struct siphash_key key;

	(void)state;
	dice_fill(&dice, &key, sizeof(key));
	for (unsigned bit = 0; bit < 128; bit++) {
		struct siphash_key other = key;

		other.words[bit / 64] ^= (uint64_t)1 << bit % 64;
		assert_in_range(differing_bits(peer_hash(&other, &peer), peer_hash(&key, &peer)), 8,
				56);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_of_a_peer_counts),
		cmocka_unit_test(every_bit_of_the_key_counts),
	};

	return report_seed(cmocka_run_group_tests_name("peer_hash", tests, NULL, NULL));
}
