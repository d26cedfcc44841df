/*
 * The plain alternative to connection_store: a chained hash table behind one mutex, as small as it
 * can be, with the same hash. It is what bench/store compares with, and nothing to use.
 *
 * Entries lie in one array, whose index also is the tunnel address: by tunnel address nothing is
 * simpler. (A peer that comes back gets another address, which a server must not do.) The mutex is
 * held for one lookup at a time, and for a whole expiry.
 */
#include "base/clock.h"
#include "peers/peer_hash.h"
#include "table.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

/* The same fields as in struct connection, so that memory compares. */
struct entry {
	struct entry *next; /* of the bucket or of the free entries */
	struct peer peer;
	struct ip_address tunnel_address; /* all zero: the entry is free */
	struct ip_address local;
	uint32_t last_received;
	uint32_t last_sent;
	uint32_t last_tcp;
	uint32_t made;
	uint64_t bytes_in;
	uint64_t bytes_out;
};

struct table {
	pthread_mutex_t mutex;
	struct siphash_key key;
	uint32_t max_entries;
	uint32_t touched; /* entries used at least once */
	size_t bucket_mask;
	struct entry *free;
	struct entry *entries;
	struct entry **buckets;
};

static bool is_free(const struct entry *entry)
{
	return ip_address_equal(&entry->tunnel_address, &(struct ip_address){{0}});
}

static void destroy(void *argument)
{
	struct table *table = argument;

	free(table->entries);
	free(table->buckets);
	free(table);
}

static void *create(uint32_t max_entries)
{
	struct table *table = calloc(1, sizeof(*table));
	size_t buckets = 1;

	if (table == NULL)
		return NULL;
	while (buckets < max_entries)
		buckets <<= 1;
	pthread_mutex_init(&table->mutex, NULL);
	table->max_entries = max_entries;
	table->bucket_mask = buckets - 1;
	table->buckets = calloc(buckets, sizeof(struct entry *));
	table->entries = calloc(max_entries, sizeof(*table->entries));
	if (table->buckets != NULL && table->entries != NULL &&
	    getrandom(&table->key, sizeof(table->key), 0) == (ssize_t)sizeof(table->key))
		return table;
	destroy(table);
	return NULL;
}

static struct entry **bucket_of(struct table *table, const struct peer *peer)
{
	return &table->buckets[peer_hash(&table->key, peer) & table->bucket_mask];
}

static struct entry *find(struct table *table, const struct peer *peer)
{
	struct entry *entry = *bucket_of(table, peer);

	while (entry != NULL && !peer_equal(&entry->peer, peer))
		entry = entry->next;
	return entry;
}

static size_t find_peers(void *argument, const struct peer *peers, size_t count)
{
	struct table *table = argument;
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		pthread_mutex_lock(&table->mutex);
		found += find(table, &peers[i]) != NULL;
		pthread_mutex_unlock(&table->mutex);
	}
	return found;
}

static size_t find_tunnel_addresses(void *argument, const struct ip_address *addresses,
				    size_t count)
{
	struct table *table = argument;
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t index = ntohl(ip_address_ipv4(&addresses[i])) - TABLE_NETWORK - 1;

		pthread_mutex_lock(&table->mutex);
		found += index < table->touched && !is_free(&table->entries[index]);
		pthread_mutex_unlock(&table->mutex);
	}
	return found;
}

static size_t refresh(void *argument, const struct peer *peers, size_t count, uint32_t now)
{
	struct table *table = argument;
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		struct entry *entry;

		pthread_mutex_lock(&table->mutex);
		entry = find(table, &peers[i]);
		if (entry != NULL) {
			entry->last_received = now;
			found++;
		}
		pthread_mutex_unlock(&table->mutex);
	}
	return found;
}

static struct entry *take_entry(struct table *table)
{
	struct entry *entry = table->free;

	if (entry != NULL)
		table->free = entry->next;
	else if (table->touched < table->max_entries)
		entry = &table->entries[table->touched++];
	return entry;
}

/* Returns false when the peer has an entry or there is no room for one. */
static bool make(struct table *table, const struct peer *peer, uint32_t now)
{
	struct entry **bucket = bucket_of(table, peer);
	struct entry *entry = find(table, peer) == NULL ? take_entry(table) : NULL;

	if (entry == NULL)
		return false;
	*entry = (struct entry){
		.next = *bucket,
		.peer = *peer,
		.tunnel_address = ip_address_from_ipv4(
			htonl(TABLE_NETWORK + 1 + (uint32_t)(entry - table->entries))),
		.last_received = now,
		.last_sent = now,
		.last_tcp = now,
		.made = now,
	};
	*bucket = entry;
	return true;
}

static size_t insert(void *argument, const struct peer *peers, size_t count, uint32_t now)
{
	struct table *table = argument;
	size_t made = 0;

	for (size_t i = 0; i < count; i++) {
		pthread_mutex_lock(&table->mutex);
		made += make(table, &peers[i], now);
		pthread_mutex_unlock(&table->mutex);
	}
	return made;
}

static void remove_entry(struct table *table, struct entry *entry)
{
	struct entry **link = bucket_of(table, &entry->peer);

	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	memset(&entry->tunnel_address, 0, sizeof(entry->tunnel_address));
	entry->next = table->free;
	table->free = entry;
}

static uint32_t expire(void *argument, uint32_t now)
{
	struct table *table = argument;
	uint32_t count = 0;

	pthread_mutex_lock(&table->mutex);
	for (uint32_t i = 0; i < table->touched; i++) {
		struct entry *entry = &table->entries[i];

		if (is_free(entry) || seconds_since(entry->last_received, now) <= TABLE_TIMEOUT)
			continue;
		remove_entry(table, entry);
		count++;
	}
	pthread_mutex_unlock(&table->mutex);
	return count;
}

static struct ip_address tunnel_address_of(void *table, const struct peer *peer)
{
	const struct entry *entry = find(table, peer);

	return entry != NULL ? entry->tunnel_address : (struct ip_address){{0}};
}

const struct table_operations mutex_table = {
	.name = "mutex",
	.create = create,
	.destroy = destroy,
	.find_peers = find_peers,
	.find_tunnel_addresses = find_tunnel_addresses,
	.refresh = refresh,
	.insert = insert,
	.expire = expire,
	.tunnel_address_of = tunnel_address_of,
};
