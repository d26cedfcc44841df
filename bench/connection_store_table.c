/* connection_store as bench/store asks it: server mode, with a pool as the program makes it. */
#include "base/clock.h"
#include "peers/connection_store.h"
#include "table.h"

#include <arpa/inet.h>

enum { QUARANTINE = 1200 };

static bool set_pool(struct connection_store *store, uint32_t max_entries)
{
	const struct ip_address own = ip_address_from_ipv4(htonl(TABLE_NETWORK + 1));
	struct pool_range range = {
		.prefix = {.address = ip_address_from_ipv4(htonl(TABLE_NETWORK)),
			   .length = IPV4_MAPPED_BITS + TABLE_NETWORK_BITS},
		.excluded = &own,
		.excluded_count = 1,
		.max_slots = max_entries * POOL_SLOTS_PER_ENTRY,
	};
	uint32_t lost;

	return connection_store_set_pool(store, &range, monotonic_seconds(), NULL, NULL, &lost);
}

static void *create(uint32_t max_entries)
{
	struct connection_store *store =
		connection_store_create(&(struct connection_store_settings){
			.max_entries = max_entries,
			.quarantine = QUARANTINE,
			.gives_tunnel_address = true,
		});

	if (store == NULL || set_pool(store, max_entries))
		return store;
	connection_store_destroy(store);
	return NULL;
}

static void destroy(void *table)
{
	connection_store_destroy(table);
}

static size_t find_peers(void *table, const struct peer *peers, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += connection_store_find_peer(table, &peers[i]) != NULL;
	return found;
}

static size_t find_tunnel_addresses(void *table, const struct ip_address *addresses, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += connection_store_find_tunnel_address(table, &addresses[i]) != NULL;
	return found;
}

static size_t refresh(void *table, const struct peer *peers, size_t count, uint32_t now)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		struct peer_entry *entry = connection_store_find_peer(table, &peers[i]);

		if (entry == NULL)
			continue;
		peer_entry_refresh(&entry->last_received, now);
		found++;
	}
	return found;
}

static size_t insert(void *table, const struct peer *peers, size_t count, uint32_t now)
{
	size_t made = 0;

	for (size_t i = 0; i < count; i++) {
		enum obtain_result result;

		(void)connection_store_obtain(table, &peers[i], now, &result);
		made += result == ENTRY_MADE || result == ENTRY_MADE_IN_QUARANTINE;
	}
	return made;
}

static bool is_over(struct peer_entry *entry, void *argument)
{
	const uint32_t *now = argument;

	return seconds_since(atomic_load_explicit(&entry->last_received, memory_order_relaxed),
			     *now) > TABLE_TIMEOUT;
}

static uint32_t expire(void *table, uint32_t now)
{
	return connection_store_sweep(table, now, is_over, NULL, &now);
}

static struct ip_address tunnel_address_of(void *table, const struct peer *peer)
{
	const struct peer_entry *entry = connection_store_find_peer(table, peer);

	return entry != NULL ? entry->tunnel_address : (struct ip_address){{0}};
}

const struct table_operations connection_store_table = {
	.name = "connection_store",
	.create = create,
	.destroy = destroy,
	.find_peers = find_peers,
	.find_tunnel_addresses = find_tunnel_addresses,
	.refresh = refresh,
	.insert = insert,
	.expire = expire,
	.tunnel_address_of = tunnel_address_of,
};
