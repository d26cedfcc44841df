/*
 * What bench/store measures: a table of peers behind one set of operations, so that
 * connection_store and the plain alternative are asked the same questions.
 *
 * Each operation takes a run of keys, as a worker takes a batch of messages: the indirect call then
 * costs nothing that shows.
 */
#ifndef UDP_ENCAP_TUN_TABLE_H
#define UDP_ENCAP_TUN_TABLE_H

#include "base/address.h"

enum {
	TABLE_TIMEOUT = 300, /* seconds until an entry is over, as the program has it by default */
	/* 10.0.0.0/8: where both tables' tunnel addresses come from */
	TABLE_NETWORK = 0x0a000000,
	TABLE_NETWORK_BITS = 8,
};

struct table_operations {
	const char *name;
	/* NULL when there is no memory */
	void *(*create)(uint32_t max_entries);
	void (*destroy)(void *table);

	/* Workers, any number of them at a time; each returns how many of the keys it found. */
	size_t (*find_peers)(void *table, const struct peer *peers, size_t count);
	size_t (*find_tunnel_addresses)(void *table, const struct ip_address *addresses,
					size_t count);
	size_t (*refresh)(void *table, const struct peer *peers, size_t count, uint32_t now);

	/* Worker: makes entries, returns how many. */
	size_t (*insert)(void *table, const struct peer *peers, size_t count, uint32_t now);
	/* One thread beside the workers: removes entries that nothing was received for lately. */
	uint32_t (*expire)(void *table, uint32_t now);

	/* all zero: no such peer */
	struct ip_address (*tunnel_address_of)(void *table, const struct peer *peer);
};

extern const struct table_operations connection_store_table;
extern const struct table_operations mutex_table;

#endif
