/* The pool of tunnel addresses; see address_pool.h for the theory of operation. */
#include "peers/address_pool.h"

#include "base/clock.h"
#include "base/lazy_memory.h"

#include <stdlib.h>

enum {
	ADDRESS_BITS = 128,
	/* prefixes up to this many host bits have all their addresses used (RFC 3021, host routes)
	 */
	POINT_TO_POINT_HOST_BITS = 1,
	MAX_HOST_BITS = 31,
};

/* Must stay the same for ever: a peer's address after a restart follows from it. */
static uint32_t home_offset(const struct address_pool *pool, const struct peer *peer)
{
	enum {
		ADDRESS = sizeof(peer->own_address.bytes),
		ADDRESSES = 2 * ADDRESS,
		PORT = sizeof(peer->remote.port)
	};
	uint8_t message[ADDRESSES + PORT];
	uint64_t hash;

	memcpy(message, peer->remote.address.bytes, ADDRESS);
	memcpy(message + ADDRESS, peer->own_address.bytes, ADDRESS);
	memcpy(message + ADDRESSES, &peer->remote.port, PORT);
	hash = siphash_2_4(&pool->key, message, sizeof(message));
	return (uint32_t)((hash >> 32) * pool->size >> 32);
}

static void leave_out(struct address_pool *pool, uint32_t offset)
{
	atomic_store_explicit(&pool->holders[offset], POOL_SLOT_NEVER, memory_order_relaxed);
}

struct address_pool *address_pool_create(const struct pool_range *range, uint32_t quarantine)
{
	unsigned host_bits = ADDRESS_BITS - (unsigned)range->prefix.length;
	struct address_pool *pool = aligned_alloc(64, sizeof(*pool));
	uint64_t size;

	if (pool == NULL)
		return NULL;
	memset(pool, 0, sizeof(*pool));
	if (host_bits > MAX_HOST_BITS)
		host_bits = MAX_HOST_BITS;
	size = (uint64_t)1 << host_bits;
	pool->prefix = range->prefix;
	pool->key = range->key;
	pool->first = ip_address_last_bits(&range->prefix.address) & ~(uint32_t)(size - 1);
	pool->size = (uint32_t)(size < range->max_slots ? size : range->max_slots);
	pool->quarantine = quarantine;
	pool->holders = lazy_memory_map(pool->size * sizeof(*pool->holders));
	pool->records = lazy_memory_map(pool->size * sizeof(*pool->records));
	if (pool->holders == NULL || pool->records == NULL) {
		address_pool_destroy(pool);
		return NULL;
	}
	if (host_bits > POINT_TO_POINT_HOST_BITS) {
		leave_out(pool, 0);
		if (pool->size == size)
			leave_out(pool, pool->size - 1);
	}
	for (size_t i = 0; i < range->excluded_count; i++) {
		uint32_t offset = address_pool_offset(pool, &range->excluded[i]);

		if (offset != POOL_NONE)
			leave_out(pool, offset);
	}
	return pool;
}

void address_pool_destroy(struct address_pool *pool)
{
	if (pool == NULL)
		return;
	lazy_memory_unmap(pool->holders, pool->size * sizeof(*pool->holders));
	lazy_memory_unmap(pool->records, pool->size * sizeof(*pool->records));
	free(pool);
}

uint32_t address_pool_capacity(const struct address_pool *pool)
{
	uint32_t capacity = 0;

	for (uint32_t i = 0; i < pool->size; i++)
		capacity += address_pool_holder(pool, i) != POOL_SLOT_NEVER;
	return capacity;
}

struct ip_address address_pool_address(const struct address_pool *pool, uint32_t offset)
{
	struct ip_address address = pool->prefix.address;
	uint32_t bits = pool->first + offset;

	for (size_t i = 0; i < 4; i++)
		address.bytes[12 + i] = (uint8_t)(bits >> (24 - 8 * i));
	return address;
}

bool address_pool_claim_offset(struct address_pool *pool, uint32_t offset)
{
	uint32_t expected = POOL_SLOT_FREE;

	return atomic_compare_exchange_strong_explicit(&pool->holders[offset], &expected,
						       POOL_SLOT_CLAIMED, memory_order_acquire,
						       memory_order_relaxed);
}

void address_pool_publish(struct address_pool *pool, uint32_t offset, uint32_t holder)
{
	atomic_store_explicit(&pool->holders[offset], holder, memory_order_release);
}

/* What keeps a newcomer from a free address. */
enum slot_state { SLOT_TAKEN, SLOT_FREE, SLOT_FORMER, SLOT_IN_QUARANTINE };

static enum slot_state slot_state(const struct address_pool *pool, uint32_t offset,
				  uint32_t fingerprint, uint32_t now)
{
	const struct pool_record *record = &pool->records[offset];
	uint32_t freed_at;

	if (address_pool_holder(pool, offset) != POOL_SLOT_FREE)
		return SLOT_TAKEN;
	freed_at = atomic_load_explicit(&record->freed_at, memory_order_relaxed);
	if (freed_at == 0)
		return SLOT_FREE;
	if (atomic_load_explicit(&record->last_holder, memory_order_relaxed) == fingerprint)
		return SLOT_FORMER;
	return seconds_since(freed_at, now) < pool->quarantine ? SLOT_IN_QUARANTINE : SLOT_FREE;
}

/* What the search found in the addresses that it looked at. */
struct pool_search {
	uint32_t former; /* the peer's last address */
	uint32_t free;   /* the first one that anybody may have */
	uint32_t oldest; /* in quarantine, freed longest ago */
};

static struct pool_search search_from(const struct address_pool *pool, uint32_t home,
				      uint32_t fingerprint, uint32_t now)
{
	struct pool_search found = {POOL_NONE, POOL_NONE, POOL_NONE};
	uint32_t width = pool->size < POOL_SEARCH_WIDTH ? pool->size : POOL_SEARCH_WIDTH;
	uint32_t longest = 0;
	uint32_t offset = home;

	for (uint32_t i = 0; i < width; i++, offset = offset + 1 < pool->size ? offset + 1 : 0) {
		const struct pool_record *record = &pool->records[offset];
		enum slot_state state = slot_state(pool, offset, fingerprint, now);

		if (state == SLOT_FORMER) {
			found.former = offset;
			break;
		}
		if (state == SLOT_FREE && found.free == POOL_NONE) {
			found.free = offset;
			/* nobody had it who kept the peer from it: the peer was given no other one,
			 * or address_pool_note_elsewhere() told; what it had by a move is not
			 * looked for */
			if (offset == home &&
			    atomic_load_explicit(&record->freed_at, memory_order_relaxed) == 0)
				break;
		}
		if (state == SLOT_IN_QUARANTINE) {
			uint32_t age = seconds_since(
				atomic_load_explicit(&record->freed_at, memory_order_relaxed), now);

			if (found.oldest == POOL_NONE || age > longest) {
				found.oldest = offset;
				longest = age;
			}
		}
	}
	return found;
}

static uint64_t spare_entry(const struct address_pool *pool, uint32_t offset)
{
	uint64_t freed_at = atomic_load_explicit(&pool->records[offset].freed_at,
						 memory_order_relaxed);

	return freed_at << 32 | (offset + 1);
}

static enum pool_claim claim_spare(struct address_pool *pool, uint32_t fingerprint, uint32_t now,
				   bool cuts_quarantine, uint32_t *offset)
{
	atomic_store_explicit(&pool->wants_spares, true, memory_order_relaxed);
	for (size_t i = 0; i < POOL_SPARES; i++) {
		enum slot_state state;
		uint64_t entry = atomic_load_explicit(&pool->spares[i], memory_order_relaxed);

		if (entry == 0)
			continue;
		*offset = (uint32_t)entry - 1;
		if (!cuts_quarantine &&
		    slot_state(pool, *offset, fingerprint, now) == SLOT_IN_QUARANTINE)
			continue; /* it stays there for who may */
		entry = atomic_exchange_explicit(&pool->spares[i], 0, memory_order_relaxed);
		if (entry == 0)
			continue;
		*offset = (uint32_t)entry - 1;
		state = slot_state(pool, *offset, fingerprint, now);
		/* held and freed again since then: others may have been free for longer */
		if (state == SLOT_TAKEN || entry != spare_entry(pool, *offset))
			continue;
		if (address_pool_claim_offset(pool, *offset))
			return state == SLOT_IN_QUARANTINE ? POOL_CLAIMED_IN_QUARANTINE
							   : POOL_CLAIMED;
	}
	return POOL_IS_FULL;
}

/* A long way to a free address means that the next search may end without one. */
static void note_distance(struct address_pool *pool, uint32_t home, uint32_t offset)
{
	uint32_t distance = offset >= home ? offset - home : offset + pool->size - home;

	if (distance > POOL_SEARCH_WIDTH / 4)
		atomic_store_explicit(&pool->wants_spares, true, memory_order_relaxed);
}

enum pool_claim address_pool_claim(struct address_pool *pool, const struct peer *peer,
				   uint32_t fingerprint, uint32_t now, bool cuts_quarantine,
				   uint32_t *offset)
{
	uint32_t home = home_offset(pool, peer);

	/* Another worker may take what was found; every retry means that one of them got on. */
	for (int tries = 0; tries < 4; tries++) {
		struct pool_search found = search_from(pool, home, fingerprint, now);

		*offset = found.former != POOL_NONE ? found.former : found.free;
		if (*offset == POOL_NONE)
			break;
		if (address_pool_claim_offset(pool, *offset)) {
			note_distance(pool, home, *offset);
			return POOL_CLAIMED;
		}
	}
	if (pool->size > POOL_SEARCH_WIDTH)
		return claim_spare(pool, fingerprint, now, cuts_quarantine, offset);

	/* The search saw the whole pool. */
	if (cuts_quarantine)
		*offset = search_from(pool, home, fingerprint, now).oldest;
	if (*offset != POOL_NONE && address_pool_claim_offset(pool, *offset))
		return POOL_CLAIMED_IN_QUARANTINE;
	return POOL_IS_FULL;
}

void address_pool_unclaim(struct address_pool *pool, uint32_t offset)
{
	atomic_store_explicit(&pool->holders[offset], POOL_SLOT_FREE, memory_order_release);
}

void address_pool_release(struct address_pool *pool, uint32_t offset, uint32_t fingerprint,
			  uint32_t now)
{
	struct pool_record *record = &pool->records[offset];

	atomic_store_explicit(&record->freed_at, now, memory_order_relaxed);
	atomic_store_explicit(&record->last_holder, fingerprint, memory_order_relaxed);
	atomic_store_explicit(&pool->holders[offset], POOL_SLOT_FREE, memory_order_release);
}

void address_pool_note_elsewhere(struct address_pool *pool, const struct peer *peer,
				 uint32_t offset, uint32_t now)
{
	uint32_t home = home_offset(pool, peer);
	struct pool_record *record = &pool->records[home];
	uint32_t long_ago = now - pool->quarantine;

	if (home == offset || atomic_load_explicit(&record->freed_at, memory_order_relaxed) != 0)
		return;
	/* as if somebody had it whose quarantine is over: free for all, but not the end */
	atomic_store_explicit(&record->freed_at, long_ago != 0 ? long_ago : UINT32_MAX,
			      memory_order_relaxed);
}

/* Ages sort as: out of quarantine first, then the longest in it. */
static uint32_t spare_rank(const struct address_pool *pool, uint32_t offset, uint32_t now)
{
	uint32_t freed_at = atomic_load_explicit(&pool->records[offset].freed_at,
						 memory_order_relaxed);
	uint32_t age = seconds_since(freed_at, now);

	return freed_at == 0 || age >= pool->quarantine ? UINT32_MAX : age;
}

void address_pool_refill_spares(struct address_pool *pool, uint32_t now)
{
	uint32_t best[POOL_SPARES], rank[POOL_SPARES];
	size_t count = 0;

	atomic_store_explicit(&pool->wants_spares, false, memory_order_relaxed);
	for (uint32_t offset = 0; offset < pool->size; offset++) {
		uint32_t slot_rank;
		size_t at;

		if (address_pool_holder(pool, offset) != POOL_SLOT_FREE)
			continue;
		slot_rank = spare_rank(pool, offset, now);
		if (count == POOL_SPARES && slot_rank <= rank[count - 1])
			continue;
		at = count < POOL_SPARES ? count++ : count - 1;
		for (; at > 0 && rank[at - 1] < slot_rank; at--) {
			rank[at] = rank[at - 1];
			best[at] = best[at - 1];
		}
		rank[at] = slot_rank;
		best[at] = offset;
		if (count == POOL_SPARES && rank[count - 1] == UINT32_MAX)
			break;
	}
	for (size_t i = 0; i < POOL_SPARES; i++)
		atomic_store_explicit(&pool->spares[i], i < count ? spare_entry(pool, best[i]) : 0,
				      memory_order_relaxed);
}

void address_pool_inherit(struct address_pool *pool, const struct address_pool *previous)
{
	for (uint32_t old = 0; old < previous->size; old++) {
		const struct pool_record *from = &previous->records[old];
		uint32_t freed_at = atomic_load_explicit(&from->freed_at, memory_order_relaxed);
		struct ip_address address;
		uint32_t offset;

		if (freed_at == 0)
			continue;
		address = address_pool_address(previous, old);
		offset = address_pool_offset(pool, &address);
		if (offset == POOL_NONE)
			continue;
		atomic_store_explicit(&pool->records[offset].freed_at, freed_at,
				      memory_order_relaxed);
		atomic_store_explicit(
			&pool->records[offset].last_holder,
			atomic_load_explicit(&from->last_holder, memory_order_relaxed),
			memory_order_relaxed);
	}
}
