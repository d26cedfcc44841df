/*
 * Moves: another key for an entry.
 *
 * Theory of operation. A key that nobody has is made, with the entry behind it; one that somebody
 * has is given over by one store, so there is no moment at which it leads nowhere, or to two. Then
 * the entry's pointer is led to the new destination, and the old key becomes an alias. The entry
 * itself, its tunnel address and its slot in the pool are not touched. Readers that were on their
 * way through the old state go on in it; what became free is free after a grace period.
 */
#include "peers/store.h"

struct moving {
	struct connection_store *store;
	struct entry *entry;
	const struct move *move;
	uint32_t now;
	struct entry *bereft;  /* whose current key was taken; NULL: nobody's was */
	bool bereft_is_proven; /* when that was decided; a worker may prove it at any moment */
};

/* A worker that is just making the entry ends that before its next quiescent state. */
static struct entry *holder_of(struct connection_store *store, const struct key *key)
{
	struct entry *holder = &store->entries[key_entry(key)];

	if (!is_live(holder))
		rcu_wait_for_readers();
	return holder;
}

static bool is_current_key(const struct entry *entry, const struct key *key)
{
	return entry->public.destination == &key->destination;
}

/* For the key that the entry has now. */
static bool has_room_for_alias(const struct moving *moving)
{
	return moving->entry->public.destination == NULL ||
	       moving->store->alias_count < moving->store->max_aliases;
}

/* Takes another entry's current key over. */
static enum move_result take_current_key(struct moving *moving, struct entry *holder)
{
	bool is_proven = peer_entry_is_proven(&holder->public);

	if (is_proven && !moving->move->source_is_proven)
		return MOVE_REFUSED;
	if (!has_room_for_alias(moving))
		return MOVE_HAS_NO_ROOM;
	moving->bereft = holder;
	moving->bereft_is_proven = is_proven;
	return ENTRY_MOVED;
}

/* Takes an alias over, an own one or another entry's: the key that the entry has becomes one in its
 * place, so there is room for it. */
static enum move_result take_alias(struct moving *moving, struct entry *holder,
				   const struct key *key)
{
	if (holder != moving->entry && !moving->move->source_is_proven)
		return MOVE_REFUSED;
	store_forget_alias(moving->store, holder, key);
	return ENTRY_MOVED;
}

/* Takes a key that is in use over. */
static enum move_result take_over(struct moving *moving, struct key *key)
{
	struct entry *holder = holder_of(moving->store, key);
	enum move_result result;

	if (!is_current_key(holder, key))
		result = take_alias(moving, holder, key);
	else if (holder != moving->entry)
		result = take_current_key(moving, holder);
	else
		result = ENTRY_WAS_THERE;
	if (result == ENTRY_MOVED)
		key_give_to(key, index_of(moving->store, &moving->entry->public));
	return result;
}

/* Finds or makes the key to move to; it leads to the entry if the result is ENTRY_MOVED. */
static enum move_result find_or_make_key(struct moving *moving, struct key **key)
{
	struct key_index *index = &moving->store->index;
	const struct peer *peer = &moving->move->peer;
	uint64_t hash = key_index_hash(index, peer);
	struct key *found = key_index_find(index, peer, hash);
	struct key *fresh;

	if (found == NULL) {
		if (!has_room_for_alias(moving))
			return MOVE_HAS_NO_ROOM;
		fresh = key_index_take(index, peer,
				       index_of(moving->store, &moving->entry->public));
		if (fresh == NULL)
			return MOVE_HAS_NO_ROOM;
		found = key_index_publish(index, fresh, hash);
		*key = found;
		if (found == fresh)
			return ENTRY_MOVED;
		/* a worker has just made an entry for that source */
		key_index_give(index, fresh);
	}
	*key = found;
	return take_over(moving, found);
}

static void keep_as_alias(struct moving *moving, struct key *former)
{
	former->alias_since = moving->now;
	former->next_alias = moving->entry->aliases;
	moving->entry->aliases = (uint32_t)(former - moving->store->index.keys) + 1;
	moving->store->alias_count++;
}

/* The entry that lost its key is absorbed, dropped, or lives on without one. */
static void settle_bereft(struct moving *moving, entry_removed *removed, void *argument,
			  struct departures *departures)
{
	struct entry *bereft = moving->bereft;
	/* a worker may have proven it since that was decided */
	bool is_proven = moving->bereft_is_proven || !store_end_provisional(moving->store, bereft);

	if (is_proven && !moving->move->drops_former_holder) {
		rcu_publish(bereft->public.destination, NULL);
		return;
	}
	store_unlink_entry(moving->store, bereft, moving->now,
			   is_proven || moving->move->absorbs_with_quarantine, departures);
	if (removed != NULL)
		removed(&bereft->public, argument);
}

enum move_result connection_store_move(struct connection_store *store, struct peer_entry *entry,
				       const struct move *move, uint32_t now,
				       entry_removed *removed, void *argument)
{
	struct moving moving = {store, entry_of(entry), move, now, NULL, false};
	struct destination *former = entry->destination;
	struct departures departures = {0};
	struct key *key = NULL;
	enum move_result result = find_or_make_key(&moving, &key);

	if (result == ENTRY_MOVED) {
		rcu_publish(entry->destination, &key->destination);
		if (former != NULL)
			keep_as_alias(&moving, key_of_destination(former));
		if (moving.bereft != NULL)
			settle_bereft(&moving, removed, argument, &departures);
	}
	/* only now: the entry may have moved back to one of them */
	store_drop_old_aliases(store, moving.entry, now, &departures);
	store_end_departures(store, &departures);
	return result;
}
