/*
 * The pool of tunnel addresses: which entry holds which address.
 *
 * Theory of operation. The pool is a range of addresses, so an array indexed by the offset in that
 * range answers "whose address is this?" in one load, and one compare-and-swap claims an address.
 * Where a peer's address is looked for ("home") follows from its source, our address that it talks
 * to and a key, so that with the same key a peer gets the same address again, also after a restart,
 * unless another one holds it. Who could work homes out would know the source ports that lead to
 * somebody else's address, and take it when it is free: the key is what strangers do not know, and
 * homes are a hash that does not give it away (SipHash-2-4). A freed address remembers when it was
 * freed and a fingerprint of who held it, and is kept from others for the quarantine.
 *
 * The search on the packet path looks at POOL_SEARCH_WIDTH addresses from home on. When those are
 * all taken (a nearly full pool), it takes one of a few spare addresses that the control
 * thread found by looking at the whole pool; where none is left the newcomer is refused, and more
 * are asked for.
 *
 * Memory ordering. A claim takes a slot from free to POOL_SLOT_CLAIMED, which readers take for
 * nobody; the entry's index is stored with release ordering once the entry is complete
 * and known to be the peer's only one, and readers load it with acquire ordering. A slot is given
 * back by a release store after the quarantine record was written, and the search reads the record
 * after an acquire load of that "free": it never sees an address free but its record old.
 */
#ifndef UDP_ENCAP_TUN_ADDRESS_POOL_H
#define UDP_ENCAP_TUN_ADDRESS_POOL_H

#include "base/siphash.h"
#include "peers/peer.h"

#include <stdatomic.h>

enum {
	POOL_SEARCH_WIDTH = 256, /* a /24 is always searched whole */
	POOL_SPARES = 64,
	/* a pool that is much larger than the entries it can give addresses to is only waste; must
	 * stay the same for ever: a peer's address follows from the pool's size */
	POOL_SLOTS_PER_ENTRY = 4,
	/* entries are known to the pool by index plus one */
	POOL_SLOT_FREE = 0,
};

#define POOL_SLOT_NEVER UINT32_MAX         /* network, broadcast and own addresses */
#define POOL_SLOT_CLAIMED (UINT32_MAX - 1) /* somebody is about to hold it */
#define POOL_NONE UINT32_MAX               /* no offset */

/** What is remembered of an address that was given back. */
struct pool_record {
	/* monotonic seconds; 0: nobody had it that was kept from others afterwards */
	_Atomic uint32_t freed_at;
	_Atomic uint32_t last_holder; /* fingerprint of the peer that held it last */
};

/** The range of a pool, what it leaves out, and how it gives out the rest. */
struct pool_range {
	struct ip_prefix prefix;
	struct siphash_key key;            /* that homes follow from */
	const struct ip_address *excluded; /* this machine's own addresses; stay the caller's */
	size_t excluded_count;
	uint32_t max_slots; /* addresses used at most */
};

struct address_pool {
	struct ip_prefix prefix;
	struct siphash_key key;
	uint32_t first;      /* the last 32 bits of the prefix's first address, host byte order */
	uint32_t size;       /* addresses in use, from the first on */
	uint32_t quarantine; /* seconds */
	/* By offset. Apart from each other, because lookups want as much of the first in the cache
	 * as fits. */
	_Atomic uint32_t *holders; /* entry index + 1, or one of POOL_SLOT_... */
	struct pool_record *records;
	_Alignas(64) _Atomic uint64_t
		spares[POOL_SPARES]; /* freed_at << 32 | offset + 1, 0: taken */
	_Atomic bool wants_spares;
};

/** How a claim ended. */
enum pool_claim {
	POOL_CLAIMED,
	POOL_CLAIMED_IN_QUARANTINE, /* no other was free: the one freed longest ago */
	POOL_IS_FULL,
};

/**
 * Makes a pool for a range. Control thread.
 * @quarantine: seconds for which a freed address is kept from other peers
 * Returns NULL when there is no memory for it.
 */
struct address_pool *address_pool_create(const struct pool_range *range, uint32_t quarantine);

/** Frees a pool that no reader can see any more. Control thread. */
void address_pool_destroy(struct address_pool *pool);

/** Addresses that the pool can give out. */
uint32_t address_pool_capacity(const struct address_pool *pool);

/** The offset of an address in the pool, or POOL_NONE. Any thread. */
static inline uint32_t address_pool_offset(const struct address_pool *pool,
					   const struct ip_address *address)
{
	uint32_t offset = ip_address_last_bits(address) - pool->first;
	const size_t others = sizeof(address->bytes) - sizeof(offset);

	if (offset >= pool->size || memcmp(address->bytes, pool->prefix.address.bytes, others) != 0)
		return POOL_NONE;
	return offset;
}

/** The address at an offset. Any thread. */
struct ip_address address_pool_address(const struct address_pool *pool, uint32_t offset);

/** What stands in an offset's slot. Any thread that reads the pool under RCU. */
static inline uint32_t address_pool_holder(const struct address_pool *pool, uint32_t offset)
{
	return atomic_load_explicit(&pool->holders[offset], memory_order_acquire);
}

/**
 * Claims an address for a peer. Bounded, lock-free. Any worker.
 * @peer: decides where the search begins
 * @fingerprint: keyed hash of the peer, compared with the last holder's
 * @now: monotonic seconds
 * @cuts_quarantine: whether the answer may be POOL_CLAIMED_IN_QUARANTINE
 * @offset: the claimed offset; nobody's until address_pool_publish()
 */
enum pool_claim address_pool_claim(struct address_pool *pool, const struct peer *peer,
				   uint32_t fingerprint, uint32_t now, bool cuts_quarantine,
				   uint32_t *offset);

/** Claims one certain offset; false when somebody else holds it. Control thread. */
bool address_pool_claim_offset(struct address_pool *pool, uint32_t offset);

/**
 * Shows a claimed offset's holder to readers. Any worker.
 * @holder: entry index plus one
 */
void address_pool_publish(struct address_pool *pool, uint32_t offset, uint32_t holder);

/**
 * Gives back an address without quarantine: one that was claimed but never used, or nothing of
 * importance was sent to. What is remembered of it stays. Any thread.
 */
void address_pool_unclaim(struct address_pool *pool, uint32_t offset);

/** Gives back an address: its quarantine begins. Control thread. */
void address_pool_release(struct address_pool *pool, uint32_t offset, uint32_t fingerprint,
			  uint32_t now);

/**
 * Has a peer that held another address than its home find that again, whatever becomes of the
 * home: its search would end there if nobody seemed to have had it. Control thread.
 * @offset: that it held
 */
void address_pool_note_elsewhere(struct address_pool *pool, const struct peer *peer,
				 uint32_t offset, uint32_t now);

/** True when spare addresses were used, or soon will be, since they were looked for last. Any
 * thread. */
static inline bool address_pool_wants_spares(const struct address_pool *pool)
{
	return atomic_load_explicit(&pool->wants_spares, memory_order_relaxed);
}

/** Looks for spare addresses: those out of quarantine first, then those freed longest ago. Control
 * thread. */
void address_pool_refill_spares(struct address_pool *pool, uint32_t now);

/** Copies the quarantine records of addresses that both pools have. Control thread. */
void address_pool_inherit(struct address_pool *pool, const struct address_pool *previous);

#endif
