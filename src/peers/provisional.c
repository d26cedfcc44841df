/* Provisional entries; see provisional.h for the theory of operation. */
#include "peers/provisional.h"

#include "peers/store.h"

void provisional_init(struct provisional *provisional, _Atomic uint32_t *first_link, size_t stride)
{
	index_queue_init(&provisional->queue, first_link, stride);
	atomic_init(&provisional->count, 0);
	atomic_init(&provisional->limit, PROVISIONAL_UNLIMITED);
	atomic_init(&provisional->wants_room, false);
	atomic_init(&provisional->is_pressed, false);
}

void provisional_set_limit(struct provisional *provisional, uint32_t limit)
{
	atomic_store_explicit(&provisional->limit, limit, memory_order_relaxed);
}

static uint32_t limit_of(const struct provisional *provisional)
{
	return atomic_load_explicit(&provisional->limit, memory_order_relaxed);
}

static uint32_t count_of(const struct provisional *provisional)
{
	return atomic_load_explicit(&provisional->count, memory_order_relaxed);
}

static void want_room(struct provisional *provisional)
{
	/* all workers come by here in a flood: the line stays theirs while nothing changes */
	if (!atomic_load_explicit(&provisional->wants_room, memory_order_relaxed))
		atomic_store_explicit(&provisional->wants_room, true, memory_order_relaxed);
}

bool provisional_enter(struct provisional *provisional)
{
	uint32_t limit = limit_of(provisional);
	uint32_t reserve = limit / PROVISIONAL_RESERVE_PART;
	uint32_t before = count_of(provisional);

	if (before < limit) {
		before = atomic_fetch_add_explicit(&provisional->count, 1, memory_order_relaxed);
		if (before < limit) {
			if (before >= limit - reserve)
				want_room(provisional);
			return true;
		}
		provisional_leave(provisional);
	}
	want_room(provisional);
	return false;
}

bool provisional_are_others(const struct provisional *provisional)
{
	return limit_of(provisional) != PROVISIONAL_UNLIMITED && count_of(provisional) > 1;
}

void provisional_press(struct provisional *provisional)
{
	if (!atomic_load_explicit(&provisional->is_pressed, memory_order_relaxed))
		atomic_store_explicit(&provisional->is_pressed, true, memory_order_relaxed);
	want_room(provisional);
}

bool provisional_is_crowded(const struct provisional *provisional)
{
	uint32_t count = count_of(provisional);

	return count > 1 && count > limit_of(provisional) / 2;
}

uint32_t provisional_excess(struct provisional *provisional)
{
	uint32_t limit = limit_of(provisional);
	uint32_t reserve = limit / PROVISIONAL_RESERVE_PART;
	uint32_t batch = reserve > 0 ? reserve : 1;
	uint32_t count, excess;
	bool is_pressed;

	atomic_store_explicit(&provisional->wants_room, false, memory_order_relaxed);
	is_pressed = atomic_exchange_explicit(&provisional->is_pressed, false,
					      memory_order_relaxed);
	count = count_of(provisional);
	excess = count > limit - batch ? count - (limit - batch - reserve) : 0;
	if (is_pressed && excess < batch)
		excess = batch < count ? batch : count;
	return excess;
}

bool store_end_provisional(struct connection_store *store, struct entry *entry)
{
	if (atomic_exchange_explicit(&entry->public.is_proven, true, memory_order_relaxed))
		return false;
	provisional_leave(&store->provisional);
	return true;
}

void connection_store_prove(struct connection_store *store, struct peer_entry *entry)
{
	(void)store_end_provisional(store, entry_of(entry));
}

uint32_t connection_store_count_provisional(const struct connection_store *store)
{
	return count_of(&store->provisional);
}

bool connection_store_is_crowded(const struct connection_store *store)
{
	return provisional_is_crowded(&store->provisional);
}

bool connection_store_wants_room(const struct connection_store *store)
{
	if (store->settings.provisional_part == 0)
		return connection_store_count(store) >
		       store->settings.max_entries -
			       store->settings.max_entries / PROVISIONAL_RESERVE_PART;
	return atomic_load_explicit(&store->provisional.wants_room, memory_order_relaxed);
}

void store_share_out(struct connection_store *store, const struct address_pool *pool)
{
	uint32_t part = store->settings.provisional_part;
	uint32_t capacity = address_pool_capacity(pool);
	uint32_t whole = capacity < store->settings.max_entries ? capacity
								: store->settings.max_entries;

	if (part != 0)
		provisional_set_limit(&store->provisional, whole < part ? 1 : whole / part);
}

static bool was_sent_more(const struct entry *entry)
{
	return (atomic_load_explicit(&entry->public.sent, memory_order_relaxed) & SENT_MORE) != 0;
}

/*
 * A worker may be about to send it something else at this very moment. The same could happen to it
 * a moment later, when the address is free: what leaves goes to who was there when it was looked
 * up.
 */
bool store_end_trial(struct connection_store *store, struct entry *entry)
{
	if (!store_end_provisional(store, entry))
		return true;
	/* where there is no limit, nobody says what was sent */
	return store->settings.provisional_part == 0 || was_sent_more(entry);
}

/* One look at the queue that has some make room. */
struct eviction {
	struct connection_store *store;
	uint32_t now;
	uint32_t left;  /* as many are wanted still */
	uint32_t older; /* as many are looked at for those to which nothing but RST was sent */
	entry_removed *removed;
	void *argument;
	struct departures departures;
};

/* Returns whether the entry is no provisional one from now on. */
static bool evict(struct eviction *eviction, struct entry *entry)
{
	if (eviction->left == 0)
		return false;
	if (!store_end_provisional(eviction->store, entry))
		return true; /* proven just now */
	store_unlink_entry(eviction->store, entry, eviction->now, was_sent_more(entry),
			   &eviction->departures);
	if (eviction->removed != NULL)
		eviction->removed(&entry->public, eviction->argument);
	eviction->left--;
	return true;
}

static bool is_evicted(uint32_t index, void *argument)
{
	struct eviction *eviction = argument;
	struct entry *entry = &eviction->store->entries[index];

	return peer_entry_is_proven(&entry->public) || evict(eviction, entry);
}

static bool is_evicted_unanswered(uint32_t index, void *argument)
{
	struct eviction *eviction = argument;
	struct entry *entry = &eviction->store->entries[index];

	if (peer_entry_is_proven(&entry->public))
		return true;
	if (eviction->older == 0)
		return false;
	eviction->older--;
	return atomic_load_explicit(&entry->public.sent, memory_order_relaxed) == 0 &&
	       evict(eviction, entry);
}

/* The younger half may be about to be answered. */
uint32_t connection_store_evict(struct connection_store *store, uint32_t now,
				entry_removed *removed, void *argument)
{
	struct eviction eviction = {.store = store,
				    .now = now,
				    .left = provisional_excess(&store->provisional),
				    .older = count_of(&store->provisional) / 2,
				    .removed = removed,
				    .argument = argument};

	if (eviction.left > 0)
		index_queue_filter(&store->provisional.queue, is_evicted_unanswered, &eviction);
	if (eviction.left > 0)
		index_queue_filter(&store->provisional.queue, is_evicted, &eviction);
	store_end_departures(store, &eviction.departures);
	return eviction.departures.count;
}
