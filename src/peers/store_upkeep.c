/*
 * connection_store: what the control thread does with it, but for moves: removals, the pool,
 * newcomers, iteration; see connection_store.h for the theory of operation.
 */
#include "peers/store.h"

#include "base/clock.h"

void store_unlink_key(struct connection_store *store, struct key *key,
		      struct departures *departures)
{
	key_index_remove(&store->index, key);
	key->next_alias = departures->keys;
	departures->keys = (uint32_t)(key - store->index.keys) + 1;
}

void store_forget_alias(struct connection_store *store, struct entry *entry,
			const struct key *alias)
{
	uint32_t *link = &entry->aliases;

	while (&store->index.keys[*link - 1] != alias)
		link = &store->index.keys[*link - 1].next_alias;
	*link = alias->next_alias;
	store->alias_count--;
}

void store_drop_old_aliases(struct connection_store *store, struct entry *entry, uint32_t now,
			    struct departures *departures)
{
	uint32_t next;

	for (uint32_t at = entry->aliases; at != 0; at = next) {
		struct key *alias = &store->index.keys[at - 1];

		next = alias->next_alias;
		/* times are whole seconds: only more than the limit is surely the limit */
		if (seconds_since(alias->alias_since, now) <= ALIAS_SECONDS)
			continue;
		store_forget_alias(store, entry, alias);
		store_unlink_key(store, alias, departures);
	}
}

/* An entry's own current key, or NULL: it has none, or the key leads to another entry by now. */
static struct key *current_key(const struct connection_store *store, const struct entry *entry)
{
	struct destination *destination = entry->public.destination;
	struct key *key;

	if (destination == NULL)
		return NULL;
	key = key_of_destination(destination);
	return key_entry(key) == index_of(store, &entry->public) ? key : NULL;
}

static void release_address(struct connection_store *store, const struct entry *entry, uint32_t now,
			    bool has_quarantine)
{
	const struct key *key = current_key(store, entry);
	struct address_pool *pool = store->pool;
	uint32_t fingerprint = 0; /* nobody's: whose source was taken away comes from another one */
	uint32_t offset;

	if (pool == NULL)
		return;
	offset = address_pool_offset(pool, &entry->public.tunnel_address);
	if (offset == POOL_NONE ||
	    address_pool_holder(pool, offset) != index_of(store, &entry->public) + 1)
		return;
	if (!has_quarantine) {
		address_pool_unclaim(pool, offset);
		return;
	}
	if (key != NULL) {
		const struct peer *peer = &key->destination.peer;

		fingerprint = fingerprint_of(key_index_hash(&store->index, peer));
		address_pool_note_elsewhere(pool, peer, offset, now);
	}
	address_pool_release(pool, offset, fingerprint, now);
}

/*
 * The address goes first: a peer that comes back at this very moment finds its old entry, or its
 * old address free. It is free for others as well before the grace period ends, but only when there
 * is no quarantine or no other address left.
 */
void store_unlink_entry(struct connection_store *store, struct entry *entry, uint32_t now,
			bool has_quarantine, struct departures *departures)
{
	struct key *key = current_key(store, entry);

	(void)store_end_provisional(store, entry);
	release_address(store, entry, now, has_quarantine);
	while (entry->aliases != 0) {
		struct key *alias = &store->index.keys[entry->aliases - 1];

		store_forget_alias(store, entry, alias);
		store_unlink_key(store, alias, departures);
	}
	if (key != NULL)
		store_unlink_key(store, key, departures);
	atomic_store_explicit(&entry->public.is_live, false, memory_order_relaxed);
	atomic_fetch_sub_explicit(&store->count, 1, memory_order_relaxed);
	entry->aliases = departures->entries;
	departures->entries = index_of(store, &entry->public) + 1;
	departures->count++;
}

static bool has_gone(uint32_t index, void *argument)
{
	const struct connection_store *store = argument;

	return !is_live(&store->entries[index]);
}

static bool has_ended_trial(uint32_t index, void *argument)
{
	const struct connection_store *store = argument;

	return peer_entry_is_proven(&store->entries[index].public);
}

void store_end_departures(struct connection_store *store, struct departures *departures)
{
	if (departures->entries == 0 && departures->keys == 0)
		return;
	rcu_wait_for_readers();
	if (store->settings.keeps_records)
		index_queue_filter(&store->newcomers.untold, has_gone, store);
	index_queue_filter(&store->provisional.queue, has_ended_trial, store);
	while (departures->keys != 0) {
		struct key *key = &store->index.keys[departures->keys - 1];

		departures->keys = key->next_alias;
		key_index_give(&store->index, key);
	}
	while (departures->entries != 0) {
		uint32_t place = departures->entries - 1;

		departures->entries = store->entries[place].aliases;
		free_list_give(&store->free, place);
	}
}

struct connection_store_iterator connection_store_begin(const struct connection_store *store)
{
	return (struct connection_store_iterator){.end = free_list_touched(&store->free)};
}

bool connection_store_visit(struct connection_store *store,
			    struct connection_store_iterator *iterator, uint32_t places,
			    void (*visit)(struct peer_entry *entry, void *argument), void *argument)
{
	for (; places > 0 && iterator->next < iterator->end; places--, iterator->next++) {
		struct entry *entry = &store->entries[iterator->next];

		if (is_live(entry))
			visit(&entry->public, argument);
	}
	return iterator->next < iterator->end;
}

/* One pass over the entries that removes some. */
struct removal {
	struct connection_store *store;
	uint32_t now;
	entry_verdict *verdict;
	entry_removed *removed;
	void *argument;
	struct departures departures;
};

static void judge(struct peer_entry *public, void *argument)
{
	struct removal *removal = argument;
	struct entry *entry = entry_of(public);

	if (!removal->verdict(public, removal->argument)) {
		if (entry->aliases != 0)
			store_drop_old_aliases(removal->store, entry, removal->now,
					       &removal->departures);
		return;
	}
	store_unlink_entry(removal->store, entry, removal->now,
			   store_end_trial(removal->store, entry), &removal->departures);
	if (removal->removed != NULL)
		removal->removed(public, removal->argument);
}

uint32_t connection_store_sweep(struct connection_store *store, uint32_t now,
				entry_verdict *verdict, entry_removed *removed, void *argument)
{
	struct removal removal = {store, now, verdict, removed, argument, {0}};
	struct connection_store_iterator iterator = connection_store_begin(store);

	(void)connection_store_visit(store, &iterator, UINT32_MAX, judge, &removal);
	store_end_departures(store, &removal.departures);
	return removal.departures.count;
}

/* Makes the entries whose address the pool has its holders. */
static void adopt_entries(struct connection_store *store, struct address_pool *pool)
{
	uint32_t touched = free_list_touched(&store->free);

	for (uint32_t i = 0; i < touched; i++) {
		struct entry *entry = &store->entries[i];
		uint32_t offset;

		if (!is_live(entry))
			continue;
		offset = address_pool_offset(pool, &entry->public.tunnel_address);
		if (offset != POOL_NONE && address_pool_claim_offset(pool, offset))
			address_pool_publish(pool, offset, i + 1);
	}
}

struct pool_change {
	struct connection_store *store;
	entry_removed *removed;
	void *argument;
};

static bool has_lost_its_address(struct peer_entry *entry, void *argument)
{
	const struct connection_store *store = ((struct pool_change *)argument)->store;
	uint32_t offset = address_pool_offset(store->pool, &entry->tunnel_address);

	return offset == POOL_NONE ||
	       address_pool_holder(store->pool, offset) != index_of(store, entry) + 1;
}

static void tell_removed(const struct peer_entry *entry, void *argument)
{
	const struct pool_change *change = argument;

	if (change->removed != NULL)
		change->removed(entry, change->argument);
}

bool connection_store_set_pool(struct connection_store *store, const struct pool_range *range,
			       uint32_t now, entry_removed *removed, void *argument, uint32_t *lost)
{
	struct pool_change change = {store, removed, argument};
	struct address_pool *pool = address_pool_create(range, store->settings.quarantine);
	struct address_pool *previous = store->pool;

	if (pool == NULL)
		return false;
	if (previous != NULL)
		address_pool_inherit(pool, previous);
	adopt_entries(store, pool);
	store_share_out(store, pool);
	rcu_publish(store->pool, pool);
	/* From here on nobody makes an entry in the previous pool; those that were just made there
	 * are adopted now. */
	rcu_wait_for_readers();
	adopt_entries(store, pool);
	address_pool_destroy(previous);
	*lost = connection_store_sweep(store, now, has_lost_its_address, tell_removed, &change);
	address_pool_refill_spares(pool, now);
	return true;
}

void connection_store_take_newcomers(struct connection_store *store,
				     void (*came)(const struct peer_entry *entry, void *argument),
				     void *argument)
{
	uint32_t next;

	index_queue_take_over(&store->newcomers.untold);
	while ((next = index_queue_next(&store->newcomers.untold)) != 0)
		came(&store->entries[next - 1].public, argument);
}
