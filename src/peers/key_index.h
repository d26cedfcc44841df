/*
 * Keys: which peer leads to which entry. A hash table of liburcu over an array of keys.
 *
 * Theory of operation. A key is one record: the node of the table, the destination that it stands
 * for, and the index of the entry that it leads to. That index is all of a published key that
 * changes: to give a key to another entry is one store, before and after which it leads to exactly
 * one. Keys have a free list of their own, because a key may outlive the entry that it was made
 * for, and one that was taken over stays where it is.
 */
#ifndef UDP_ENCAP_TUN_KEY_INDEX_H
#define UDP_ENCAP_TUN_KEY_INDEX_H

#include "base/rcu.h"
#include "peers/destination.h"
#include "peers/free_list.h"
#include "peers/peer_hash.h"

struct key {
	struct cds_lfht_node node;
	struct destination destination;
	_Atomic uint32_t entry; /* its index; of a free key: the free list's link */
	uint32_t next_alias;    /* of the same entry, index + 1; control thread */
	uint32_t alias_since;   /* monotonic seconds; control thread */
};

_Static_assert(sizeof(struct key) <= 64, "a key lies in one cache line");

struct key_index {
	struct siphash_key hash_key;
	struct cds_lfht *table;
	struct key *keys;
	struct free_list free;
};

/**
 * Prepares an index. Control thread.
 * @entries: as many as keys will lead to
 * @aliases: keys beyond one for each entry
 * Returns false when there is no memory; key_index_close() is due all the same.
 */
bool key_index_open(struct key_index *index, uint32_t entries, uint32_t aliases);

/** Frees an index; one that is all zero, too. Control thread, after the workers ended. */
void key_index_close(struct key_index *index);

/** The hash of a peer, keyed by chance for each process. Any thread. */
static inline uint64_t key_index_hash(const struct key_index *index, const struct peer *peer)
{
	return peer_hash(&index->hash_key, peer);
}

/** Finds a peer's key or NULL. Any thread, under RCU. @hash: of the peer */
struct key *key_index_find(const struct key_index *index, const struct peer *peer, uint64_t hash);

/** Takes a free key and fills it, not published yet. NULL: there is none. Any thread. */
struct key *key_index_take(struct key_index *index, const struct peer *peer, uint32_t entry);

/**
 * Publishes a key that was taken. Any thread, under RCU.
 * Returns it, or the one that the peer has got in the meantime.
 */
struct key *key_index_publish(struct key_index *index, struct key *key, uint64_t hash);

/** Takes a key out of the table; readers may see it until a grace period has ended. Control. */
void key_index_remove(struct key_index *index, struct key *key);

/** Gives a key back that no reader can see. Any thread. */
void key_index_give(struct key_index *index, struct key *key);

/** The index of the entry that a key leads to. Any thread, under RCU. */
static inline uint32_t key_entry(const struct key *key)
{
	/* acquire pairs with the release of key_give_to(); the hash table orders the first one */
	return atomic_load_explicit(&key->entry, memory_order_acquire);
}

/** Leads a published key to another entry. Control thread. */
static inline void key_give_to(struct key *key, uint32_t entry)
{
	atomic_store_explicit(&key->entry, entry, memory_order_release);
}

/** The key that a destination belongs to. */
static inline struct key *key_of_destination(struct destination *destination)
{
	return (struct key *)(void *)((char *)destination - offsetof(struct key, destination));
}

#endif
