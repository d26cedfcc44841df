/* connection_store; see connection_store.h for the theory of operation. */
#include "peers/connection_store.h"

#include "base/clock.h"
#include "base/lazy_memory.h"
#include "peers/peer_hash.h"

#include <stdlib.h>
#include <sys/random.h>

struct connection_store {
	struct connection_store_settings settings;
	struct peer_hash_key key;
	struct cds_lfht *by_peer;
	struct address_pool *pool; /* RCU-protected */
	struct connection *entries;
	struct connection_record *records; /* of the entries; NULL: not kept */
	/* Written by whoever makes or removes an entry: kept off the lines that lookups read. */
	_Alignas(64) _Atomic uint64_t free_list; /* tag << 32 | index + 1, see take_entry() */
	_Atomic uint32_t touched;                /* entries used at least once */
	_Atomic uint32_t count;
	_Atomic uint32_t newcomers; /* index + 1 of the youngest */
	/* Newcomers that the control thread has taken over but not told of yet, oldest first. Only
	 * it touches these, and the entries' links once they are in here. */
	uint32_t oldest_untold; /* index + 1 */
	uint32_t youngest_untold;
};

static unsigned long power_of_two(uint32_t at_least)
{
	unsigned long power = 1;

	while (power < at_least)
		power <<= 1;
	return power;
}

static size_t entries_size(const struct connection_store *store)
{
	return store->settings.max_connections * sizeof(*store->entries);
}

static size_t records_size(const struct connection_store *store)
{
	return store->settings.max_connections * sizeof(*store->records);
}

struct connection_store *connection_store_create(const struct connection_store_settings *settings)
{
	struct connection_store *store = aligned_alloc(64, sizeof(*store));
	unsigned long buckets = power_of_two(settings->max_connections);

	if (store == NULL)
		return NULL;
	memset(store, 0, sizeof(*store));
	store->settings = *settings;
	if (getrandom(&store->key, sizeof(store->key), 0) != (ssize_t)sizeof(store->key)) {
		free(store);
		return NULL;
	}
	store->entries = lazy_memory_map(entries_size(store));
	if (settings->keeps_records)
		store->records = lazy_memory_map(records_size(store));
	/* Of fixed size: growing would allocate on the packet path. */
	store->by_peer = cds_lfht_new_flavor(buckets, buckets, buckets, 0, &urcu_qsbr_flavor, NULL);
	if (store->entries != NULL && store->by_peer != NULL &&
	    (store->records != NULL || !settings->keeps_records))
		return store;
	connection_store_destroy(store);
	return NULL;
}

static uint32_t index_of(const struct connection_store *store, const struct connection *entry)
{
	return (uint32_t)(entry - store->entries);
}

void connection_store_destroy(struct connection_store *store)
{
	if (store == NULL)
		return;
	for (uint32_t i = 0; i < atomic_load(&store->touched); i++) {
		if (atomic_load(&store->entries[i].is_live))
			cds_lfht_del(store->by_peer, &store->entries[i].node);
	}
	if (store->by_peer != NULL)
		cds_lfht_destroy(store->by_peer, NULL);
	address_pool_destroy(store->pool);
	lazy_memory_unmap(store->records, records_size(store));
	lazy_memory_unmap(store->entries, entries_size(store));
	free(store);
}

/*
 * Free entries are a stack linked by index (Treiber 1986). The upper half of its head counts the
 * changes, so that a compare-and-swap cannot succeed on a head that was taken and put back while
 * the successor was being read. Acquire on taking pairs with release on giving: the entry's last
 * user is done with it.
 */
static struct connection *take_entry(struct connection_store *store)
{
	uint64_t head = atomic_load_explicit(&store->free_list, memory_order_acquire);
	uint32_t fresh;

	while ((uint32_t)head != 0) {
		struct connection *entry = &store->entries[(uint32_t)head - 1];
		uint64_t next = atomic_load_explicit(&entry->next, memory_order_relaxed);

		if (atomic_compare_exchange_weak_explicit(
			    &store->free_list, &head, ((head >> 32) + 1) << 32 | next,
			    memory_order_acquire, memory_order_acquire))
			return entry;
	}
	fresh = atomic_load_explicit(&store->touched, memory_order_relaxed);
	while (fresh < store->settings.max_connections) {
		if (atomic_compare_exchange_weak_explicit(&store->touched, &fresh, fresh + 1,
							  memory_order_relaxed,
							  memory_order_relaxed))
			return &store->entries[fresh];
	}
	return NULL;
}

static void give_entry(struct connection_store *store, struct connection *entry)
{
	uint64_t head = atomic_load_explicit(&store->free_list, memory_order_relaxed);
	uint64_t new_head;

	do {
		atomic_store_explicit(&entry->next, (uint32_t)head, memory_order_relaxed);
		new_head = ((head >> 32) + 1) << 32 | (index_of(store, entry) + 1);
	} while (!atomic_compare_exchange_weak_explicit(
		&store->free_list, &head, new_head, memory_order_release, memory_order_relaxed));
}

/* caa_container_of() casts const away, which clang takes exception to */
static struct connection *entry_of(struct cds_lfht_node *node)
{
	return (struct connection *)(void *)((char *)node - offsetof(struct connection, node));
}

static int node_is_peer(struct cds_lfht_node *node, const void *key)
{
	return peer_equal(&entry_of(node)->peer, key);
}

static struct connection *find(struct connection_store *store, const struct peer *peer,
			       uint64_t hash)
{
	struct cds_lfht_iter iterator;
	struct cds_lfht_node *node;

	cds_lfht_lookup(store->by_peer, (unsigned long)hash, node_is_peer, peer, &iterator);
	node = cds_lfht_iter_get_node(&iterator);
	return node == NULL ? NULL : entry_of(node);
}

struct connection *connection_store_find_peer(struct connection_store *store,
					      const struct peer *peer)
{
	return find(store, peer, peer_hash(&store->key, peer));
}

struct connection *connection_store_find_tunnel_address(struct connection_store *store,
							const struct ip_address *address)
{
	const struct address_pool *pool = rcu_dereference(store->pool);
	uint32_t offset, holder;

	if (pool == NULL)
		return NULL;
	offset = address_pool_offset(pool, address);
	if (offset == POOL_NONE)
		return NULL;
	holder = address_pool_holder(pool, offset);
	if (holder == POOL_SLOT_FREE || holder >= POOL_SLOT_CLAIMED)
		return NULL;
	return &store->entries[holder - 1];
}

static uint32_t fingerprint_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

struct connection_record *connection_store_record(const struct connection_store *store,
						  const struct connection *connection)
{
	return &store->records[index_of(store, connection)];
}

static void begin_record(struct connection_record *record, uint32_t now)
{
	record->made = now;
	atomic_store_explicit(&record->bytes_in, 0, memory_order_relaxed);
	atomic_store_explicit(&record->bytes_out, 0, memory_order_relaxed);
}

static void fill_entry(struct connection *entry, const struct peer *peer, uint32_t now)
{
	entry->peer = *peer;
	memset(&entry->tunnel_address, 0, sizeof(entry->tunnel_address));
	for (size_t i = 0; i < 4; i++)
		atomic_store_explicit(&entry->local.words[i], 0, memory_order_relaxed);
	atomic_store_explicit(&entry->last_received, now, memory_order_relaxed);
	atomic_store_explicit(&entry->last_sent, now, memory_order_relaxed);
	atomic_store_explicit(&entry->last_tcp, now, memory_order_relaxed);
	cds_lfht_node_init(&entry->node);
}

static void list_newcomer(struct connection_store *store, struct connection *entry)
{
	uint32_t youngest = atomic_load_explicit(&store->newcomers, memory_order_relaxed);

	do {
		store->records[index_of(store, entry)].next_newcomer = youngest;
	} while (!atomic_compare_exchange_weak_explicit(
		&store->newcomers, &youngest, index_of(store, entry) + 1, memory_order_release,
		memory_order_relaxed));
}

/* Publishes a filled entry, or gives it back when the peer has got one in the meantime. */
static struct connection *publish(struct connection_store *store, struct connection *entry,
				  struct address_pool *pool, uint32_t offset, uint64_t hash)
{
	struct cds_lfht_node *node = cds_lfht_add_unique(store->by_peer, (unsigned long)hash,
							 node_is_peer, &entry->peer, &entry->node);

	if (node != &entry->node) {
		if (pool != NULL)
			address_pool_unclaim(pool, offset);
		give_entry(store, entry);
		return entry_of(node);
	}
	if (pool != NULL)
		address_pool_publish(pool, offset, index_of(store, entry) + 1);
	atomic_fetch_add_explicit(&store->count, 1, memory_order_relaxed);
	/* release: the control thread reads the entry when it sees this */
	atomic_store_explicit(&entry->is_live, true, memory_order_release);
	if (store->records != NULL)
		list_newcomer(store, entry);
	return entry;
}

static struct connection *make(struct connection_store *store, const struct peer *peer,
			       uint64_t hash, uint32_t now, enum connection_result *result)
{
	struct address_pool *pool = rcu_dereference(store->pool);
	enum pool_claim claim = POOL_CLAIMED;
	struct connection *entry, *published;
	uint32_t offset = POOL_NONE;

	if (store->settings.gives_tunnel_address && pool == NULL) {
		*result = CONNECTION_HAS_NO_POOL;
		return NULL;
	}
	*result = CONNECTION_REFUSED;
	entry = take_entry(store);
	if (entry == NULL)
		return NULL;
	if (pool != NULL)
		claim = address_pool_claim(pool, peer, fingerprint_of(hash), now, &offset);
	if (claim == POOL_IS_FULL) {
		give_entry(store, entry);
		return NULL;
	}
	fill_entry(entry, peer, now);
	if (store->records != NULL)
		begin_record(connection_store_record(store, entry), now);
	if (pool != NULL)
		entry->tunnel_address = address_pool_address(pool, offset);
	published = publish(store, entry, pool, offset, hash);
	if (published != entry)
		*result = CONNECTION_FOUND;
	else
		*result = claim == POOL_CLAIMED_IN_QUARANTINE ? CONNECTION_MADE_IN_QUARANTINE
							      : CONNECTION_MADE;
	return published;
}

struct connection *connection_store_obtain(struct connection_store *store, const struct peer *peer,
					   uint32_t now, enum connection_result *result)
{
	uint64_t hash = peer_hash(&store->key, peer);
	struct connection *entry = find(store, peer, hash);

	if (entry == NULL)
		return make(store, peer, hash, now, result);
	*result = CONNECTION_FOUND;
	return entry;
}

struct ip_address connection_local(const struct connection *connection)
{
	struct ip_address local;

	for (size_t i = 0; i < 4; i++) {
		uint32_t word = atomic_load_explicit(&connection->local.words[i],
						     memory_order_relaxed);
		memcpy(&local.bytes[4 * i], &word, sizeof(word));
	}
	return local;
}

void connection_set_local(struct connection *connection, const struct ip_address *local)
{
	for (size_t i = 0; i < 4; i++) {
		uint32_t word;

		memcpy(&word, &local->bytes[4 * i], sizeof(word));
		connection_refresh(&connection->local.words[i], word);
	}
}

uint32_t connection_store_count(const struct connection_store *store)
{
	return atomic_load_explicit(&store->count, memory_order_relaxed);
}

/*
 * Takes an entry out of both indexes. The address goes first: a peer that comes back at this very
 * moment finds its old entry, or its old address free. It is free for others as well before the
 * grace period ends, but only when there is no quarantine or no other address left.
 */
static void unlink_entry(struct connection_store *store, struct connection *entry, uint32_t now)
{
	uint32_t fingerprint = fingerprint_of(peer_hash(&store->key, &entry->peer));
	struct address_pool *pool = store->pool;

	if (pool != NULL) {
		uint32_t offset = address_pool_offset(pool, &entry->tunnel_address);

		if (offset != POOL_NONE &&
		    address_pool_holder(pool, offset) == index_of(store, entry) + 1)
			address_pool_release(pool, offset, fingerprint, now);
	}
	cds_lfht_del(store->by_peer, &entry->node);
	atomic_store_explicit(&entry->is_live, false, memory_order_relaxed);
	atomic_fetch_sub_explicit(&store->count, 1, memory_order_relaxed);
}

static bool is_live(const struct connection *entry)
{
	return atomic_load_explicit(&entry->is_live, memory_order_acquire);
}

/* Moves what the workers listed, youngest first, to the end of the control thread's own list. */
static void take_over_newcomers(struct connection_store *store)
{
	/* acquire pairs with list_newcomer()'s release: the entries are complete */
	uint32_t youngest = atomic_exchange_explicit(&store->newcomers, 0, memory_order_acquire);
	uint32_t last = youngest;
	uint32_t oldest = 0;

	while (youngest != 0) {
		struct connection_record *record = &store->records[youngest - 1];
		uint32_t older = record->next_newcomer;

		record->next_newcomer = oldest;
		oldest = youngest;
		youngest = older;
	}
	if (oldest == 0)
		return;
	if (store->youngest_untold != 0)
		store->records[store->youngest_untold - 1].next_newcomer = oldest;
	else
		store->oldest_untold = oldest;
	store->youngest_untold = last;
}

/* Entries that went are about to be used again: they must not stand in a list. */
static void forget_newcomers_that_went(struct connection_store *store)
{
	uint32_t *link = &store->oldest_untold;

	take_over_newcomers(store);
	store->youngest_untold = 0;
	while (*link != 0) {
		struct connection_record *record = &store->records[*link - 1];

		if (!is_live(&store->entries[*link - 1])) {
			*link = record->next_newcomer;
			continue;
		}
		store->youngest_untold = *link;
		link = &record->next_newcomer;
	}
}

uint32_t connection_store_sweep(struct connection_store *store, uint32_t now,
				connection_verdict *verdict, connection_removed *removed,
				void *argument)
{
	uint32_t touched = atomic_load_explicit(&store->touched, memory_order_relaxed);
	uint32_t going = 0, count = 0;

	for (uint32_t i = 0; i < touched; i++) {
		struct connection *entry = &store->entries[i];

		if (!is_live(entry) || !verdict(entry, argument))
			continue;
		unlink_entry(store, entry, now);
		if (removed != NULL)
			removed(entry, argument);
		atomic_store_explicit(&entry->next, going, memory_order_relaxed);
		going = i + 1;
		count++;
	}
	if (count > 0) {
		/* a worker that made one of them has also listed it when this returns */
		urcu_qsbr_synchronize_rcu();
		forget_newcomers_that_went(store);
	}
	while (going != 0) {
		struct connection *entry = &store->entries[going - 1];

		going = atomic_load_explicit(&entry->next, memory_order_relaxed);
		give_entry(store, entry);
	}
	return count;
}

/* Makes the entries whose address the pool has its holders. */
static void adopt_entries(struct connection_store *store, struct address_pool *pool)
{
	uint32_t touched = atomic_load_explicit(&store->touched, memory_order_relaxed);

	for (uint32_t i = 0; i < touched; i++) {
		struct connection *entry = &store->entries[i];
		uint32_t offset;

		if (!is_live(entry))
			continue;
		offset = address_pool_offset(pool, &entry->tunnel_address);
		if (offset != POOL_NONE && address_pool_claim_offset(pool, offset))
			address_pool_publish(pool, offset, i + 1);
	}
}

struct pool_change {
	struct connection_store *store;
	connection_removed *removed;
	void *argument;
};

static bool has_lost_its_address(struct connection *entry, void *argument)
{
	const struct connection_store *store = ((struct pool_change *)argument)->store;
	uint32_t offset = address_pool_offset(store->pool, &entry->tunnel_address);

	return offset == POOL_NONE ||
	       address_pool_holder(store->pool, offset) != index_of(store, entry) + 1;
}

static void tell_removed(const struct connection *entry, void *argument)
{
	const struct pool_change *change = argument;

	if (change->removed != NULL)
		change->removed(entry, change->argument);
}

bool connection_store_set_pool(struct connection_store *store, const struct pool_range *range,
			       uint32_t now, connection_removed *removed, void *argument,
			       uint32_t *lost)
{
	struct pool_change change = {store, removed, argument};
	struct address_pool *pool = address_pool_create(range, store->settings.quarantine);
	struct address_pool *previous = store->pool;

	if (pool == NULL)
		return false;
	if (previous != NULL)
		address_pool_inherit(pool, previous);
	adopt_entries(store, pool);
	rcu_assign_pointer(store->pool, pool);
	/* From here on nobody makes an entry in the previous pool; those that were just made there
	 * are adopted now. */
	urcu_qsbr_synchronize_rcu();
	adopt_entries(store, pool);
	address_pool_destroy(previous);
	*lost = connection_store_sweep(store, now, has_lost_its_address, tell_removed, &change);
	address_pool_refill_reserve(pool, now);
	return true;
}

uint32_t connection_store_pool_capacity(const struct connection_store *store)
{
	return store->pool != NULL ? address_pool_capacity(store->pool) : 0;
}

bool connection_store_wants_refill(const struct connection_store *store)
{
	const struct address_pool *pool = rcu_dereference(store->pool);

	return pool != NULL && address_pool_wants_refill(pool);
}

void connection_store_refill_reserve(struct connection_store *store, uint32_t now)
{
	if (store->pool != NULL)
		address_pool_refill_reserve(store->pool, now);
}

void connection_store_take_newcomers(struct connection_store *store,
				     void (*came)(const struct connection *connection,
						  void *argument),
				     void *argument)
{
	take_over_newcomers(store);
	while (store->oldest_untold != 0) {
		uint32_t index = store->oldest_untold - 1;

		store->oldest_untold = store->records[index].next_newcomer;
		came(&store->entries[index], argument);
	}
	store->youngest_untold = 0;
}
