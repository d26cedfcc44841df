/* What the files of connection_store share; see peers/connection_store.h. */
#ifndef UDP_ENCAP_TUN_STORE_H
#define UDP_ENCAP_TUN_STORE_H

#include "peers/connection_store.h"
#include "peers/free_list.h"
#include "peers/key_index.h"
#include "peers/newcomers.h"
#include "peers/provisional.h"
#include "peers/turned_away.h"

struct entry {
	struct peer_entry public;
	/* of the free list; of the queue of provisional entries while it stands there; index + 1 */
	_Atomic uint32_t next;
	/* the youngest, index of the key + 1; of an entry that was unlinked, which has none: the
	 * index + 1 of another one that is about to go; control thread */
	uint32_t aliases;
	/* Here, where there is room: connection_store_send_singly(). Monotonic seconds, 0: none. */
	_Atomic uint32_t singly_until;
	union {
		/* in a store that limits provisional entries: the TCP sequence number behind a
		 * segment that was sent, host byte order; see proof.h */
		_Atomic uint32_t sent_end;
		/* in a store without a pool: the number of its last turn, see
		 * connection_store_take_turn() */
		_Atomic uint32_t turn;
	};
};

_Static_assert(sizeof(struct entry) <= 56, "a promise to who counts the bytes of a full store");

struct connection_store {
	struct connection_store_settings settings;
	struct key_index index;
	struct address_pool *pool; /* RCU-protected */
	struct entry *entries;
	uint32_t alias_count; /* control thread, as the next one */
	uint32_t max_aliases;
	struct free_list free;
	_Alignas(64) _Atomic uint32_t count; /* written by whoever makes or removes an entry */
	_Atomic uint32_t turns;              /* that were taken, also by making an entry */
	struct newcomers newcomers;
	struct provisional provisional;
	struct turned_away turned_away; /* in a store that limits provisional entries */
};

static inline struct entry *entry_of(struct peer_entry *public)
{
	return (struct entry *)(void *)((char *)public - offsetof(struct entry, public));
}

static inline const struct entry *const_entry_of(const struct peer_entry *public)
{
	return (const struct entry *)(const void *)((const char *)public -
						    offsetof(struct entry, public));
}

static inline uint32_t index_of(const struct connection_store *store,
				const struct peer_entry *entry)
{
	return (uint32_t)((const struct entry *)(const void *)entry - store->entries);
}

/** For the control thread: published and not removed. */
static inline bool is_live(const struct entry *entry)
{
	/* acquire pairs with the release of whoever made it: the entry is complete */
	return atomic_load_explicit(&entry->public.is_live, memory_order_acquire);
}

/** What is compared with the last holder of an address. */
static inline uint32_t fingerprint_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

/**
 * Entries and keys that were unlinked and become free after the grace period, of one round.
 * Control thread.
 */
struct departures {
	uint32_t entries; /* index + 1 of the last one */
	uint32_t keys;    /* the same, linked by `next_alias` */
	uint32_t count;   /* entries */
};

/**
 * Proves an entry, or takes it from whoever could prove it still. Any thread.
 * Returns whether it was provisional until now.
 */
bool store_end_provisional(struct connection_store *store, struct entry *entry);

/**
 * The same for an entry that is about to be unlinked. Control thread.
 * Returns whether its address needs quarantine.
 */
bool store_end_trial(struct connection_store *store, struct entry *entry);

/** Says how many entries may be provisional, with this pool. Control thread. */
void store_share_out(struct connection_store *store, const struct address_pool *pool);

/** Takes an entry out of both indexes with all its keys. @has_quarantine: its address has */
void store_unlink_entry(struct connection_store *store, struct entry *entry, uint32_t now,
			bool has_quarantine, struct departures *departures);

/** Takes a key out of the index that no entry counts among its own any more. */
void store_unlink_key(struct connection_store *store, struct key *key,
		      struct departures *departures);

/** Waits for a grace period where something was unlinked, and gives all of it back. */
void store_end_departures(struct connection_store *store, struct departures *departures);

/** Takes an alias out of the list of its entry. */
void store_forget_alias(struct connection_store *store, struct entry *entry,
			const struct key *alias);

/** Takes out of the index the aliases whose time is over. */
void store_drop_old_aliases(struct connection_store *store, struct entry *entry, uint32_t now,
			    struct departures *departures);

#endif
