/*
 * The pool of tunnel addresses: which addresses it has, that a peer gets the same one again, the
 * quarantine, pools that are nearly or quite full, and claims by several threads at a time.
 */
#include "peers/address_pool.h"

#include "random_traffic.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	QUARANTINE = 1200,
	NETWORK = 0x0a000000, /* 10.0.0.0 */
	UNLIMITED = 65536,
};

static struct pool_range range_of(uint32_t network, unsigned bits, uint32_t max_slots)
{
	return (struct pool_range){
		.prefix = {.address = ipv4_address(network), .length = (uint8_t)(96 + bits)},
		.max_slots = max_slots,
	};
}

static struct address_pool *make_pool(const struct pool_range *range)
{
	struct address_pool *pool = address_pool_create(range, QUARANTINE);

	assert_non_null(pool);
	return pool;
}

static struct address_pool *pool_of(unsigned bits, uint32_t max_slots)
{
	struct pool_range range = range_of(NETWORK, bits, max_slots);

	return make_pool(&range);
}

/* A fingerprint that only one of the numbered peers has. */
static uint32_t fingerprint_of(uint32_t number)
{
	return 0x9e3779b9u * (number + 1);
}

/* Claims an address for a peer and shows its holder: what the store does. */
static enum pool_claim claim(struct address_pool *pool, uint32_t number, uint32_t now,
			     uint32_t *offset)
{
	struct peer peer = numbered_peer(number);
	enum pool_claim result = address_pool_claim(pool, &peer, fingerprint_of(number), now, true,
						    offset);

	if (result != POOL_IS_FULL) {
		assert_true(address_pool_holder(pool, *offset) == POOL_SLOT_CLAIMED);
		address_pool_publish(pool, *offset, number + 1);
	}
	return result;
}

static void release(struct address_pool *pool, uint32_t number, uint32_t offset, uint32_t now)
{
	assert_int_equal(address_pool_holder(pool, offset), number + 1);
	address_pool_release(pool, offset, fingerprint_of(number), now);
}

/* Where a peer's search begins: what it gets of an empty pool. */
static uint32_t home_in(const struct address_pool *like, uint32_t number)
{
	struct pool_range range = {.prefix = like->prefix, .max_slots = like->size};
	struct address_pool *empty = make_pool(&range);
	uint32_t offset;

	assert_int_equal(claim(empty, number, 1, &offset), POOL_CLAIMED);
	address_pool_destroy(empty);
	return offset;
}

/* The first peer from `number` on whose search begins at an offset. */
static uint32_t peer_at_home(const struct address_pool *like, uint32_t home, uint32_t number)
{
	while (home_in(like, number) != home)
		number++;
	return number;
}

/* Takes every address that is free, whatever its quarantine. */
static void hold_all(struct address_pool *pool, uint32_t holder)
{
	for (uint32_t offset = 0; offset < pool->size; offset++) {
		if (address_pool_claim_offset(pool, offset))
			address_pool_publish(pool, offset, holder);
	}
}

/* Which addresses there are */

static struct ip_address own[128];

static void leave_out(struct pool_range *range, uint32_t address)
{
	own[range->excluded_count++] = ipv4_address(address);
	range->excluded = own;
}

/* Every address that should be given out is, once, and no other. */
static void assert_addresses(const struct pool_range *range, uint32_t first, uint32_t last,
			     uint32_t capacity)
{
	struct address_pool *pool = make_pool(range);
	uint8_t *seen = calloc((size_t)last - first + 1, 1);
	uint32_t claimed = 0;
	uint32_t offset;

	assert_non_null(seen);
	assert_int_equal(address_pool_capacity(pool), capacity);
	for (uint32_t number = 0; claimed < capacity; number++) {
		struct ip_address address;

		if (claim(pool, number, 1, &offset) == POOL_IS_FULL) {
			/* a large pool that is nearly full */
			address_pool_refill_spares(pool, 1);
			continue;
		}
		address = address_pool_address(pool, offset);
		assert_in_range(host_order(&address), first, last);
		assert_int_equal(seen[host_order(&address) - first]++, 0);
		for (size_t i = 0; i < range->excluded_count; i++)
			assert_memory_not_equal(&address, &range->excluded[i], 16);
		claimed++;
		assert_in_range(number, 0, 100 * (uint64_t)capacity);
	}
	address_pool_refill_spares(pool, 1);
	assert_int_equal(claim(pool, 1000000, 1, &offset), POOL_IS_FULL);
	free(seen);
	address_pool_destroy(pool);
}

static void network_and_broadcast_are_left_out(void **state)
{
	struct pool_range range;

	(void)state;
	for (unsigned bits = 22; bits <= 30; bits++) {
		uint32_t size = 1u << (32 - bits);

		range = range_of(NETWORK, bits, UNLIMITED);
		assert_addresses(&range, NETWORK + 1, NETWORK + size - 2, size - 2);
	}
}

static void small_prefixes_use_all_addresses(void **state)
{
	struct pool_range range = range_of(NETWORK + 6, 31, UNLIMITED);

	(void)state;
	assert_addresses(&range, NETWORK + 6, NETWORK + 7, 2);
	leave_out(&range, NETWORK + 7);
	assert_addresses(&range, NETWORK + 6, NETWORK + 6, 1);
	range = range_of(NETWORK + 7, 32, UNLIMITED);
	assert_addresses(&range, NETWORK + 7, NETWORK + 7, 1);
	leave_out(&range, NETWORK + 7);
	assert_addresses(&range, NETWORK + 7, NETWORK + 7, 0);
	range = range_of(NETWORK + 4, 30, UNLIMITED);
	leave_out(&range, NETWORK + 5);
	assert_addresses(&range, NETWORK + 6, NETWORK + 6, 1);
}

static void own_addresses_are_left_out(void **state)
{
	struct pool_range range = range_of(NETWORK, 24, UNLIMITED);

	(void)state;
	leave_out(&range, NETWORK + 1);
	assert_addresses(&range, NETWORK + 2, NETWORK + 254, 253);
	leave_out(&range, NETWORK + 77);
	leave_out(&range, NETWORK + 254);
	assert_addresses(&range, NETWORK + 2, NETWORK + 253, 251);
	/* one that is elsewhere, one that is twice there, and IPv6 with the same end */
	leave_out(&range, NETWORK + 256);
	leave_out(&range, NETWORK - 1);
	leave_out(&range, NETWORK + 77);
	leave_out(&range, NETWORK + 99);
	own[range.excluded_count - 1].bytes[0] = 0x20;
	assert_addresses(&range, NETWORK + 2, NETWORK + 253, 251);
	for (uint32_t host = 100; host < 200; host++)
		leave_out(&range, NETWORK + host);
	assert_addresses(&range, NETWORK + 2, NETWORK + 253, 251 - 100);
}

/* The interface's address with its prefix length is a prefix whose host part is not zero. */
static void the_host_part_of_the_prefix_does_not_matter(void **state)
{
	struct pool_range range = range_of(NETWORK + 200, 25, UNLIMITED);

	(void)state;
	assert_addresses(&range, NETWORK + 129, NETWORK + 254, 126);
}

static void huge_prefixes_are_capped(void **state)
{
	struct pool_range range;

	(void)state;
	for (unsigned bits = 0; bits <= 22; bits++) {
		uint32_t network = bits == 0 ? 0 : NETWORK & ~(uint32_t)(UINT32_MAX >> bits);

		range = range_of(NETWORK + 77, bits, 1000);
		/* the last of those used is no broadcast address */
		assert_addresses(&range, network + 1, network + 999, 999);
	}
	range = range_of(NETWORK, 24, 256);
	assert_addresses(&range, NETWORK + 1, NETWORK + 254, 254);
	range = range_of(NETWORK, 24, 255);
	assert_addresses(&range, NETWORK + 1, NETWORK + 254, 254);
	range = range_of(NETWORK, 24, 100);
	assert_addresses(&range, NETWORK + 1, NETWORK + 99, 99);
	range = range_of(NETWORK, 24, 1);
	assert_addresses(&range, NETWORK, NETWORK, 0);
}

static void offsets_and_addresses(void **state)
{
	struct pool_range range = range_of(NETWORK, 20, 3000);
	struct address_pool *pool = make_pool(&range);

	(void)state;
	for (uint32_t offset = 0; offset < 3000; offset++) {
		struct ip_address expected = ipv4_address(NETWORK + offset);
		struct ip_address address = address_pool_address(pool, offset);

		assert_memory_equal(&address, &expected, 16);
		assert_int_equal(address_pool_offset(pool, &expected), offset);
	}
	for (uint32_t outside = 3000; outside < 10000; outside++) {
		struct ip_address address = ipv4_address(NETWORK + outside);

		assert_true(address_pool_offset(pool, &address) == POOL_NONE);
		address = ipv4_address(NETWORK - 1 - outside);
		assert_true(address_pool_offset(pool, &address) == POOL_NONE);
	}
	for (size_t bit = 0; bit < 108; bit++) {
		struct ip_address address = ipv4_address(NETWORK + 5);

		address.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		assert_true(address_pool_offset(pool, &address) == POOL_NONE);
	}
	address_pool_destroy(pool);
}

/* Which address a peer gets */

/*
 * These must never change, in no release: a peer has the same address again after the server was
 * restarted or upgraded. They were worked out apart from this program (tests/reference):
 * SipHash-2-4 of the peer's 16 address bytes, those of the own address and the peer's port, its
 * upper half scaled to the pool's size.
 */
static const uint8_t pinned_key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void addresses_that_must_never_change(void **state)
{
	static const struct {
		uint32_t network;
		unsigned bits;
		uint32_t max_slots;
		uint32_t peer;
		uint16_t port;
		uint32_t own;
		uint32_t expected;
	} pins[] = {
		{0x0a000000, 24, 65536, 0xcb007107, 12345, 0xc6336401, 0x0a0000e5}, /* 10.0.0.229 */
		{0x0a000000, 24, 65536, 0xcb007107, 12346, 0xc6336401, 0x0a00005c}, /* 10.0.0.92 */
		{0x0a000000, 24, 65536, 0xc6336401, 40000, 0xc6336401, 0x0a0000dd}, /* 10.0.0.221 */
		{0x0a000000, 24, 65536, 0xc0000201, 1, 0xc6336401, 0x0a00002c},     /* 10.0.0.44 */
		{0x0a000000, 24, 65536, 0xffffffff, 65535, 0xc6336401, 0x0a00001d}, /* 10.0.0.29 */
		{0x0a000000, 24, 65536, 0x00000001, 0, 0xc6336401, 0x0a0000aa},     /* 10.0.0.170 */
		{0x0a000000, 8, 65536, 0xcb007107, 12345, 0xc6336401, 0x0a00e529}, /* 10.0.229.41 */
		{0x0a000000, 8, 65536, 0xcb007107, 12346, 0xc6336401, 0x0a005cb3}, /* 10.0.92.179 */
		{0x0a000000, 8, 65536, 0xc6336401, 40000, 0xc6336401,
		 0x0a00dd85}, /* 10.0.221.133 */
		{0x0a000000, 8, 65536, 0xffffffff, 65535, 0xc6336401, 0x0a001d3e}, /* 10.0.29.62 */
		{0x64400000, 10, 4194304, 0xcb007107, 12345, 0xc6336401,
		 0x64794a59}, /* 100.121.74.89 */
		{0x64400000, 10, 4194304, 0xc0000201, 1, 0xc6336401,
		 0x644b3284}, /* 100.75.50.132 */
		/* the broadcast address is left out, so the first one */
		{0xc0a80700, 30, 65536, 0xcb007107, 12345, 0xc6336401,
		 0xc0a80701}, /* 192.168.7.1 */
		/* the network address is left out, so the first one */
		{0xc0a80700, 30, 65536, 0xcb007107, 12350, 0xc6336401,
		 0xc0a80701}, /* 192.168.7.1 */
		{0x0a000000, 24, 65536, 0xcb007107, 12345, 0xc6336402, 0x0a00005d}, /* 10.0.0.93 */
		{0x0a000000, 24, 65536, 0xcb007107, 12346, 0xc6336402, 0x0a0000fc}, /* 10.0.0.252 */
		{0x0a000000, 8, 65536, 0xcb007107, 12345, 0xc6336402, 0x0a005de0}, /* 10.0.93.224 */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
		struct pool_range range = range_of(pins[i].network, pins[i].bits,
						   pins[i].max_slots);
		struct peer peer = peer_of(pins[i].peer, pins[i].port);
		struct address_pool *pool;
		struct ip_address address;
		uint32_t offset;

		range.key = siphash_key_of(pinned_key);
		pool = make_pool(&range);
		peer.own_address = ipv4_address(pins[i].own);
		assert_int_equal(address_pool_claim(pool, &peer, (uint32_t)i, 1, true, &offset),
				 POOL_CLAIMED);
		address = address_pool_address(pool, offset);
		assert_int_equal(host_order(&address), pins[i].expected);
		address_pool_destroy(pool);
	}
}

static void the_address_of_an_ipv6_peer_that_must_never_change(void **state)
{
	struct peer peer = {.remote.address = {{0x20, 0x01, 0x0d, 0xb8, [15] = 1}},
			    .remote.port = peer_of(0, 12345).remote.port,
			    .own_address = {{0x20, 0x01, 0x0d, 0xb8, [15] = 2}}};
	struct pool_range range = range_of(NETWORK, 8, 65536);
	struct address_pool *pool;
	uint32_t offset;

	(void)state;
	range.key = siphash_key_of(pinned_key);
	pool = make_pool(&range);
	assert_int_equal(address_pool_claim(pool, &peer, 7, 1, true, &offset), POOL_CLAIMED);
	assert_int_equal(offset, 221 * 256 + 61); /* 10.0.221.61 */
	address_pool_destroy(pool);
}

/* Neither the hash that peers are found by nor the time has a say in it: a restart changes nothing.
 */
static void the_same_peer_gets_the_same_address_after_a_restart(void **state)
{
	struct address_pool *before = pool_of(16, UNLIMITED);
	struct address_pool *after = pool_of(16, UNLIMITED);

	(void)state;
	for (uint32_t number = 0; number < 5000; number++) {
		struct peer peer = numbered_peer(number);
		uint32_t first, second;

		assert_int_equal(address_pool_claim(before, &peer, number, 1, true, &first),
				 POOL_CLAIMED);
		assert_int_equal(
			address_pool_claim(after, &peer, ~number, 100000 + number, true, &second),
			POOL_CLAIMED);
		assert_int_equal(first, second);
		/* in any order: each finds all others gone */
		address_pool_unclaim(before, first);
		address_pool_unclaim(after, second);
	}
	address_pool_destroy(before);
	address_pool_destroy(after);
}

/* The ports behind one NAT spread over the pool as numbers drawn at random would: 63 % are hit. */
static void homes_are_spread(void **state)
{
	struct address_pool *pool = pool_of(16, UNLIMITED);
	uint8_t *hit = calloc(65536, 1);
	uint32_t distinct = 0;

	(void)state;
	assert_non_null(hit);
	for (uint32_t port = 0; port < 65536; port++) {
		struct peer peer = peer_of(0xcb007107, (uint16_t)port);
		uint32_t offset;

		assert_int_equal(address_pool_claim(pool, &peer, port, 1, true, &offset),
				 POOL_CLAIMED);
		distinct += hit[offset]++ == 0;
		address_pool_unclaim(pool, offset);
	}
	assert_in_range(distinct, 65536 * 62 / 100, 65536 * 65 / 100);
	free(hit);
	address_pool_destroy(pool);
}

static uint32_t home_of(struct address_pool *pool, const struct peer *peer)
{
	uint32_t offset;

	assert_int_equal(address_pool_claim(pool, peer, 1, 1, true, &offset), POOL_CLAIMED);
	address_pool_unclaim(pool, offset);
	return offset;
}

/* Source and own address together: one bit of either is another home, so to say always. */
static void home_depends_on_source_and_own_address(void **state)
{
	struct address_pool *pool = pool_of(16, UNLIMITED);
	struct peer peer = peer_of(0xcb007107, 12345);
	uint32_t home, same = 0;

	(void)state;
	peer.own_address = ipv4_address(0xc6336401);
	home = home_of(pool, &peer);
	for (size_t bit = 0; bit < 128; bit++) {
		struct peer other = peer;

		other.own_address.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		same += home_of(pool, &other) == home;
		other = peer;
		other.remote.address.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		same += home_of(pool, &other) == home;
		assert_int_equal(home_of(pool, &peer), home);
	}
	/* not the two in any order */
	peer.remote.address = peer.own_address;
	peer.own_address = peer_of(0xcb007107, 0).remote.address;
	same += home_of(pool, &peer) == home;
	assert_in_range(same, 0, 1);
	address_pool_destroy(pool);
}

/* One bit of the key is another home, so to say always: without it nobody can work homes out. */
static void home_depends_on_every_bit_of_the_key(void **state)
{
	struct dice dice = dice_for(__func__);
	struct address_pool *pool = pool_of(16, UNLIMITED);
	struct peer peer = numbered_peer(1);
	uint32_t home, same = 0;

	(void)state;
	dice_fill(&dice, &pool->key, sizeof(pool->key));
	home = home_of(pool, &peer);
	for (unsigned bit = 0; bit < 128; bit++) {
		pool->key.words[bit / 64] ^= (uint64_t)1 << bit % 64;
		same += home_of(pool, &peer) == home;
		pool->key.words[bit / 64] ^= (uint64_t)1 << bit % 64;
		assert_int_equal(home_of(pool, &peer), home);
	}
	assert_in_range(same, 0, 1);
	address_pool_destroy(pool);
}

enum { CROWD = 1000 };

static void shuffle(struct dice *dice, uint32_t *numbers, uint32_t count)
{
	for (uint32_t i = count; i > 1; i--) {
		uint32_t other = dice_below(dice, i);
		uint32_t kept = numbers[i - 1];

		numbers[i - 1] = numbers[other];
		numbers[other] = kept;
	}
}

/* Gives a crowd addresses of a fresh pool, in this order. */
static void come_in_order(const struct pool_range *range, const uint32_t *order, uint32_t *given)
{
	struct address_pool *pool = make_pool(range);

	for (uint32_t i = 0; i < CROWD; i++)
		assert_int_equal(claim(pool, order[i], 1, &given[order[i]]), POOL_CLAIMED);
	address_pool_destroy(pool);
}

/*
 * Two that have the same home get each other's address when they come in another order, and no hash
 * can help it: of 1,000 peers in a /16 that are 0.76 % in the mean of all keys.
 */
static void a_crowd_returns_in_another_order(void **state)
{
	enum { ROUNDS = 200 };
	struct dice dice = dice_for(__func__);
	struct pool_range range = range_of(NETWORK, 16, UNLIMITED);
	uint32_t order[CROWD], before[CROWD], after[CROWD];
	uint32_t same = 0;

	(void)state;
	for (uint32_t i = 0; i < CROWD; i++)
		order[i] = i;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		dice_fill(&dice, &range.key, sizeof(range.key));
		come_in_order(&range, order, before);
		shuffle(&dice, order, CROWD);
		come_in_order(&range, order, after);
		for (uint32_t i = 0; i < CROWD; i++)
			same += before[i] == after[i];
	}
	assert_in_range(same, ROUNDS * CROWD / 1000 * 990, ROUNDS * CROWD);
}

static void a_taken_home_means_the_next_free_address(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	uint32_t home, number = 0, offset;

	(void)state;
	assert_int_equal(claim(pool, number, 1, &home), POOL_CLAIMED);
	for (uint32_t i = 1; i <= 5; i++) {
		number = peer_at_home(pool, home, number + 1);
		assert_int_equal(claim(pool, number, 1, &offset), POOL_CLAIMED);
		assert_int_equal(offset, home + i);
	}
	address_pool_destroy(pool);
}

static void the_search_goes_on_at_the_beginning(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	uint32_t number = peer_at_home(pool, 250, 0);
	uint32_t offset;

	(void)state;
	for (offset = 250; offset < 255; offset++)
		assert_true(address_pool_claim_offset(pool, offset));
	assert_int_equal(claim(pool, number, 1, &offset), POOL_CLAIMED);
	assert_int_equal(offset, 1);
	address_pool_destroy(pool);
}

static void the_search_leaves_out_no_address(void **state)
{
	(void)state;
	/* the last address of a pool is used when it is no broadcast address */
	for (uint32_t home = 0; home < 2; home++) {
		struct address_pool *pool = pool_of(31, UNLIMITED);
		uint32_t first = peer_at_home(pool, home, 0);
		uint32_t second = peer_at_home(pool, home, first + 1);
		uint32_t offset;

		assert_int_equal(claim(pool, first, 1, &offset), POOL_CLAIMED);
		assert_int_equal(offset, home);
		assert_int_equal(claim(pool, second, 1, &offset), POOL_CLAIMED);
		assert_int_equal(offset, 1 - home);
		address_pool_destroy(pool);
	}
	for (uint32_t home = 1; home < 50; home++) {
		struct address_pool *pool = pool_of(24, 50);
		uint32_t number = peer_at_home(pool, home, 0);
		uint32_t left = home > 1 ? home - 1 : 49;
		uint32_t offset;

		hold_all(pool, 999);
		address_pool_unclaim(pool, left);
		assert_int_equal(claim(pool, number, 1, &offset), POOL_CLAIMED);
		assert_int_equal(offset, left);
		address_pool_destroy(pool);
	}
}

/* Holders */

static void holders_are_seen_when_they_are_published(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);

	(void)state;
	assert_int_equal(address_pool_holder(pool, 5), POOL_SLOT_FREE);
	assert_true(address_pool_claim_offset(pool, 5));
	assert_true(address_pool_holder(pool, 5) == POOL_SLOT_CLAIMED);
	assert_false(address_pool_claim_offset(pool, 5));
	address_pool_publish(pool, 5, 1234);
	assert_int_equal(address_pool_holder(pool, 5), 1234);
	assert_false(address_pool_claim_offset(pool, 5));
	address_pool_release(pool, 5, 1, 1);
	assert_int_equal(address_pool_holder(pool, 5), POOL_SLOT_FREE);
	assert_true(address_pool_claim_offset(pool, 5));
	address_pool_unclaim(pool, 5);
	assert_int_equal(address_pool_holder(pool, 5), POOL_SLOT_FREE);
	/* network and broadcast address: never */
	assert_false(address_pool_claim_offset(pool, 0));
	assert_false(address_pool_claim_offset(pool, 255));
	assert_true(address_pool_holder(pool, 0) == POOL_SLOT_NEVER);
	address_pool_destroy(pool);
}

/* Quarantine */

static void what_was_never_used_has_no_quarantine(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	uint32_t other = peer_at_home(pool, home_in(pool, 0), 1);
	uint32_t offset, again;

	(void)state;
	assert_int_equal(claim(pool, 0, 1000, &offset), POOL_CLAIMED);
	address_pool_unclaim(pool, offset);
	assert_int_equal(claim(pool, other, 1000, &again), POOL_CLAIMED);
	assert_int_equal(again, offset);
	address_pool_destroy(pool);
}

static void a_freed_address_is_kept_from_others(void **state)
{
	static const struct {
		uint32_t later;
		bool is_kept;
	} cases[] = {
		{0, true}, {1, true}, {QUARANTINE - 1, true}, {QUARANTINE, false}, {100000, false},
	};
	struct address_pool *like = pool_of(24, UNLIMITED);
	uint32_t home = home_in(like, 0);
	uint32_t other = peer_at_home(like, home, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address_pool *pool = pool_of(24, UNLIMITED);
		uint32_t offset;

		assert_int_equal(claim(pool, 0, 1, &offset), POOL_CLAIMED);
		release(pool, 0, offset, 5000);
		assert_int_equal(claim(pool, other, 5000 + cases[i].later, &offset), POOL_CLAIMED);
		assert_int_equal(offset, cases[i].is_kept ? home + 1 : home);
		address_pool_destroy(pool);
	}
	address_pool_destroy(like);
}

/* Another thread may have read the clock a moment later. */
static void a_quarantine_that_begins_in_the_future_is_one(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	uint32_t home = home_in(pool, 0);
	uint32_t other = peer_at_home(pool, home, 1);
	uint32_t offset;

	(void)state;
	assert_int_equal(claim(pool, 0, 1, &offset), POOL_CLAIMED);
	release(pool, 0, offset, 5001);
	assert_int_equal(claim(pool, other, 5000, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 1);
	address_pool_destroy(pool);
}

static void no_quarantine_if_none_is_wanted(void **state)
{
	struct pool_range range = range_of(NETWORK, 24, UNLIMITED);
	struct address_pool *pool = address_pool_create(&range, 0);
	uint32_t home = home_in(pool, 0);
	uint32_t other = peer_at_home(pool, home, 1);
	uint32_t offset;

	(void)state;
	assert_int_equal(claim(pool, 0, 1, &offset), POOL_CLAIMED);
	release(pool, 0, offset, 5000);
	assert_int_equal(claim(pool, other, 5000, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home);
	address_pool_destroy(pool);
}

static void a_peer_gets_its_own_address_in_quarantine(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	uint32_t home = home_in(pool, 0);
	uint32_t other = peer_at_home(pool, home, 1);
	uint32_t offset;

	(void)state;
	/* at home */
	assert_int_equal(claim(pool, 0, 1, &offset), POOL_CLAIMED);
	release(pool, 0, offset, 5000);
	assert_int_equal(claim(pool, 0, 5001, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home);
	/* elsewhere: the home is taken, then in quarantine for somebody else */
	assert_int_equal(claim(pool, other, 5001, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 1);
	release(pool, other, offset, 5002);
	assert_int_equal(claim(pool, other, 5003, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 1);
	release(pool, other, offset, 5004);
	release(pool, 0, home, 5004);
	assert_int_equal(claim(pool, other, 5005, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 1);
	address_pool_destroy(pool);
}

/* The own address is preferred to one that is free and nearer to home. */
static void the_own_address_comes_before_a_free_one(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	uint32_t home = home_in(pool, 0);
	uint32_t offset;

	(void)state;
	assert_true(address_pool_claim_offset(pool, home));
	assert_true(address_pool_claim_offset(pool, home + 1));
	assert_int_equal(claim(pool, 0, 1, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 2);
	release(pool, 0, offset, 5000);
	address_pool_unclaim(pool, home + 1);
	assert_int_equal(claim(pool, 0, 5001, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 2);
	address_pool_destroy(pool);
}

/* Also after the quarantine, and though the home that it once found taken is free by then. */
static void a_peer_keeps_its_address_though_its_home_is_free(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	uint32_t home = home_in(pool, 0);
	uint32_t other = peer_at_home(pool, home, 1);
	uint32_t offset;

	(void)state;
	assert_int_equal(claim(pool, other, 1, &offset), POOL_CLAIMED);
	assert_int_equal(claim(pool, 0, 1, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 1);
	release(pool, 0, home + 1, 5000);
	release(pool, other, home, 5000);
	assert_int_equal(claim(pool, 0, 5000 + 2 * QUARANTINE, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 1);
	assert_int_equal(claim(pool, other, 5000 + 2 * QUARANTINE, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home);
	address_pool_destroy(pool);
}

/* A peer that had two addresses, one after the other, gets the one nearer to home. */
static void the_own_address_nearest_to_home(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	uint32_t home = home_in(pool, 0);
	uint32_t offset;

	(void)state;
	assert_true(address_pool_claim_offset(pool, home));
	assert_int_equal(claim(pool, 0, 1, &offset), POOL_CLAIMED);
	release(pool, 0, offset, 5000);
	address_pool_unclaim(pool, home);
	assert_true(address_pool_claim_offset(pool, home));
	address_pool_publish(pool, home, 1);
	release(pool, 0, home, 5001);
	assert_int_equal(claim(pool, 0, 5002, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home);
	address_pool_destroy(pool);
}

/* A small pool whose addresses are all in quarantine: in the order in which they were freed. */
static void oldest_first_when_nothing_else_is_free(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (unsigned bits = 26; bits <= 29; bits++) {
		struct address_pool *pool = pool_of(bits, UNLIMITED);
		uint32_t capacity = (1u << (32 - bits)) - 2;
		uint32_t order[62];
		uint32_t offset;

		for (uint32_t i = 0; i < capacity; i++)
			order[i] = i + 1;
		for (uint32_t i = capacity - 1; i > 0; i--) {
			uint32_t k = dice_below(&dice, i + 1);
			uint32_t swapped = order[i];

			order[i] = order[k];
			order[k] = swapped;
		}
		hold_all(pool, 999);
		for (uint32_t i = 0; i < capacity; i++)
			address_pool_release(pool, order[i], 0xdead, 5000 + i);
		for (uint32_t i = 0; i < capacity; i++) {
			assert_int_equal(claim(pool, i, 5100, &offset), POOL_CLAIMED_IN_QUARANTINE);
			assert_int_equal(offset, order[i]);
		}
		assert_int_equal(claim(pool, 1000, 5100, &offset), POOL_IS_FULL);
		address_pool_destroy(pool);
	}
}

static void what_is_free_comes_before_what_is_in_quarantine(void **state)
{
	struct address_pool *pool = pool_of(28, UNLIMITED);
	uint32_t offset;

	(void)state;
	hold_all(pool, 999);
	for (uint32_t i = 1; i <= 14; i++) {
		/* 9 is over its quarantine, all others are in theirs for longer or shorter */
		address_pool_release(pool, i, 0xdead, i == 9 ? 1 : 3000 + i);
	}
	assert_int_equal(claim(pool, 0, 3100, &offset), POOL_CLAIMED);
	assert_int_equal(offset, 9);
	assert_int_equal(claim(pool, 1, 3100, &offset), POOL_CLAIMED_IN_QUARANTINE);
	assert_int_equal(offset, 1);
	address_pool_destroy(pool);
}

static void a_full_pool_refuses_and_recovers(void **state)
{
	struct address_pool *pool = pool_of(28, UNLIMITED);
	uint32_t offset;

	(void)state;
	hold_all(pool, 999);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(claim(pool, i, 100, &offset), POOL_IS_FULL);
	for (uint32_t i = 1; i <= 14; i++)
		assert_int_equal(address_pool_holder(pool, i), 999);
	address_pool_release(pool, 7, 0xdead, 200);
	assert_int_equal(claim(pool, 20, 201, &offset), POOL_CLAIMED_IN_QUARANTINE);
	assert_int_equal(offset, 7);
	assert_int_equal(claim(pool, 21, 201, &offset), POOL_IS_FULL);
	address_pool_destroy(pool);
}

/* Large pools: what is not near home is a spare address */

/* A peer whose search sees none of the offsets from `from` to `to`. */
static uint32_t peer_far_from(const struct address_pool *pool, uint32_t from, uint32_t to,
			      uint32_t number)
{
	for (;; number++) {
		uint32_t home = home_in(pool, number);

		if (home > to && home + POOL_SEARCH_WIDTH <= pool->size)
			return number;
		if (home + POOL_SEARCH_WIDTH <= from)
			return number;
	}
}

/* The usual pool needs no spares and refuses nobody as long as it has an address. */
static void a_pool_of_254_is_searched_whole(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 50; round++) {
		struct address_pool *pool = pool_of(24, UNLIMITED);
		uint32_t first = dice_below(&dice, 1000000);
		uint32_t offset;

		for (uint32_t i = 0; i < 254; i++)
			assert_int_equal(claim(pool, first + i, 1, &offset), POOL_CLAIMED);
		assert_int_equal(claim(pool, first + 254, 1, &offset), POOL_IS_FULL);
		address_pool_destroy(pool);
	}
}

/* The control thread looks for spares when they were needed, not before and not again. */
static void used_spares_want_others(void **state)
{
	struct address_pool *pool = pool_of(20, UNLIMITED);
	uint32_t near = 0, far = peer_far_from(pool, 100, 200, 0);
	uint32_t offset;

	(void)state;
	address_pool_refill_spares(pool, 1);
	assert_int_equal(claim(pool, near, 1, &offset), POOL_CLAIMED);
	assert_false(address_pool_wants_spares(pool));
	hold_all(pool, 999);
	for (uint32_t i = 100; i < 200; i++)
		address_pool_unclaim(pool, i);
	address_pool_refill_spares(pool, 1);
	/* something was taken from it */
	assert_int_equal(claim(pool, far, 1, &offset), POOL_CLAIMED);
	assert_true(address_pool_wants_spares(pool));
	address_pool_refill_spares(pool, 1);
	assert_false(address_pool_wants_spares(pool));
	/* it was empty */
	hold_all(pool, 999);
	assert_int_equal(claim(pool, far + 1, 1, &offset), POOL_IS_FULL);
	assert_true(address_pool_wants_spares(pool));
	address_pool_refill_spares(pool, 1);
	assert_false(address_pool_wants_spares(pool));
	address_pool_destroy(pool);
}

static void nearly_full_pools_are_filled_to_the_last_address(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (unsigned bits = 25; bits >= 20; bits--) {
		struct address_pool *pool = pool_of(bits, UNLIMITED);
		uint32_t capacity = (1u << (32 - bits)) - 2;
		uint32_t first = dice_below(&dice, 1000000);
		uint32_t offset, refusals = 0;

		assert_int_equal(address_pool_capacity(pool), capacity);
		for (uint32_t i = 0; i < capacity; i++) {
			if (claim(pool, first + i, 1, &offset) == POOL_CLAIMED)
				continue;
			/* refused: as long as there is one, a refill finds it */
			refusals++;
			address_pool_refill_spares(pool, 1);
			assert_int_equal(claim(pool, first + i, 1, &offset), POOL_CLAIMED);
		}
		/* a refill is worth as many addresses as there are spares */
		assert_true(refusals <= capacity / POOL_SPARES + 1);
		assert_int_equal(claim(pool, first + capacity, 1, &offset), POOL_IS_FULL);
		address_pool_refill_spares(pool, 1);
		assert_int_equal(claim(pool, first + capacity, 1, &offset), POOL_IS_FULL);
		for (offset = 1; offset <= capacity; offset++)
			assert_in_range(address_pool_holder(pool, offset), first + 1,
					first + capacity);
		address_pool_destroy(pool);
	}
}

/* The spares of a pool that is all in quarantine are the longest free first. */
static void spares_are_oldest_first(void **state)
{
	struct dice dice = dice_for(__func__);
	struct address_pool *pool = pool_of(23, UNLIMITED);
	uint32_t order[510];
	uint32_t offset;

	(void)state;
	for (uint32_t i = 0; i < 510; i++)
		order[i] = i + 1;
	for (uint32_t i = 509; i > 0; i--) {
		uint32_t k = dice_below(&dice, i + 1);
		uint32_t swapped = order[i];

		order[i] = order[k];
		order[k] = swapped;
	}
	hold_all(pool, 999);
	/* 200 are freed, one a second */
	for (uint32_t i = 0; i < 200; i++)
		address_pool_release(pool, order[i], 0xdead, 5000 + i);
	for (uint32_t i = 0; i < 200; i++) {
		if (i % POOL_SPARES == 0) {
			assert_int_equal(claim(pool, i, 5300, &offset), POOL_IS_FULL);
			address_pool_refill_spares(pool, 5300);
		}
		assert_int_equal(claim(pool, i, 5300, &offset), POOL_CLAIMED_IN_QUARANTINE);
		assert_int_equal(offset, order[i]);
	}
	address_pool_refill_spares(pool, 5300);
	assert_int_equal(claim(pool, 1000, 5300, &offset), POOL_IS_FULL);
	address_pool_destroy(pool);
}

static void spares_are_what_is_out_of_quarantine_first(void **state)
{
	struct address_pool *pool = pool_of(23, UNLIMITED);
	uint32_t number = 0, offset;
	uint32_t free_count = 0;

	(void)state;
	hold_all(pool, 999);
	for (uint32_t i = 1; i <= 200; i++)
		address_pool_release(pool, i, 0xdead, 5000 + i);
	/* two that are over it, one that was never held */
	address_pool_release(pool, 300, 0xdead, 100);
	address_pool_release(pool, 310, 0xdead, 50);
	address_pool_unclaim(pool, 305);
	address_pool_refill_spares(pool, 5400);
	for (uint32_t i = 0; i < POOL_SPARES; i++) {
		/* newcomers from afar, who can have nothing but spares */
		number = peer_far_from(pool, 300, 310, number + 1);
		if (claim(pool, number, 5400, &offset) == POOL_CLAIMED) {
			assert_true(offset == 300 || offset == 305 || offset == 310);
			assert_int_equal(i, free_count);
			free_count++;
		} else {
			assert_int_equal(offset, i - 2);
		}
	}
	assert_int_equal(free_count, 3);
	address_pool_destroy(pool);
}

/* A spare may be taken by somebody whose home is near: then the next one is. */
static void spares_that_others_took(void **state)
{
	struct address_pool *pool = pool_of(23, UNLIMITED);
	uint32_t number, offset;

	(void)state;
	hold_all(pool, 999);
	for (uint32_t i = 300; i < 310; i++)
		address_pool_unclaim(pool, i);
	address_pool_refill_spares(pool, 1);
	for (uint32_t i = 300; i < 309; i++)
		assert_true(address_pool_claim_offset(pool, i));
	number = peer_far_from(pool, 300, 310, 0);
	assert_int_equal(claim(pool, number, 1, &offset), POOL_CLAIMED);
	assert_int_equal(offset, 309);
	number = peer_far_from(pool, 300, 310, number + 1);
	assert_int_equal(claim(pool, number, 1, &offset), POOL_IS_FULL);
	address_pool_destroy(pool);
}

/*
 * Two addresses are free and spare; one of them is then held for a while and freed. As
 * long as the other one is free, nobody else may have the one that was freed a second ago.
 */
static void spares_out_of_date_cut_no_quarantine_short(void **state)
{
	(void)state;
	for (int which = 0; which < 2; which++) {
		struct address_pool *pool = pool_of(23, UNLIMITED);
		uint32_t freed = which == 0 ? 300 : 301;
		uint32_t number = peer_far_from(pool, 300, 301, 0);
		uint32_t offset;

		hold_all(pool, 999);
		address_pool_unclaim(pool, 300);
		address_pool_unclaim(pool, 301);
		address_pool_refill_spares(pool, 1000);
		assert_true(address_pool_claim_offset(pool, freed));
		address_pool_publish(pool, freed, 998);
		address_pool_release(pool, freed, 0xdead, 2000);
		assert_int_equal(claim(pool, number, 2001, &offset), POOL_CLAIMED);
		assert_int_equal(offset, which == 0 ? 301 : 300);
		address_pool_destroy(pool);
	}
}

/* The same where no other spare is left, though the pool has. */
static void spares_out_of_date_are_none(void **state)
{
	struct address_pool *pool = pool_of(23, UNLIMITED);
	uint32_t number = peer_far_from(pool, 300, 399, 0);
	uint32_t offset, first_outside = 300 + POOL_SPARES;

	(void)state;
	hold_all(pool, 999);
	for (uint32_t i = 300; i < 400; i++)
		address_pool_unclaim(pool, i);
	address_pool_refill_spares(pool, 1000);
	for (uint32_t i = 300; i < first_outside; i++) {
		assert_true(address_pool_claim_offset(pool, i));
		address_pool_publish(pool, i, 998);
		address_pool_release(pool, i, 0xdead, 2000);
	}
	/* refused and refilled, or a free one at once */
	if (claim(pool, number, 2001, &offset) == POOL_IS_FULL) {
		address_pool_refill_spares(pool, 2001);
		assert_int_equal(claim(pool, number, 2001, &offset), POOL_CLAIMED);
	}
	assert_in_range(offset, first_outside, 399);
	address_pool_destroy(pool);
}

/* Nothing else is free, and the spares were freed in another order since they were found.
 */
static void spares_out_of_date_are_still_oldest_first(void **state)
{
	struct address_pool *pool = pool_of(23, UNLIMITED);
	uint32_t number = peer_far_from(pool, 300, 301, 0);
	uint32_t offset;

	(void)state;
	hold_all(pool, 999);
	address_pool_release(pool, 300, 0xdead, 1000);
	address_pool_release(pool, 301, 0xbeef, 1001);
	address_pool_refill_spares(pool, 1500);
	/* who had it came back for a while */
	assert_true(address_pool_claim_offset(pool, 300));
	address_pool_publish(pool, 300, 998);
	address_pool_release(pool, 300, 0xdead, 1600);
	/* refused and refilled, or the right one at once */
	if (claim(pool, number, 1601, &offset) == POOL_IS_FULL) {
		address_pool_refill_spares(pool, 1601);
		assert_int_equal(claim(pool, number, 1601, &offset), POOL_CLAIMED_IN_QUARANTINE);
	}
	assert_int_equal(offset, 301);
	address_pool_destroy(pool);
}

/* A pool that follows another one */

static void quarantines_are_inherited(void **state)
{
	struct pool_range wide = range_of(NETWORK, 24, UNLIMITED);
	struct pool_range narrow = range_of(NETWORK + 128, 25, UNLIMITED);
	struct address_pool *pool = make_pool(&wide);
	struct address_pool *next = make_pool(&narrow);
	uint32_t home = home_in(next, 0);
	uint32_t other = peer_at_home(next, home, 1);
	uint32_t offset;

	(void)state;
	/* the same address, elsewhere in the pool; and one that the next pool does not have */
	assert_true(address_pool_claim_offset(pool, 128 + home));
	address_pool_release(pool, 128 + home, fingerprint_of(0), 5000);
	assert_true(address_pool_claim_offset(pool, home == 5 ? 6 : 5));
	address_pool_release(pool, home == 5 ? 6 : 5, fingerprint_of(0), 5000);
	address_pool_inherit(next, pool);
	address_pool_destroy(pool);

	assert_int_equal(claim(next, other, 5001, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home + 1);
	assert_int_equal(claim(next, 0, 5001, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home);
	release(next, 0, home, 5002);
	address_pool_destroy(next);
}

static void inherited_quarantines_end(void **state)
{
	struct address_pool *pool = pool_of(24, UNLIMITED);
	struct address_pool *next = pool_of(24, UNLIMITED);
	uint32_t home = home_in(pool, 0);
	uint32_t other = peer_at_home(pool, home, 1);
	uint32_t offset;

	(void)state;
	assert_true(address_pool_claim_offset(pool, home));
	address_pool_release(pool, home, fingerprint_of(0), 5000);
	address_pool_inherit(next, pool);
	address_pool_destroy(pool);
	assert_int_equal(claim(next, other, 5000 + QUARANTINE, &offset), POOL_CLAIMED);
	assert_int_equal(offset, home);
	address_pool_destroy(next);
}

/* Several threads */

enum {
	THREADS = 4,
	CLAIMS = 10000,
	MAX_ROUNDS = 100 * 1000 * 1000,
};

/* An address has one owner at a time, whatever the threads do. */
struct contest {
	struct address_pool *pool;
	_Atomic uint32_t owners[1024];
	_Atomic uint32_t given_twice;
	_Atomic uint32_t out_of_range;
	_Atomic uint32_t running;
};

struct contestant {
	struct contest *contest;
	uint32_t number;
	uint32_t claims;
	pthread_t thread;
};

static void give_back(struct contest *contest, uint32_t offset)
{
	atomic_store(&contest->owners[offset], 0);
	address_pool_unclaim(contest->pool, offset);
}

/* Claims one for a peer that other threads want to have one for as well, or for one of its own. */
static bool claim_in_contest(struct contestant *self, uint32_t round, uint32_t *offset)
{
	struct contest *contest = self->contest;
	struct peer peer = numbered_peer(round % 300 + (round % 2) * 1000 * self->number);

	if (address_pool_claim(contest->pool, &peer, round + 1, 1, true, offset) == POOL_IS_FULL)
		return false;
	if (*offset == 0 || *offset >= contest->pool->size - 1) {
		atomic_fetch_add(&contest->out_of_range, 1);
		return false;
	}
	if (atomic_exchange(&contest->owners[*offset], self->number) != 0)
		atomic_fetch_add(&contest->given_twice, 1);
	address_pool_publish(contest->pool, *offset, self->number);
	self->claims++;
	return true;
}

static void *claim_and_give_back(void *argument)
{
	struct contestant *self = argument;
	uint32_t held[8] = {0};
	uint32_t held_count = 0;

	for (uint32_t i = 0; i < MAX_ROUNDS && self->claims < CLAIMS; i++) {
		if (held_count < 8 && claim_in_contest(self, i, &held[held_count])) {
			held_count++;
			continue;
		}
		/* none for us: let others go on, the one that looks for spares too */
		if (held_count < 8)
			sched_yield();
		if (held_count > 0)
			give_back(self->contest, held[--held_count]);
	}
	while (held_count > 0)
		give_back(self->contest, held[--held_count]);
	atomic_fetch_sub(&self->contest->running, 1);
	return NULL;
}

/* Leaves `free_count` addresses of a pool to the threads, while this one looks for spares. */
static void hold_contest(unsigned bits, uint32_t free_count)
{
	struct contest contest = {.pool = pool_of(bits, UNLIMITED), .running = THREADS};
	struct contestant contestants[THREADS];
	uint32_t size = contest.pool->size;

	for (uint32_t offset = 1; offset < size - 1 - free_count; offset++)
		assert_true(address_pool_claim_offset(contest.pool, offset));
	for (uint32_t i = 0; i < THREADS; i++) {
		contestants[i] = (struct contestant){.contest = &contest, .number = i + 1};
		assert_int_equal(pthread_create(&contestants[i].thread, NULL, claim_and_give_back,
						&contestants[i]),
				 0);
	}
	while (atomic_load(&contest.running) > 0) {
		address_pool_refill_spares(contest.pool, 1);
		sched_yield();
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(contestants[i].thread, NULL);
		assert_int_equal(contestants[i].claims, CLAIMS);
	}
	assert_int_equal(contest.given_twice, 0);
	assert_int_equal(contest.out_of_range, 0);
	for (uint32_t offset = 1; offset < size - 1; offset++)
		assert_true(address_pool_holder(contest.pool, offset) ==
			    (offset < size - 1 - free_count ? POOL_SLOT_CLAIMED : POOL_SLOT_FREE));
	address_pool_destroy(contest.pool);
}

static void an_address_is_claimed_by_one_thread_only(void **state)
{
	(void)state;
	hold_contest(24, 254); /* room for all */
	hold_contest(28, 14);  /* a small pool that is full now and then */
	hold_contest(22, 20);  /* a large one that lives from its spares */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(network_and_broadcast_are_left_out),
		cmocka_unit_test(small_prefixes_use_all_addresses),
		cmocka_unit_test(own_addresses_are_left_out),
		cmocka_unit_test(the_host_part_of_the_prefix_does_not_matter),
		cmocka_unit_test(huge_prefixes_are_capped),
		cmocka_unit_test(offsets_and_addresses),
		cmocka_unit_test(addresses_that_must_never_change),
		cmocka_unit_test(the_address_of_an_ipv6_peer_that_must_never_change),
		cmocka_unit_test(the_same_peer_gets_the_same_address_after_a_restart),
		cmocka_unit_test(homes_are_spread),
		cmocka_unit_test(home_depends_on_source_and_own_address),
		cmocka_unit_test(home_depends_on_every_bit_of_the_key),
		cmocka_unit_test(a_crowd_returns_in_another_order),
		cmocka_unit_test(a_taken_home_means_the_next_free_address),
		cmocka_unit_test(the_search_goes_on_at_the_beginning),
		cmocka_unit_test(the_search_leaves_out_no_address),
		cmocka_unit_test(holders_are_seen_when_they_are_published),
		cmocka_unit_test(what_was_never_used_has_no_quarantine),
		cmocka_unit_test(a_freed_address_is_kept_from_others),
		cmocka_unit_test(a_quarantine_that_begins_in_the_future_is_one),
		cmocka_unit_test(no_quarantine_if_none_is_wanted),
		cmocka_unit_test(a_peer_gets_its_own_address_in_quarantine),
		cmocka_unit_test(the_own_address_comes_before_a_free_one),
		cmocka_unit_test(a_peer_keeps_its_address_though_its_home_is_free),
		cmocka_unit_test(the_own_address_nearest_to_home),
		cmocka_unit_test(oldest_first_when_nothing_else_is_free),
		cmocka_unit_test(what_is_free_comes_before_what_is_in_quarantine),
		cmocka_unit_test(a_full_pool_refuses_and_recovers),
		cmocka_unit_test(a_pool_of_254_is_searched_whole),
		cmocka_unit_test(used_spares_want_others),
		cmocka_unit_test(nearly_full_pools_are_filled_to_the_last_address),
		cmocka_unit_test(spares_are_oldest_first),
		cmocka_unit_test(spares_are_what_is_out_of_quarantine_first),
		cmocka_unit_test(spares_that_others_took),
		cmocka_unit_test(spares_out_of_date_cut_no_quarantine_short),
		cmocka_unit_test(spares_out_of_date_are_none),
		cmocka_unit_test(spares_out_of_date_are_still_oldest_first),
		cmocka_unit_test(quarantines_are_inherited),
		cmocka_unit_test(inherited_quarantines_end),
		cmocka_unit_test(an_address_is_claimed_by_one_thread_only),
	};

	return report_seed(cmocka_run_group_tests_name("address pool", tests, NULL, NULL));
}
