/* Keys; see key_index.h for the theory of operation. */
#include "peers/key_index.h"

#include "base/lazy_memory.h"

#include <sys/random.h>

static unsigned long power_of_two(uint32_t at_least)
{
	unsigned long power = 1;

	while (power < at_least)
		power <<= 1;
	return power;
}

bool key_index_open(struct key_index *index, uint32_t entries, uint32_t aliases)
{
	uint32_t keys = entries + aliases;

	memset(index, 0, sizeof(*index));
	if (getrandom(&index->hash_key, sizeof(index->hash_key), 0) !=
	    (ssize_t)sizeof(index->hash_key))
		return false;
	index->keys = lazy_memory_map(keys * sizeof(*index->keys));
	if (index->keys == NULL)
		return false;
	free_list_init(&index->free, &index->keys->entry, sizeof(*index->keys), keys);
	/* Of fixed size: growing would allocate on the packet path. */
	index->table = rcu_hash_create(power_of_two(entries));
	return index->table != NULL;
}

void key_index_close(struct key_index *index)
{
	if (index->table != NULL)
		rcu_hash_destroy(index->table);
	lazy_memory_unmap(index->keys, index->free.places * sizeof(*index->keys));
}

/* caa_container_of() casts const away, which clang takes exception to */
static struct key *key_of(struct cds_lfht_node *node)
{
	return (struct key *)(void *)((char *)node - offsetof(struct key, node));
}

static int node_is_peer(struct cds_lfht_node *node, const void *peer)
{
	rcu_hash_read(node);
	return peer_equal(&key_of(node)->destination.peer, peer);
}

struct key *key_index_find(const struct key_index *index, const struct peer *peer, uint64_t hash)
{
	struct cds_lfht_node *node = rcu_hash_find(index->table, (unsigned long)hash, node_is_peer,
						   peer);

	return node == NULL ? NULL : key_of(node);
}

struct key *key_index_take(struct key_index *index, const struct peer *peer, uint32_t entry)
{
	uint32_t place = free_list_take(&index->free);
	struct key *key;

	if (place == FREE_LIST_IS_EMPTY)
		return NULL;
	key = &index->keys[place];
	cds_lfht_node_init(&key->node);
	key->destination.peer = *peer;
	atomic_store_explicit(&key->entry, entry, memory_order_relaxed);
	key->next_alias = 0;
	return key;
}

struct key *key_index_publish(struct key_index *index, struct key *key, uint64_t hash)
{
	struct cds_lfht_node *node = rcu_hash_add_unique(index->table, (unsigned long)hash,
							 node_is_peer, &key->destination.peer,
							 &key->node);

	return key_of(node);
}

void key_index_remove(struct key_index *index, struct key *key)
{
	rcu_hash_remove(index->table, &key->node);
}

void key_index_give(struct key_index *index, struct key *key)
{
	free_list_give(&index->free, (uint32_t)(key - index->keys));
}
