/*
 * connection_store: its life, and what workers do with it; see connection_store.h for the theory of
 * operation.
 */
#include "peers/connection_store.h"

#include "base/clock.h"
#include "base/lazy_memory.h"
#include "peers/store.h"

#include <stdlib.h>

enum {
	/* Keys beyond one for each entry: a peer that moves has two for some seconds. */
	ENTRIES_PER_ALIAS = 4,
	MIN_ALIASES = 64,
};

static size_t entries_size(const struct connection_store *store)
{
	return store->settings.max_entries * sizeof(*store->entries);
}

static bool open_parts(struct connection_store *store)
{
	uint32_t entries = store->settings.max_entries;

	store->max_aliases = entries / ENTRIES_PER_ALIAS + MIN_ALIASES;
	store->entries = lazy_memory_map(entries_size(store));
	if (store->entries == NULL)
		return false;
	free_list_init(&store->free, &store->entries->next, sizeof(*store->entries), entries);
	if (!key_index_open(&store->index, entries, store->max_aliases))
		return false;
	provisional_init(&store->provisional, &store->entries->next, sizeof(*store->entries));
	if (store->settings.provisional_part != 0 && !turned_away_open(&store->turned_away))
		return false;
	return !store->settings.keeps_records || newcomers_open(&store->newcomers, entries);
}

struct connection_store *connection_store_create(const struct connection_store_settings *settings)
{
	struct connection_store *store = aligned_alloc(64, sizeof(*store));

	if (store == NULL)
		return NULL;
	memset(store, 0, sizeof(*store));
	store->settings = *settings;
	if (open_parts(store))
		return store;
	connection_store_destroy(store);
	return NULL;
}

void connection_store_destroy(struct connection_store *store)
{
	if (store == NULL)
		return;
	key_index_close(&store->index);
	address_pool_destroy(store->pool);
	turned_away_close(&store->turned_away);
	newcomers_close(&store->newcomers, store->settings.max_entries);
	lazy_memory_unmap(store->entries, entries_size(store));
	free(store);
}

static struct peer_entry *entry_of_key(struct connection_store *store, const struct key *key)
{
	return &store->entries[key_entry(key)].public;
}

struct peer_entry *connection_store_find_peer(struct connection_store *store,
					      const struct peer *peer)
{
	struct key *key = key_index_find(&store->index, peer, key_index_hash(&store->index, peer));

	return key == NULL ? NULL : entry_of_key(store, key);
}

struct peer_entry *connection_store_find_tunnel_address(struct connection_store *store,
							const struct ip_address *address)
{
	const struct address_pool *pool = rcu_read(store->pool);
	uint32_t offset, holder;

	if (pool == NULL)
		return NULL;
	offset = address_pool_offset(pool, address);
	if (offset == POOL_NONE)
		return NULL;
	holder = address_pool_holder(pool, offset);
	if (holder == POOL_SLOT_FREE || holder >= POOL_SLOT_CLAIMED)
		return NULL;
	return &store->entries[holder - 1].public;
}

struct peer_record *connection_store_record(const struct connection_store *store,
					    const struct peer_entry *entry)
{
	if (store->newcomers.records == NULL)
		return NULL;
	return &store->newcomers.records[index_of(store, entry)];
}

void connection_store_send_singly(struct peer_entry *entry, uint32_t until)
{
	atomic_store_explicit(&entry_of(entry)->singly_until, until, memory_order_relaxed);
}

bool connection_store_sends_singly(const struct peer_entry *public, uint32_t now)
{
	const struct entry *entry = const_entry_of(public);
	uint32_t until = atomic_load_explicit(&entry->singly_until, memory_order_relaxed);

	return seconds_since(now, until) > 0;
}

void connection_store_take_turn(struct connection_store *store, struct peer_entry *entry)
{
	uint32_t turn = atomic_fetch_add_explicit(&store->turns, 1, memory_order_relaxed);

	/* release: whoever reads the number sees that it was taken */
	atomic_store_explicit(&entry_of(entry)->turn, turn, memory_order_release);
}

uint32_t connection_store_turns_since(const struct connection_store *store,
				      const struct peer_entry *entry)
{
	uint32_t turn = atomic_load_explicit(&const_entry_of(entry)->turn, memory_order_acquire);

	return atomic_load_explicit(&store->turns, memory_order_relaxed) - turn - 1;
}

uint32_t connection_store_count(const struct connection_store *store)
{
	return atomic_load_explicit(&store->count, memory_order_relaxed);
}

/* An entry that is being made: what it takes, to be published together or given back. */
struct making {
	struct entry *entry;
	struct key *key;
	struct address_pool *pool; /* NULL: it needs no address */
	uint32_t offset;           /* in the pool */
};

static void give_back(struct connection_store *store, const struct making *making)
{
	if (making->pool != NULL && making->offset != POOL_NONE)
		address_pool_unclaim(making->pool, making->offset);
	if (making->key != NULL)
		key_index_give(&store->index, making->key);
	free_list_give(&store->free, (uint32_t)(making->entry - store->entries));
}

static bool take_places(struct connection_store *store, const struct peer *peer,
			struct making *making)
{
	uint32_t place = free_list_take(&store->free);

	if (place == FREE_LIST_IS_EMPTY)
		return false;
	making->entry = &store->entries[place];
	making->key = key_index_take(&store->index, peer, place);
	making->offset = POOL_NONE;
	if (making->key != NULL)
		return true;
	give_back(store, making);
	return false;
}

static void fill_entry(struct connection_store *store, const struct making *making, uint32_t now)
{
	struct peer_entry *entry = &making->entry->public;

	/* readers see it only through the key or the pool, which are published with release */
	entry->destination = &making->key->destination;
	memset(&entry->tunnel_address, 0, sizeof(entry->tunnel_address));
	if (making->pool != NULL)
		entry->tunnel_address = address_pool_address(making->pool, making->offset);
	atomic_store_explicit(&entry->last_received, now, memory_order_relaxed);
	atomic_store_explicit(&entry->last_sent, now, memory_order_relaxed);
	atomic_store_explicit(&entry->last_tcp, now, memory_order_relaxed);
	atomic_store_explicit(&entry->is_proven, false, memory_order_relaxed);
	atomic_store_explicit(&entry->source_state, SOURCE_IS_NOT_ASKED_FOR, memory_order_relaxed);
	atomic_store_explicit(&entry->sent, 0, memory_order_relaxed); /* or `data` */
	making->entry->aliases = 0;
	atomic_store_explicit(&making->entry->singly_until, 0, memory_order_relaxed);
	if (!store->settings.gives_tunnel_address)
		connection_store_take_turn(store, entry);
	if (store->settings.keeps_records)
		newcomers_begin_record(&store->newcomers, index_of(store, entry), now);
}

/* Publishes it, or gives it back when the peer has got one in the meantime. */
static struct key *publish(struct connection_store *store, const struct making *making,
			   uint64_t hash)
{
	uint32_t index = (uint32_t)(making->entry - store->entries);
	struct key *key = key_index_publish(&store->index, making->key, hash);

	if (key != making->key) {
		give_back(store, making);
		return key;
	}
	if (making->pool != NULL)
		address_pool_publish(making->pool, making->offset, index + 1);
	atomic_fetch_add_explicit(&store->count, 1, memory_order_relaxed);
	/* release: the control thread reads the entry when it sees this */
	atomic_store_explicit(&making->entry->public.is_live, true, memory_order_release);
	return key;
}

static struct key *make(struct connection_store *store, const struct peer *peer, uint64_t hash,
			uint32_t now, enum obtain_result *result)
{
	struct making making = {.pool = rcu_read(store->pool)};
	enum pool_claim claim = POOL_CLAIMED;
	struct key *key;

	if (store->settings.gives_tunnel_address && making.pool == NULL) {
		*result = ENTRY_HAS_NO_POOL;
		return NULL;
	}
	*result = ENTRY_REFUSED;
	if (!take_places(store, peer, &making))
		return NULL;
	if (making.pool != NULL)
		claim = address_pool_claim(making.pool, peer, fingerprint_of(hash), now,
					   !provisional_are_others(&store->provisional),
					   &making.offset);
	if (claim == POOL_IS_FULL) {
		making.offset = POOL_NONE;
		give_back(store, &making);
		return NULL;
	}
	fill_entry(store, &making, now);
	key = publish(store, &making, hash);
	*result = claim == POOL_CLAIMED_IN_QUARANTINE ? ENTRY_MADE_IN_QUARANTINE : ENTRY_MADE;
	if (key != making.key) {
		*result = ENTRY_FOUND;
		return key;
	}
	/* not where the key leads: that may be another entry by now */
	if (store->settings.provisional_part != 0)
		index_queue_push(&store->provisional.queue, index_of(store, &making.entry->public));
	if (store->settings.keeps_records)
		index_queue_push(&store->newcomers.untold, index_of(store, &making.entry->public));
	return key;
}

/* Makes an entry if there is room for another provisional one. */
static struct key *make_provisional(struct connection_store *store, const struct peer *peer,
				    uint64_t hash, uint32_t now, enum obtain_result *result)
{
	struct key *key;

	*result = ENTRY_HAS_TO_WAIT;
	if (!provisional_enter(&store->provisional))
		return NULL;
	key = make(store, peer, hash, now, result);
	/* they have what is missing, or the room for it */
	if (*result == ENTRY_REFUSED && provisional_are_others(&store->provisional)) {
		provisional_press(&store->provisional);
		*result = ENTRY_HAS_TO_WAIT;
	}
	if (*result != ENTRY_MADE && *result != ENTRY_MADE_IN_QUARANTINE)
		provisional_leave(&store->provisional);
	return key;
}

struct peer_entry *connection_store_obtain(struct connection_store *store, const struct peer *peer,
					   uint32_t now, enum obtain_result *result)
{
	uint64_t hash = key_index_hash(&store->index, peer);
	struct key *key = key_index_find(&store->index, peer, hash);

	*result = ENTRY_FOUND;
	if (key == NULL)
		key = make_provisional(store, peer, hash, now, result);
	return key == NULL ? NULL : entry_of_key(store, key);
}

struct peer_entry *connection_store_obtain_returning(struct connection_store *store,
						     const struct peer *peer, uint64_t milliseconds,
						     bool lets_in, enum obtain_result *result)
{
	uint64_t hash = key_index_hash(&store->index, peer);
	struct key *key = key_index_find(&store->index, peer, hash);

	*result = key != NULL ? ENTRY_FOUND : ENTRY_HAS_TO_WAIT;
	if (key == NULL && turned_away_comes_again(&store->turned_away, hash, milliseconds) &&
	    lets_in)
		key = make_provisional(store, peer, hash, (uint32_t)(milliseconds / 1000), result);
	return key == NULL ? NULL : entry_of_key(store, key);
}

enum put_result connection_store_put(struct connection_store *store,
				     const struct former_entry *former)
{
	struct making making = {.pool = store->pool};
	uint64_t hash = key_index_hash(&store->index, &former->peer);
	struct peer_entry *entry;

	if (key_index_find(&store->index, &former->peer, hash) != NULL)
		return PUT_PEER_HAS_ENTRY;
	if (store->settings.gives_tunnel_address && making.pool == NULL)
		return PUT_ADDRESS_IS_NOT_FREE;
	if (!take_places(store, &former->peer, &making))
		return PUT_HAS_NO_ROOM;
	if (making.pool != NULL) {
		uint32_t offset = address_pool_offset(making.pool, &former->tunnel_address);

		if (offset == POOL_NONE || !address_pool_claim_offset(making.pool, offset)) {
			give_back(store, &making);
			return PUT_ADDRESS_IS_NOT_FREE;
		}
		making.offset = offset;
	}
	fill_entry(store, &making, former->last_received);
	entry = &making.entry->public;
	peer_entry_refresh(&entry->last_sent, former->last_sent);
	peer_entry_refresh(&entry->last_tcp, former->last_tcp);
	atomic_store_explicit(&entry->is_proven, former->is_proven, memory_order_relaxed);
	/* nobody knows what was sent to it once */
	if (store->settings.provisional_part != 0)
		atomic_store_explicit(&entry->sent, SENT_MORE, memory_order_relaxed);
	(void)publish(store, &making, hash);
	if (!former->is_proven) {
		provisional_enter_anyway(&store->provisional);
		if (store->settings.provisional_part != 0)
			index_queue_push(&store->provisional.queue, index_of(store, entry));
	}
	return ENTRY_PUT;
}

uint32_t connection_store_pool_capacity(const struct connection_store *store)
{
	return store->pool != NULL ? address_pool_capacity(store->pool) : 0;
}

bool connection_store_wants_spares(const struct connection_store *store)
{
	const struct address_pool *pool = rcu_read(store->pool);

	return pool != NULL && address_pool_wants_spares(pool);
}

void connection_store_refill_spares(struct connection_store *store, uint32_t now)
{
	if (store->pool != NULL)
		address_pool_refill_spares(store->pool, now);
}
