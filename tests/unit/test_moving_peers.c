/*
 * connection_store: entries that move from key to key, entries that are put in, iteration; what
 * connection_store.h promises of them, (b) to (f), in one thread and while workers read and make
 * entries.
 *
 * This thread is the control thread.
 */
#include "store_contest.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* The reverse of numbered_peer(), for those behind the first address. */
static uint32_t number_at(const struct peer *peer)
{
	return ntohs(peer->remote.port) - 1024u;
}

/* What the store told of entries that it removed. */
static struct {
	uint32_t count;
	const struct peer_entry *last;
} told;

static void note_removed(const struct peer_entry *entry, void *argument)
{
	assert_ptr_equal(argument, &told);
	told.count++;
	told.last = entry;
}

static struct move to(uint32_t number)
{
	return (struct move){.peer = numbered_peer(number)};
}

static struct move to_proven(uint32_t number)
{
	struct move move = to(number);

	move.source_is_proven = true;
	return move;
}

static void move(struct connection_store *store, struct peer_entry *entry, struct move move,
		 uint32_t now, enum move_result expected)
{
	assert_int_equal(connection_store_move(store, entry, &move, now, note_removed, &told),
			 expected);
}

static struct peer_entry *proven(struct connection_store *store, uint32_t number, uint32_t now)
{
	struct peer_entry *entry = obtain(store, number, now, ENTRY_MADE);

	connection_store_prove(store, entry);
	return entry;
}

static void assert_is_reached_at(const struct peer_entry *entry, uint32_t number)
{
	const struct destination *there = peer_entry_destination(entry);
	struct peer peer = numbered_peer(number);

	assert_non_null(there);
	assert_true(peer_equal(&there->peer, &peer));
}

static void assert_has_address(struct connection_store *store, struct peer_entry *entry)
{
	assert_ptr_equal(connection_store_find_tunnel_address(store, &entry->tunnel_address),
			 entry);
}

static bool goes(struct peer_entry *entry, void *argument)
{
	(void)entry;
	(void)argument;
	return true;
}

static bool stays(struct peer_entry *entry, void *argument)
{
	(void)entry;
	(void)argument;
	return false;
}

static bool is_the_one(struct peer_entry *entry, void *argument)
{
	return entry == argument;
}

/* Aliases whose time is over go, and nothing else. */
static void sweep(struct connection_store *store, uint32_t now)
{
	assert_int_equal(connection_store_sweep(store, now, stays, NULL, NULL), 0);
}

static uint32_t most_aliases(uint32_t max_entries)
{
	return max_entries / 4 + 64;
}

/* No entry, no key and no address was lost: all of each can be used. The store has room for more
 * entries than a /24 has addresses. */
static void assert_all_is_usable(struct connection_store *store, uint32_t max_entries, uint32_t now)
{
	struct peer_entry *mover;
	uint32_t moves = 0, lost = 0;
	struct pool_range range = range_of(NETWORK, 24, 1 << 22);

	assert_is_sound(store);
	now += 2 * QUARANTINE;
	connection_store_sweep(store, now, goes, NULL, NULL);
	assert_int_equal(connection_store_count(store), 0);
	assert_int_equal(set_pool(store, NETWORK, 16, now), 0);
	assert_int_equal(fill_the_pool(store, 20000, now), max_entries);
	assert_is_sound(store);
	mover = find(store, 20000);
	for (;; moves++) {
		struct move next = to(40000 + moves);

		if (connection_store_move(store, mover, &next, now, NULL, NULL) != ENTRY_MOVED)
			break;
	}
	assert_int_equal(moves, most_aliases(max_entries));
	assert_is_sound(store);
	now += 2 * QUARANTINE;
	assert_int_equal(connection_store_sweep(store, now, goes, NULL, NULL), max_entries);
	assert_true(connection_store_set_pool(store, &range, now, NULL, NULL, &lost));
	assert_int_equal(fill_the_pool(store, 30000, now), 253);
	assert_is_sound(store);
}

/* One thread */

static void an_entry_that_moved_is_the_same_one(void **state)
{
	struct connection_store *store = bare_store(300, true);
	struct peer_record *record;
	struct peer_entry *entry;
	uint32_t address;

	(void)state;
	set_pool(store, NETWORK, 24, 1);
	entry = proven(store, 1, 10);
	address = host_order(&entry->tunnel_address);
	record = connection_store_record(store, entry);
	peer_entry_refresh(&entry->last_received, 11);
	peer_entry_refresh(&entry->last_sent, 12);
	peer_entry_refresh(&entry->last_tcp, 13);
	record->bytes_in = 14;
	record->bytes_out = 15;
	for (uint32_t number = 2; number < 50; number++) {
		move(store, entry, to(number), 20, ENTRY_MOVED);
		assert_is_reached_at(entry, number);
		assert_ptr_equal(find(store, number), entry);
		assert_ptr_equal(obtain(store, number, 20, ENTRY_FOUND), entry);
		assert_ptr_equal(find_address(store, address), entry);
		assert_int_equal(host_order(&entry->tunnel_address), address);
		assert_true(peer_entry_is_proven(entry));
		assert_int_equal(entry->last_received, 11);
		assert_int_equal(entry->last_sent, 12);
		assert_int_equal(entry->last_tcp, 13);
		assert_ptr_equal(connection_store_record(store, entry), record);
		assert_int_equal(record->made, 10);
		assert_int_equal(record->bytes_in, 14);
		assert_int_equal(record->bytes_out, 15);
		assert_int_equal(connection_store_count(store), 1);
		assert_is_sound(store);
	}
	/* one that is not proven does not become so either */
	entry = obtain(store, 100, 20, ENTRY_MADE);
	move(store, entry, to_proven(101), 20, ENTRY_MOVED);
	assert_false(peer_entry_is_proven(entry));
	assert_all_is_usable(store, 300, 20);
	connection_store_destroy(store);
}

static void an_old_key_is_an_alias_for_some_seconds(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 1, 100, ENTRY_MADE);
	struct peer_entry *newcomer;

	(void)state;
	move(store, entry, to(2), 100, ENTRY_MOVED);
	for (uint32_t now = 100; now <= 100 + ALIAS_SECONDS; now++) {
		sweep(store, now);
		assert_ptr_equal(find(store, 1), entry);
		assert_ptr_equal(obtain(store, 1, now, ENTRY_FOUND), entry);
		assert_int_equal(connection_store_count(store), 1);
		/* what comes from there does not lead back there */
		assert_is_reached_at(entry, 2);
	}
	sweep(store, 100 + ALIAS_SECONDS + 1);
	assert_null(find(store, 1));
	assert_ptr_equal(find(store, 2), entry);
	newcomer = obtain(store, 1, 110, ENTRY_MADE);
	assert_ptr_not_equal(newcomer, entry);
	assert_true(memcmp(&newcomer->tunnel_address, &entry->tunnel_address, 16) != 0);
	assert_int_equal(connection_store_count(store), 2);
	assert_all_is_usable(store, 300, 110);
	connection_store_destroy(store);
}

/* A sweep that looks at the entry at a moment takes those out whose time is over at that moment. */
static void aliases_end_one_after_the_other(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 0, 100, ENTRY_MADE);

	(void)state;
	for (uint32_t number = 1; number < 50; number++) {
		move(store, entry, to(number), 100 + number, ENTRY_MOVED);
		sweep(store, 100 + number);
		for (uint32_t older = 0; older < number; older++) {
			/* the key before the move at that moment */
			bool is_over = number - (older + 1) > ALIAS_SECONDS;

			assert_ptr_equal(find(store, older), is_over ? NULL : entry);
		}
	}
	assert_all_is_usable(store, 300, 200);
	connection_store_destroy(store);
}

/* The seconds go round after 136 years, or where a test lets them. */
static void an_alias_lives_through_the_wrap_of_the_clock(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 1, UINT32_MAX - 1, ENTRY_MADE);

	(void)state;
	move(store, entry, to(2), UINT32_MAX - 1, ENTRY_MOVED);
	sweep(store, ALIAS_SECONDS - 2);
	assert_ptr_equal(find(store, 1), entry);
	sweep(store, ALIAS_SECONDS - 1);
	assert_null(find(store, 1));
	connection_store_destroy(store);
}

static void moving_to_where_it_is_changes_nothing(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 1, 1, ENTRY_MADE);
	const struct destination *there = peer_entry_destination(entry);

	(void)state;
	move(store, entry, to(1), 1, ENTRY_WAS_THERE);
	assert_is_reached_at(entry, 1);
	assert_ptr_equal(peer_entry_destination(entry), there);
	assert_all_is_usable(store, 300, 1);
	connection_store_destroy(store);
}

/* The own address is part of the key: another one leads to another entry until one moves there. */
static void another_own_address_is_another_place(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 1, 1, ENTRY_MADE);
	struct move beside = to(1);
	const struct destination *there;
	struct peer_entry *other;
	enum obtain_result result;

	(void)state;
	beside.peer.own_address = ipv4_address(0xc6336402);
	assert_null(connection_store_find_peer(store, &beside.peer));
	other = connection_store_obtain(store, &beside.peer, 1, &result);
	assert_int_equal(result, ENTRY_MADE);
	told.count = 0;
	move(store, entry, beside, 1, ENTRY_MOVED);
	assert_int_equal(told.count, 1);
	assert_ptr_equal(told.last, other);
	there = peer_entry_destination(entry);
	assert_memory_equal(&there->peer.own_address, &beside.peer.own_address, 16);
	assert_ptr_equal(connection_store_find_peer(store, &beside.peer), entry);
	/* the former own address leads to it for a while */
	assert_ptr_equal(find(store, 1), entry);
	sweep(store, 1 + ALIAS_SECONDS + 1);
	assert_null(find(store, 1));
	assert_ptr_equal(connection_store_find_peer(store, &beside.peer), entry);
	assert_all_is_usable(store, 300, 10);
	connection_store_destroy(store);
}

/* Five addresses, all of them held: what is absorbed without quarantine is anybody's at once. */
static void what_a_move_absorbs_leaves_its_address(void **state)
{
	(void)state;
	for (int has_quarantine = 0; has_quarantine < 2; has_quarantine++) {
		struct connection_store *store = store_with(300, 29);
		struct move taking = to(3);
		struct peer_entry *entries[5], *newcomer;
		struct ip_address address;

		for (uint32_t number = 0; number < 5; number++)
			entries[number] = obtain(store, number, 100, ENTRY_MADE);
		obtain(store, 50, 100, ENTRY_REFUSED);
		address = entries[3]->tunnel_address;
		taking.absorbs_with_quarantine = has_quarantine;
		told.count = 0;
		move(store, entries[0], taking, 101, ENTRY_MOVED);
		assert_int_equal(told.count, 1);
		assert_ptr_equal(told.last, entries[3]);
		assert_int_equal(connection_store_count(store), 4);
		assert_null(connection_store_find_tunnel_address(store, &address));
		assert_ptr_equal(find(store, 3), entries[0]);
		assert_ptr_equal(find(store, 0), entries[0]);
		assert_is_reached_at(entries[0], 3);
		assert_has_address(store, entries[0]);
		assert_is_sound(store);
		newcomer = obtain(store, 50, 101,
				  has_quarantine ? ENTRY_MADE_IN_QUARANTINE : ENTRY_MADE);
		assert_memory_equal(&newcomer->tunnel_address, &address, 16);
		assert_all_is_usable(store, 300, 101);
		connection_store_destroy(store);
	}
}

static void a_proven_holder_keeps_its_key_from_a_source_that_is_not_proven(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *holder = proven(store, 1, 1);
	struct peer_entry *mover = proven(store, 2, 1);
	struct move taking = to(1);

	(void)state;
	told.count = 0;
	move(store, holder, to(1), 1, ENTRY_WAS_THERE);
	move(store, mover, to(2), 1, ENTRY_WAS_THERE);
	for (int drops = 0; drops < 2; drops++) {
		taking.drops_former_holder = drops;
		move(store, mover, taking, 1, MOVE_REFUSED);
		assert_is_reached_at(holder, 1);
		assert_is_reached_at(mover, 2);
		assert_ptr_equal(find(store, 1), holder);
		assert_ptr_equal(find(store, 2), mover);
		assert_has_address(store, holder);
		assert_has_address(store, mover);
	}
	assert_int_equal(told.count, 0);
	assert_int_equal(connection_store_count(store), 2);
	/* it has no alias that would keep a newcomer from its old key after it went */
	assert_int_equal(connection_store_sweep(store, 2, is_the_one, NULL, mover), 1);
	assert_null(find(store, 2));
	assert_all_is_usable(store, 300, 1);
	connection_store_destroy(store);
}

static void a_proven_holder_can_live_on_without_a_key(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *holder = proven(store, 1, 1);
	struct peer_entry *mover = obtain(store, 2, 1, ENTRY_MADE);

	(void)state;
	told.count = 0;
	move(store, mover, to_proven(1), 10, ENTRY_MOVED);
	assert_int_equal(told.count, 0);
	assert_int_equal(connection_store_count(store), 2);
	assert_null(peer_entry_destination(holder));
	assert_has_address(store, holder);
	assert_true(peer_entry_is_proven(holder));
	assert_ptr_equal(find(store, 1), mover);
	assert_ptr_equal(find(store, 2), mover);
	assert_is_reached_at(mover, 1);
	assert_is_sound(store);
	/* the sweep asks about it as about any other */
	sweep(store, 20);
	/* it has no key that could become an alias */
	move(store, holder, to(3), 20, ENTRY_MOVED);
	assert_is_reached_at(holder, 3);
	assert_ptr_equal(find(store, 3), holder);
	assert_is_sound(store);
	/* without a key again, and then it goes */
	move(store, mover, to_proven(3), 30, ENTRY_MOVED);
	assert_null(peer_entry_destination(holder));
	assert_int_equal(connection_store_sweep(store, 31, is_the_one, NULL, holder), 1);
	connection_store_destroy(store);
}

static void a_peer_without_a_key_expires_and_leaves_nothing(void **state)
{
	struct connection_store *store = store_with(300, 29);
	struct peer_entry *holder = proven(store, 1, 100);
	struct ip_address address = holder->tunnel_address;
	struct peer_entry *mover = obtain(store, 2, 100, ENTRY_MADE);

	(void)state;
	told.count = 0;
	move(store, mover, to_proven(1), 100, ENTRY_MOVED);
	peer_entry_refresh(&mover->last_received, 200);
	assert_int_equal(expire(store, 201, 50), 1);
	assert_int_equal(connection_store_count(store), 1);
	assert_null(connection_store_find_tunnel_address(store, &address));
	assert_ptr_equal(find(store, 1), mover);
	/* it goes with quarantine: three other addresses are free, and then it is the last */
	for (uint32_t number = 10; number < 13; number++)
		obtain(store, number, 201, ENTRY_MADE);
	assert_memory_equal(&obtain(store, 13, 201, ENTRY_MADE_IN_QUARANTINE)->tunnel_address,
			    &address, 16);
	assert_all_is_usable(store, 300, 201);
	connection_store_destroy(store);
}

static void a_proven_holder_can_be_dropped_with_quarantine(void **state)
{
	struct connection_store *store = store_with(300, 29);
	struct peer_entry *holder = proven(store, 1, 100);
	struct ip_address address = holder->tunnel_address;
	struct peer_entry *mover = obtain(store, 2, 100, ENTRY_MADE);
	struct move taking = to_proven(1);

	(void)state;
	taking.drops_former_holder = true;
	told.count = 0;
	move(store, mover, taking, 100, ENTRY_MOVED);
	assert_int_equal(told.count, 1);
	assert_ptr_equal(told.last, holder);
	assert_int_equal(connection_store_count(store), 1);
	assert_null(connection_store_find_tunnel_address(store, &address));
	assert_ptr_equal(find(store, 1), mover);
	for (uint32_t number = 10; number < 13; number++)
		obtain(store, number, 101, ENTRY_MADE);
	assert_memory_equal(&obtain(store, 13, 101, ENTRY_MADE_IN_QUARANTINE)->tunnel_address,
			    &address, 16);
	assert_all_is_usable(store, 300, 101);
	connection_store_destroy(store);
}

/* A dropped holder takes its aliases with it; the key that was taken stays. */
static void a_dropped_holder_has_no_aliases_any_more(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *holder = obtain(store, 1, 1, ENTRY_MADE);
	struct peer_entry *mover = obtain(store, 5, 1, ENTRY_MADE);

	(void)state;
	move(store, holder, to(2), 1, ENTRY_MOVED);
	move(store, holder, to(3), 1, ENTRY_MOVED);
	move(store, mover, to(3), 1, ENTRY_MOVED);
	assert_null(find(store, 1));
	assert_null(find(store, 2));
	assert_ptr_equal(find(store, 3), mover);
	assert_ptr_equal(find(store, 5), mover);
	assert_all_is_usable(store, 300, 1);
	connection_store_destroy(store);
}

static void an_alias_counts_as_the_key_of_a_proven_peer(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *holder = obtain(store, 1, 1, ENTRY_MADE);
	struct peer_entry *mover = obtain(store, 5, 1, ENTRY_MADE);

	(void)state;
	told.count = 0;
	move(store, holder, to(2), 1, ENTRY_MOVED);
	move(store, holder, to(3), 1, ENTRY_MOVED);
	move(store, mover, to(1), 1, MOVE_REFUSED);
	assert_ptr_equal(find(store, 1), holder);
	move(store, mover, to_proven(1), 1, ENTRY_MOVED);
	assert_int_equal(told.count, 0);
	assert_ptr_equal(find(store, 1), mover);
	assert_is_reached_at(mover, 1);
	/* nothing else is taken from its holder */
	assert_ptr_equal(find(store, 2), holder);
	assert_ptr_equal(find(store, 3), holder);
	assert_is_reached_at(holder, 3);
	/* the key is no alias any more that a sweep could end */
	sweep(store, 100);
	assert_ptr_equal(find(store, 1), mover);
	assert_ptr_equal(find(store, 3), holder);
	assert_null(find(store, 2));
	assert_null(find(store, 5));
	assert_all_is_usable(store, 300, 100);
	connection_store_destroy(store);
}

static void two_entries_swap_keys(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *one = proven(store, 1, 1);
	struct peer_entry *other = proven(store, 2, 1);

	(void)state;
	told.count = 0;
	for (uint32_t round = 0; round < 100; round++) {
		uint32_t ones = round % 2 == 0 ? 2 : 1;

		move(store, one, to_proven(ones), 1, ENTRY_MOVED);
		move(store, other, to_proven(3 - ones), 1, ENTRY_MOVED);
		assert_is_reached_at(one, ones);
		assert_is_reached_at(other, 3 - ones);
		assert_ptr_equal(find(store, ones), one);
		assert_ptr_equal(find(store, 3 - ones), other);
		assert_has_address(store, one);
		assert_has_address(store, other);
		assert_is_sound(store);
	}
	assert_int_equal(told.count, 0);
	assert_int_equal(connection_store_count(store), 2);
	sweep(store, 100);
	assert_ptr_equal(find(store, 1), one);
	assert_ptr_equal(find(store, 2), other);
	assert_all_is_usable(store, 300, 100);
	connection_store_destroy(store);
}

static void an_entry_moves_back_to_an_alias_of_its_own(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 1, 1, ENTRY_MADE);
	const struct destination *there[] = {NULL, peer_entry_destination(entry), NULL};

	(void)state;
	move(store, entry, to(2), 1, ENTRY_MOVED);
	there[2] = peer_entry_destination(entry);
	move(store, entry, to(1), 1, ENTRY_MOVED);
	/* Far more often than there are aliases, and also to one that is overdue. The keys stay: a
	 * worker could make a newcomer between the end of one and the making of the next. */
	for (uint32_t round = 0; round < 1000; round++) {
		uint32_t now = 100 + (round % 3) * round * ALIAS_SECONDS;

		move(store, entry, to(2), now, ENTRY_MOVED);
		assert_is_reached_at(entry, 2);
		assert_ptr_equal(peer_entry_destination(entry), there[2]);
		assert_ptr_equal(find(store, 1), entry);
		move(store, entry, to(1), now, ENTRY_MOVED);
		assert_is_reached_at(entry, 1);
		assert_ptr_equal(peer_entry_destination(entry), there[1]);
		assert_ptr_equal(find(store, 2), entry);
	}
	assert_int_equal(connection_store_count(store), 1);
	assert_all_is_usable(store, 300, 1000000);
	connection_store_destroy(store);
}

static void aliases_are_limited_and_come_back(void **state)
{
	const uint32_t limit = most_aliases(300);
	struct connection_store *store = store_with(300, 16);
	struct peer_entry *entry, *other;

	(void)state;
	assert_int_equal(fill_the_pool(store, 0, 1), 300);
	entry = find(store, 0);
	other = find(store, 1);
	connection_store_prove(store, other);
	for (uint32_t round = 0; round < 3; round++) {
		uint32_t now = 100 * (round + 1), first = 1000 * (round + 1);

		for (uint32_t i = 0; i < limit; i++)
			move(store, entry, to(first + i), now, ENTRY_MOVED);
		move(store, entry, to(first + limit), now, MOVE_HAS_NO_ROOM);
		assert_null(find(store, first + limit));
		assert_is_reached_at(entry, first + limit - 1);
		/* an entry that would have to be absorbed stays, too */
		told.count = 0;
		move(store, entry, to(2), now, MOVE_HAS_NO_ROOM);
		assert_int_equal(told.count, 0);
		assert_ptr_not_equal(find(store, 2), entry);
		/* what needs no alias more is not held up */
		move(store, entry, to(first + limit - 1), now, ENTRY_WAS_THERE);
		move(store, entry, to(1), now, MOVE_REFUSED);
		move(store, entry, to(first), now, ENTRY_MOVED);
		move(store, other, to_proven(first + 1), now, ENTRY_MOVED);
		move(store, entry, to(first + limit), now, MOVE_HAS_NO_ROOM);
		assert_int_equal(connection_store_count(store), 300);
		assert_is_sound(store);
		/* back to where it was, and its aliases die */
		move(store, other, to_proven(1), now, ENTRY_MOVED);
		sweep(store, now + ALIAS_SECONDS + 1);
	}
	assert_all_is_usable(store, 300, 1000);
	connection_store_destroy(store);
}

/* A move looks for what is overdue among its own. */
static void a_move_ends_old_aliases_of_its_entry(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 0, 1, ENTRY_MADE);

	(void)state;
	for (uint32_t number = 1; number < 1000; number++) {
		move(store, entry, to(number), 10 * number, ENTRY_MOVED);
		assert_ptr_equal(find(store, number - 1), entry);
		if (number >= 2)
			assert_null(find(store, number - 2));
	}
	assert_all_is_usable(store, 300, 10000);
	connection_store_destroy(store);
}

static void an_entry_that_goes_takes_all_its_keys_with_it(void **state)
{
	struct connection_store *store = store_with(300, 24);

	(void)state;
	for (uint32_t round = 0; round < 20; round++) {
		struct peer_entry *entry = obtain(store, 100, 10, ENTRY_MADE);

		for (uint32_t number = 0; number < 30; number++)
			move(store, entry, to(number), 10, ENTRY_MOVED);
		assert_int_equal(connection_store_sweep(store, 10, goes, NULL, NULL), 1);
		for (uint32_t number = 0; number < 30; number++)
			assert_null(find(store, number));
		assert_null(find(store, 100));
	}
	assert_all_is_usable(store, 300, 10);
	connection_store_destroy(store);
}

static void a_pool_that_changes_takes_the_keys_of_those_it_drops(void **state)
{
	struct connection_store *store = store_with(300, 24);

	(void)state;
	for (uint32_t round = 1; round < 21; round++) {
		struct peer_entry *entry = obtain(store, 100, 10, ENTRY_MADE);
		struct peer_entry *other = proven(store, 101, 10);

		for (uint32_t number = 0; number < 30; number++)
			move(store, entry, to(number), 10, ENTRY_MOVED);
		/* one without a key goes as well */
		move(store, entry, to_proven(101), 10, ENTRY_MOVED);
		assert_null(peer_entry_destination(other));
		assert_int_equal(set_pool(store, NETWORK + 256 * round, 24, 10), 2);
		assert_int_equal(connection_store_count(store), 0);
		for (uint32_t number = 0; number < 30; number++)
			assert_null(find(store, number));
		assert_null(find(store, 100));
		assert_null(find(store, 101));
	}
	assert_all_is_usable(store, 300, 10);
	connection_store_destroy(store);
}

/* Those that stay keep their keys, and one without a key stays as well. */
static void a_pool_that_stays_the_same_keeps_all_keys(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 1, 10, ENTRY_MADE);
	struct peer_entry *without = proven(store, 2, 10);

	(void)state;
	move(store, entry, to_proven(2), 10, ENTRY_MOVED);
	assert_int_equal(set_pool(store, NETWORK, 23, 10), 0);
	assert_ptr_equal(find(store, 1), entry);
	assert_ptr_equal(find(store, 2), entry);
	assert_has_address(store, entry);
	assert_has_address(store, without);
	assert_null(peer_entry_destination(without));
	assert_all_is_usable(store, 300, 10);
	connection_store_destroy(store);
}

/* Newcomers that were told of. */
static struct {
	const struct peer_entry *entries[100];
	uint32_t count;
} came;

static void note_newcomer(const struct peer_entry *entry, void *argument)
{
	assert_ptr_equal(argument, &came);
	assert_in_range(came.count, 0, 99);
	came.entries[came.count++] = entry;
}

static void take_newcomers(struct connection_store *store)
{
	came.count = 0;
	connection_store_take_newcomers(store, note_newcomer, &came);
}

static void a_newcomer_that_moved_is_told_once(void **state)
{
	struct connection_store *store = bare_store(300, true);
	struct peer_entry *one, *two, *three;

	(void)state;
	set_pool(store, NETWORK, 24, 1);
	one = obtain(store, 1, 1, ENTRY_MADE);
	obtain(store, 2, 1, ENTRY_MADE);
	three = proven(store, 3, 1);
	obtain(store, 4, 1, ENTRY_MADE);
	/* absorbs the second and takes the third's key */
	move(store, one, to(2), 1, ENTRY_MOVED);
	move(store, one, to_proven(3), 1, ENTRY_MOVED);
	obtain(store, 1, 1, ENTRY_FOUND);
	take_newcomers(store);
	assert_int_equal(came.count, 3);
	assert_ptr_equal(came.entries[0], one);
	assert_ptr_equal(came.entries[1], three);
	assert_ptr_equal(came.entries[2], find(store, 4));
	/* no move makes a newcomer, and no alias */
	move(store, one, to(5), 1, ENTRY_MOVED);
	move(store, three, to(6), 1, ENTRY_MOVED);
	obtain(store, 2, 1, ENTRY_FOUND);
	take_newcomers(store);
	assert_int_equal(came.count, 0);
	/* but what comes when the alias is gone is one */
	sweep(store, 100);
	two = obtain(store, 2, 100, ENTRY_MADE);
	take_newcomers(store);
	assert_int_equal(came.count, 1);
	assert_ptr_equal(came.entries[0], two);
	connection_store_destroy(store);
}

/* Endpoint mode: entries without tunnel addresses move as well. */
static void destinations_without_tunnel_addresses_move(void **state)
{
	struct connection_store *store =
		connection_store_create(&(struct connection_store_settings){.max_entries = 2});
	struct peer_entry *entry, *other;

	(void)state;
	assert_non_null(store);
	entry = obtain(store, 1, 1, ENTRY_MADE);
	other = obtain(store, 2, 1, ENTRY_MADE);
	obtain(store, 3, 1, ENTRY_REFUSED);
	move(store, entry, to(3), 1, ENTRY_MOVED);
	assert_ptr_equal(obtain(store, 1, 1, ENTRY_FOUND), entry);
	told.count = 0;
	move(store, entry, to(2), 1, ENTRY_MOVED);
	assert_int_equal(told.count, 1);
	assert_ptr_equal(told.last, other);
	obtain(store, 4, 1, ENTRY_MADE);
	obtain(store, 5, 1, ENTRY_REFUSED);
	connection_store_destroy(store);
}

/* Entries that are put in */

static struct former_entry former(uint32_t number, uint32_t address)
{
	return (struct former_entry){
		.peer = numbered_peer(number),
		.tunnel_address = ipv4_address(address),
		.last_received = 51,
		.last_sent = 52,
		.last_tcp = 53,
		.is_proven = number % 2 == 0,
	};
}

static void put(struct connection_store *store, uint32_t number, uint32_t address,
		enum put_result expected)
{
	struct former_entry entry = former(number, address);

	assert_int_equal(connection_store_put(store, &entry), expected);
}

static void what_was_put_in_is_as_it_was(void **state)
{
	struct connection_store *store = bare_store(300, true);

	(void)state;
	set_pool(store, NETWORK, 24, 1);
	for (uint32_t number = 2; number < 255; number++) {
		struct peer_entry *entry;

		put(store, number, NETWORK + number, ENTRY_PUT);
		entry = find_address(store, NETWORK + number);
		assert_non_null(entry);
		assert_int_equal(host_order(&entry->tunnel_address), NETWORK + number);
		assert_ptr_equal(obtain(store, number, 60, ENTRY_FOUND), entry);
		assert_is_reached_at(entry, number);
		assert_int_equal(entry->last_received, 51);
		assert_int_equal(entry->last_sent, 52);
		assert_int_equal(entry->last_tcp, 53);
		assert_int_equal(peer_entry_is_proven(entry), number % 2 == 0);
		assert_int_equal(connection_store_count(store), number - 1);
	}
	assert_is_sound(store);
	take_newcomers(store);
	assert_int_equal(came.count, 0);
	assert_all_is_usable(store, 300, 60);
	connection_store_destroy(store);
}

static void what_cannot_be_put_in_leaves_nothing(void **state)
{
	struct connection_store *store = bare_store(300, false);

	(void)state;
	put(store, 1, NETWORK + 5, PUT_ADDRESS_IS_NOT_FREE);
	set_pool(store, NETWORK, 24, 1);
	put(store, 1, NETWORK + 5, ENTRY_PUT);
	/* all of these more often than there are entries */
	for (uint32_t round = 0; round < 400; round++) {
		put(store, 1, NETWORK + 6, PUT_PEER_HAS_ENTRY);
		put(store, 2, NETWORK + 5, PUT_ADDRESS_IS_NOT_FREE);
		put(store, 2, NETWORK, PUT_ADDRESS_IS_NOT_FREE);
		put(store, 2, OWN, PUT_ADDRESS_IS_NOT_FREE);
		put(store, 2, NETWORK + 255, PUT_ADDRESS_IS_NOT_FREE);
		put(store, 2, NETWORK + 256, PUT_ADDRESS_IS_NOT_FREE);
		put(store, 2, NETWORK - 1, PUT_ADDRESS_IS_NOT_FREE);
	}
	assert_null(find(store, 2));
	assert_int_equal(connection_store_count(store), 1);
	assert_all_is_usable(store, 300, 60);
	connection_store_destroy(store);
}

static void nothing_can_be_put_into_a_full_store(void **state)
{
	struct connection_store *store = store_with(10, 24);

	(void)state;
	for (uint32_t number = 0; number < 10; number++)
		put(store, number, NETWORK + 10 + number, ENTRY_PUT);
	put(store, 10, NETWORK + 20, PUT_HAS_NO_ROOM);
	assert_null(find_address(store, NETWORK + 20));
	assert_int_equal(expire(store, 100, 1), 10);
	put(store, 10, NETWORK + 20, ENTRY_PUT);
	assert_is_sound(store);
	connection_store_destroy(store);
}

static void quarantine_keeps_nothing_out_that_is_put_in(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry = obtain(store, 1, 10, ENTRY_MADE);
	uint32_t address = host_order(&entry->tunnel_address);

	(void)state;
	assert_int_equal(expire(store, 20, 1), 1);
	put(store, 2, address, ENTRY_PUT);
	assert_ptr_equal(find_address(store, address), find(store, 2));
	/* the one that had it has to take another one */
	entry = obtain(store, 1, 30, ENTRY_MADE);
	assert_int_not_equal(host_order(&entry->tunnel_address), address);
	assert_is_sound(store);
	connection_store_destroy(store);
}

static void what_was_put_in_can_move(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct peer_entry *entry;

	(void)state;
	put(store, 1, NETWORK + 77, ENTRY_PUT);
	entry = find(store, 1);
	move(store, entry, to(2), 60, ENTRY_MOVED);
	assert_ptr_equal(find_address(store, NETWORK + 77), entry);
	assert_ptr_equal(find(store, 1), entry);
	assert_is_reached_at(entry, 2);
	/* an alias is a key of its peer */
	put(store, 1, NETWORK + 78, PUT_PEER_HAS_ENTRY);
	assert_all_is_usable(store, 300, 60);
	connection_store_destroy(store);
}

/* Iteration */

enum { LASTING = 60 };

static uint8_t visits[256]; /* by the tunnel address's last byte */

static void note_visit(struct peer_entry *entry, void *argument)
{
	assert_ptr_equal(argument, visits);
	visits[host_order(&entry->tunnel_address) - NETWORK]++;
}

static void assert_each_was_visited_once(struct peer_entry *const lasting[LASTING])
{
	for (uint32_t i = 0; i < LASTING; i++)
		assert_int_equal(visits[host_order(&lasting[i]->tunnel_address) - NETWORK], 1);
}

static void an_iterator_sees_each_that_stays_once(void **state)
{
	static const uint32_t slices[] = {1, 7, 1000};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct connection_store *store = store_with(300, 24);
		struct connection_store_iterator iterator;
		struct peer_entry *lasting[LASTING], *passing[LASTING];
		uint32_t comes = 1000, moves = 2000;
		bool goes_on;

		for (uint32_t number = 0; number < LASTING; number++) {
			lasting[number] = obtain(store, number, 1, ENTRY_MADE);
			passing[number] = obtain(store, 100 + number, 1, ENTRY_MADE);
		}
		memset(visits, 0, sizeof(visits));
		iterator = connection_store_begin(store);
		do {
			struct peer_entry *mover = lasting[comes % LASTING];
			uint32_t which = (comes * 7) % LASTING;

			goes_on = connection_store_visit(store, &iterator, slices[i], note_visit,
							 visits);
			move(store, mover, to(moves++), comes, ENTRY_MOVED);
			if (passing[which] != NULL)
				connection_store_sweep(store, comes, is_the_one, NULL,
						       passing[which]);
			passing[which] = NULL;
			obtain(store, comes, comes, ENTRY_MADE);
			comes++;
		} while (goes_on);
		assert_each_was_visited_once(lasting);
		/* it stays at its end */
		assert_false(connection_store_visit(store, &iterator, 10, note_visit, visits));
		assert_each_was_visited_once(lasting);
		assert_all_is_usable(store, 300, 10000);
		connection_store_destroy(store);
	}
}

static void an_iterator_over_nothing_is_at_its_end(void **state)
{
	struct connection_store *store = store_with(300, 24);
	struct connection_store_iterator iterator = connection_store_begin(store);

	(void)state;
	memset(visits, 0, sizeof(visits));
	assert_false(connection_store_visit(store, &iterator, 10, note_visit, visits));
	obtain(store, 1, 1, ENTRY_MADE);
	assert_false(connection_store_visit(store, &iterator, 10, note_visit, visits));
	connection_store_destroy(store);
}

/* Several threads */

static uint64_t deadline;

static void set_deadline(uint64_t milliseconds)
{
	deadline = monotonic_nanoseconds() + milliseconds * 1000000;
}

static bool time_is_up(void)
{
	return monotonic_nanoseconds() > deadline;
}

/* Nobody but the control thread changes these while threads run. */
enum { MOVERS = 8, KEYS_EACH = 3 };

static struct {
	struct peer_entry *entries[MOVERS];
	struct ip_address addresses[MOVERS];
	bool keys_stay; /* each has all its keys from before the threads start to their end */
} movers;

static uint32_t key_of_mover(uint32_t mover, uint32_t key)
{
	return mover * KEYS_EACH + key;
}

/* Source and own address of a destination must be of one of the pairs that there are. */
static const char *fault_of_destination(const struct destination *there)
{
	struct peer peer = numbered_peer(number_at(&there->peer));

	if (!peer_equal(&there->peer, &peer))
		return "a destination has a peer that there never was";
	return NULL;
}

static const char *fault_of_mover(uint32_t mover, uint32_t key)
{
	struct peer_entry *entry = movers.entries[mover], *found;
	const struct destination *there;

	found = connection_store_find_tunnel_address(contest.store, &movers.addresses[mover]);
	if (found != entry)
		return "the tunnel address does not lead to its entry";
	there = peer_entry_destination(entry);
	if (there == NULL)
		return "an entry that nobody took a key from has none";
	if (number_at(&there->peer) / KEYS_EACH != mover)
		return "an entry is reached at another one's peer";
	found = connection_store_find_peer(contest.store, &there->peer);
	if (found != entry && (found != NULL || movers.keys_stay))
		return "the destination's peer does not lead to the entry";
	found = find(contest.store, key_of_mover(mover, key));
	if (found != entry && (found != NULL || movers.keys_stay))
		return "a key does not lead to its entry";
	return fault_of_destination(there);
}

static void watch_movers(struct worker *worker)
{
	for (uint32_t i = 0; !atomic_load(&contest.is_over); i++) {
		uint32_t mover = dice_below(&worker->dice, MOVERS);
		const char *fault = fault_of_mover(mover, dice_below(&worker->dice, KEYS_EACH));

		if (fault != NULL)
			worker->fault = fault;
		rcu_quiescent();
		if (i % 64 == 0)
			sched_yield();
	}
}

static void start_movers(const char *test, bool keys_stay)
{
	contest = (struct contest){.store = store_with(300, 24), .peers = 1};
	movers.keys_stay = keys_stay;
	for (uint32_t i = 0; i < MOVERS; i++) {
		struct move first = to(key_of_mover(i, 0));

		movers.entries[i] = obtain(contest.store, key_of_mover(i, 0), 1, ENTRY_MADE);
		movers.addresses[i] = movers.entries[i]->tunnel_address;
		move(contest.store, movers.entries[i], first, 1, ENTRY_WAS_THERE);
		for (uint32_t key = 1; key < KEYS_EACH; key++)
			move(contest.store, movers.entries[i], to(key_of_mover(i, key)), 1,
			     ENTRY_MOVED);
	}
	start_workers(test, watch_movers);
}

static void move_some(struct dice *dice, uint32_t now)
{
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t mover = dice_below(dice, MOVERS);
		uint32_t number = key_of_mover(mover, dice_below(dice, KEYS_EACH));
		struct move where = to(number);
		enum move_result result;

		result = connection_store_move(contest.store, movers.entries[mover], &where, now,
					       NULL, NULL);
		assert_true(result == ENTRY_MOVED || result == ENTRY_WAS_THERE);
	}
}

/* Back and forth between keys that all stay: no reader ever misses anything. */
static void no_reader_misses_an_entry_that_moves(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	start_movers(__func__, true);
	set_deadline(300);
	while (!time_is_up()) {
		move_some(&dice, 1);
		if (dice_once_in(&dice, 16))
			sched_yield();
	}
	assert_int_equal(end_workers(), 0);
	assert_int_equal(connection_store_count(contest.store), MOVERS);
	assert_all_is_usable(contest.store, 300, 1);
}

/* Keys end and are made anew, so readers hold what is about to be used again. */
static void no_reader_sees_half_a_destination(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	start_movers(__func__, false);
	set_deadline(300);
	for (uint32_t now = 2; !time_is_up(); now += dice_below(&dice, 4)) {
		move_some(&dice, now);
		sweep(contest.store, now);
		sched_yield();
	}
	assert_int_equal(end_workers(), 0);
	assert_int_equal(connection_store_count(contest.store), MOVERS);
	assert_all_is_usable(contest.store, 300, 1000);
}

/* One entry moves on to a key that all workers ask for at this moment. */
static struct {
	struct peer_entry *entry;
	_Atomic uint32_t wanted;  /* the key that it moves to next */
	_Atomic uint32_t settled; /* the key that it moved to last */
} chase;

static void ask_for_the_wanted_key(struct worker *worker)
{
	for (uint32_t i = 0; !atomic_load(&contest.is_over); i++) {
		uint32_t settled = atomic_load(&chase.settled);
		uint32_t wanted = atomic_load(&chase.wanted);
		struct peer peer = numbered_peer(wanted);
		const struct destination *there;
		enum obtain_result result;
		struct peer_entry *entry = connection_store_obtain(contest.store, &peer, 1,
								   &result);
		struct peer_entry *again = connection_store_find_peer(contest.store, &peer);

		worker->made += entry != NULL && result != ENTRY_FOUND;
		if (entry == NULL)
			worker->fault = "an entry is refused";
		else if (settled == wanted && entry != chase.entry)
			worker->fault = "a key leads to another entry after the move";
		else if (again != entry && again != chase.entry)
			worker->fault = "a key leads to two entries";
		else if ((there = peer_entry_destination(entry)) != NULL &&
			 fault_of_destination(there) != NULL)
			worker->fault = fault_of_destination(there);
		if (find_address(contest.store, contest.first_address) != chase.entry)
			worker->fault = "the tunnel address does not lead to its entry";
		rcu_quiescent();
		if (i % 16 == 0)
			sched_yield();
	}
}

/* More keys than the port numbers of one address are not wanted. */
static void a_key_that_is_made_at_the_moment_of_the_move(void **state)
{
	uint32_t now = 1, wanted = 1, made;

	(void)state;
	contest = (struct contest){.store = bare_store(300, true), .peers = 1};
	set_pool(contest.store, NETWORK, 24, 1);
	chase.entry = obtain(contest.store, 0, 1, ENTRY_MADE);
	contest.first_address = host_order(&chase.entry->tunnel_address);
	atomic_store(&chase.wanted, 0);
	atomic_store(&chase.settled, 0);
	told.count = 0;
	start_workers(__func__, ask_for_the_wanted_key);
	set_deadline(500);
	for (; wanted < 50000 && !time_is_up(); wanted++) {
		atomic_store(&chase.wanted, wanted);
		/* the workers are before, amid or behind the making of the key */
		for (volatile uint32_t spin = 0; spin < wanted * 7 % 400; spin++)
			;
		if (wanted % 4 == 0)
			sched_yield();
		move(contest.store, chase.entry, to(wanted), now, ENTRY_MOVED);
		atomic_store(&chase.settled, wanted);
		assert_ptr_equal(find(contest.store, wanted), chase.entry);
		/* those that were absorbed are left out, and the one that moves is told once */
		take_newcomers(contest.store);
		for (uint32_t i = 0; i < came.count; i++)
			assert_true(came.entries[i] != chase.entry || wanted == 1);
		now += wanted % 8 == 0;
		if (wanted % 32 == 0)
			sweep(contest.store, now);
	}
	made = end_workers();
	/* each provisional one was absorbed, and told of */
	assert_int_equal(connection_store_count(contest.store), 1 + made - told.count);
	assert_true(made > 0);
	assert_all_is_usable(contest.store, 300, now);
}

/* A worker that stands between the key of a new entry and all that comes after the key. */
static _Thread_local bool stands_after_the_key;
static _Atomic bool has_made_the_key;

/* In place of liburcu's, which it calls. */
struct cds_lfht_node *cds_lfht_add_unique(struct cds_lfht *table, unsigned long hash,
					  cds_lfht_match_fct match, const void *key,
					  struct cds_lfht_node *node)
{
	static __typeof__(&cds_lfht_add_unique) liburcus;
	struct cds_lfht_node *published;

	if (liburcus == NULL)
		*(void **)&liburcus = dlsym(RTLD_NEXT, "cds_lfht_add_unique");
	published = liburcus(table, hash, match, key, node);
	if (stands_after_the_key) {
		stands_after_the_key = false;
		atomic_store(&has_made_the_key, true);
		usleep(20000);
	}
	return published;
}

static void make_an_entry_slowly(struct worker *worker)
{
	struct peer peer = numbered_peer(7);
	enum obtain_result result;

	if (worker->number != 0)
		return;
	stands_after_the_key = true;
	(void)connection_store_obtain(contest.store, &peer, 2, &result);
	worker->made += result == ENTRY_MADE;
}

static void a_move_waits_for_a_worker_that_has_made_the_key_alone(void **state)
{
	(void)state;
	for (int absorbs = 0; absorbs < 2; absorbs++) {
		struct peer_entry *entry;

		contest = (struct contest){.store = bare_store(300, true), .peers = 1};
		set_pool(contest.store, NETWORK, 24, 1);
		entry = proven(contest.store, 1, 1);
		told.count = 0;
		atomic_store(&has_made_the_key, false);
		start_workers(__func__, make_an_entry_slowly);
		while (!atomic_load(&has_made_the_key))
			sched_yield();
		if (absorbs)
			move(contest.store, entry, to(7), 2, ENTRY_MOVED);
		else
			sweep(contest.store, 2);
		assert_int_equal(end_workers(), 1);
		assert_int_equal(told.count, absorbs);
		assert_int_equal(connection_store_count(contest.store), 2 - absorbs);
		assert_int_equal(find(contest.store, 7) == entry, absorbs);
		if (absorbs)
			assert_null(connection_store_find_tunnel_address(
				contest.store, &told.last->tunnel_address));
		take_newcomers(contest.store);
		assert_int_equal(came.count, 2 - absorbs);
		assert_all_is_usable(contest.store, 300, 2);
		end_contest(state);
	}
}

/* Nothing but the key leads these workers to what the control thread makes. */
static void follow_one_key(struct worker *worker)
{
	for (uint32_t i = 0; !atomic_load(&contest.is_over); i++) {
		struct peer_entry *entry = find(contest.store, 0);

		if (entry == NULL)
			worker->fault = "a key leads nowhere";
		else if (host_order(&entry->tunnel_address) - NETWORK > 254)
			worker->fault = "a key leads to an entry that is not complete";
		rcu_quiescent();
		if (i % 64 == 0)
			sched_yield();
	}
}

static void a_key_is_given_to_one_new_entry_after_the_other(void **state)
{
	(void)state;
	contest = (struct contest){.store = store_with(300, 24), .peers = 1};
	obtain(contest.store, 0, 1, ENTRY_MADE);
	start_workers(__func__, follow_one_key);
	set_deadline(150);
	told.count = 0;
	for (uint32_t now = 1; !time_is_up(); now++) {
		struct peer_entry *next = obtain(contest.store, 1 + now % 100, now, ENTRY_MADE);

		move(contest.store, next, to(0), now, ENTRY_MOVED);
		assert_int_equal(told.count, now);
		assert_int_equal(connection_store_count(contest.store), 1);
	}
	assert_int_equal(end_workers(), 0);
	assert_all_is_usable(contest.store, 300, 100000);
}

static void make_passers_by(struct worker *worker)
{
	for (uint32_t i = 0; !atomic_load(&contest.is_over); i++) {
		uint32_t number = 1000 + dice_below(&worker->dice, 2000);
		struct peer peer = numbered_peer(number);
		enum obtain_result result;

		(void)connection_store_obtain(contest.store, &peer, 2, &result);
		worker->made += result == ENTRY_MADE || result == ENTRY_MADE_IN_QUARANTINE;
		rcu_quiescent();
		if (i % 16 == 0)
			sched_yield();
	}
}

static bool passes_by(struct peer_entry *entry, void *argument)
{
	return entry->last_received == 2 && dice_once_in(argument, 2);
}

static void an_iterator_sees_each_once_while_threads_make_others(void **state)
{
	struct dice dice = dice_for(__func__);
	struct peer_entry *lasting[LASTING];
	uint32_t removed = 0, made;

	(void)state;
	contest = (struct contest){.store = store_with(300, 24), .peers = 1};
	for (uint32_t number = 0; number < LASTING; number++)
		lasting[number] = obtain(contest.store, number, 1, ENTRY_MADE);
	start_workers(__func__, make_passers_by);
	set_deadline(200);
	for (uint32_t round = 0; !time_is_up(); round++) {
		struct connection_store_iterator iterator = connection_store_begin(contest.store);
		uint32_t slice = dice_between(&dice, 1, 50);

		memset(visits, 0, sizeof(visits));
		while (connection_store_visit(contest.store, &iterator, slice, note_visit,
					      visits)) {
			uint32_t which = dice_below(&dice, LASTING);

			move(contest.store, lasting[which], to(which + LASTING * (round % 2)), 1,
			     number_at(&lasting[which]->destination->peer) ==
					     which + LASTING * (round % 2)
				     ? ENTRY_WAS_THERE
				     : ENTRY_MOVED);
			if (dice_once_in(&dice, 8))
				removed += connection_store_sweep(contest.store, 2, passes_by, NULL,
								  &dice);
		}
		assert_each_was_visited_once(lasting);
	}
	made = end_workers();
	assert_int_equal(connection_store_count(contest.store), LASTING + made - removed);
	assert_all_is_usable(contest.store, 300, 2);
}

/*
 * A storm: workers do all that workers do, with few enough peers that they meet; the control thread
 * moves, sweeps and changes the pool, and keeps a book of which keys must lead where.
 */
enum {
	ANCHORS = 24, /* entries in the book; the others are the workers' */
	FIXED = 12,   /* anchors that are never dropped: workers know them, too */
	PEERS = 200,
	STORM_ENTRIES = 400,
	NOBODY = ANCHORS,
};

static struct {
	struct peer_entry *entries[ANCHORS];
	struct ip_address addresses[FIXED];
	uint32_t current[ANCHORS]; /* number of its key, PEERS: none */
	uint32_t holder[PEERS];    /* anchor whose key it is, NOBODY: none's */
	uint32_t alias_since[PEERS];
	uint32_t aliases;
	uint32_t now;
	uint32_t removed;
	struct dice dice;
} book;

/* Relaxed, here and where it is set: nothing but the store orders what the threads see of it. */
static uint32_t storm_seconds(void)
{
	return atomic_load_explicit(&contest.now, memory_order_relaxed);
}

static const char *fault_of_any(const struct peer_entry *entry)
{
	const struct destination *there = peer_entry_destination(entry);

	if (host_order(&entry->tunnel_address) - NETWORK > 1023)
		return "a tunnel address is not of the pool";
	return there != NULL ? fault_of_destination(there) : NULL;
}

static const char *obtain_in_the_storm(struct worker *worker)
{
	uint32_t number = dice_below(&worker->dice, PEERS);
	struct peer peer = numbered_peer(number);
	enum obtain_result result;
	struct peer_entry *entry = connection_store_obtain(contest.store, &peer, storm_seconds(),
							   &result);

	if (entry == NULL)
		return NULL;
	worker->made += result != ENTRY_FOUND;
	peer_entry_refresh(&entry->last_received, storm_seconds());
	return fault_of_any(entry);
}

static const char *look_up_in_the_storm(struct worker *worker)
{
	uint32_t anchor = dice_below(&worker->dice, FIXED);
	uint32_t address = NETWORK + dice_below(&worker->dice, 1024);
	struct peer_entry *entry = connection_store_find_tunnel_address(contest.store,
									&book.addresses[anchor]);

	if (entry != book.entries[anchor])
		return "a tunnel address does not lead to its entry";
	if (fault_of_any(entry) != NULL)
		return fault_of_any(entry);
	entry = find_address(contest.store, address);
	if (entry == NULL)
		return NULL;
	if (host_order(&entry->tunnel_address) != address)
		return "a tunnel address leads to an entry with another one";
	return fault_of_any(entry);
}

static void weather_the_storm(struct worker *worker)
{
	for (uint32_t i = 0; !atomic_load(&contest.is_over); i++) {
		const char *fault = dice_once_in(&worker->dice, 2) ? obtain_in_the_storm(worker)
								   : look_up_in_the_storm(worker);

		if (fault != NULL)
			worker->fault = fault;
		rcu_quiescent();
		if (i % 32 == 0)
			sched_yield();
	}
}

static void note_storm_victim(const struct peer_entry *entry, void *argument)
{
	const struct peer_entry *const *expected = argument;

	book.removed++;
	if (expected != NULL && *expected != NULL)
		assert_ptr_equal(entry, *expected);
}

static bool is_anchor(const struct peer_entry *entry)
{
	for (uint32_t i = 0; i < ANCHORS; i++) {
		if (book.entries[i] == entry)
			return true;
	}
	return false;
}

static bool is_washed_away(struct peer_entry *entry, void *argument)
{
	(void)argument;
	return !is_anchor(entry) && dice_once_in(&book.dice, 3);
}

static void forget_overdue_aliases(uint32_t anchor)
{
	for (uint32_t number = 0; number < PEERS; number++) {
		if (book.holder[number] == anchor && book.current[anchor] != number &&
		    book.now - book.alias_since[number] > ALIAS_SECONDS) {
			book.holder[number] = NOBODY;
			book.aliases--;
		}
	}
}

static void forget_all_keys(uint32_t anchor)
{
	for (uint32_t number = 0; number < PEERS; number++) {
		if (book.holder[number] != anchor)
			continue;
		book.holder[number] = NOBODY;
		book.aliases -= number != book.current[anchor];
	}
	book.current[anchor] = PEERS;
}

/* An anchor is a peer that came as any other and that is proven. */
static void drop_anchor(uint32_t anchor)
{
	for (;;) {
		uint32_t number = dice_below(&book.dice, PEERS);
		struct peer peer = numbered_peer(number);
		enum obtain_result result;
		struct peer_entry *entry;

		if (book.holder[number] != NOBODY)
			continue;
		entry = connection_store_obtain(contest.store, &peer, book.now, &result);
		if (entry == NULL) {
			book.removed += connection_store_sweep(contest.store, book.now,
							       is_washed_away, NULL, NULL);
			for (uint32_t i = 0; i < ANCHORS; i++)
				forget_overdue_aliases(i);
			continue;
		}
		book.removed -= result != ENTRY_FOUND; /* a worker would have counted it as made */
		/* the smaller of the pools would drop it */
		if (host_order(&entry->tunnel_address) >= NETWORK + 511)
			continue;
		connection_store_prove(contest.store, entry);
		book.entries[anchor] = entry;
		book.holder[number] = anchor;
		book.current[anchor] = number;
		return;
	}
}

static enum move_result expected_result(uint32_t anchor, uint32_t number, const struct move *where)
{
	uint32_t holder = book.holder[number];
	bool is_current = holder != NOBODY && book.current[holder] == number;

	if (holder == anchor && is_current)
		return ENTRY_WAS_THERE;
	if (holder != NOBODY && holder != anchor && !where->source_is_proven)
		return MOVE_REFUSED;
	if ((holder == NOBODY || is_current) && book.current[anchor] != PEERS &&
	    book.aliases >= most_aliases(STORM_ENTRIES))
		return MOVE_HAS_NO_ROOM;
	return ENTRY_MOVED;
}

static void note_in_book(uint32_t anchor, uint32_t number, const struct move *where)
{
	uint32_t holder = book.holder[number], old = book.current[anchor];

	if (holder != NOBODY && book.current[holder] == number) {
		book.current[holder] = PEERS;
		book.holder[number] = NOBODY;
		if (where->drops_former_holder)
			forget_all_keys(holder);
	} else if (holder != NOBODY) {
		book.aliases--;
	}
	book.holder[number] = anchor;
	book.current[anchor] = number;
	if (old == PEERS)
		return;
	book.alias_since[old] = book.now;
	book.aliases++;
}

static void move_an_anchor(void)
{
	uint32_t anchor = dice_below(&book.dice, ANCHORS);
	uint32_t number = dice_below(&book.dice, PEERS);
	uint32_t holder = book.holder[number];
	const struct peer_entry *victim = holder == NOBODY ? NULL : book.entries[holder];
	struct move where = {
		.peer = numbered_peer(number),
		.source_is_proven = dice_once_in(&book.dice, 2),
		.absorbs_with_quarantine = dice_once_in(&book.dice, 2),
		.drops_former_holder = holder != NOBODY && holder >= FIXED &&
				       dice_once_in(&book.dice, 2),
	};
	enum move_result expected = expected_result(anchor, number, &where);
	bool drops = expected == ENTRY_MOVED && holder != NOBODY && holder != anchor &&
		     book.current[holder] == number && where.drops_former_holder;

	assert_int_equal(connection_store_move(contest.store, book.entries[anchor], &where,
					       book.now, note_storm_victim, (void *)&victim),
			 expected);
	if (expected == ENTRY_MOVED)
		note_in_book(anchor, number, &where);
	forget_overdue_aliases(anchor);
	if (drops)
		drop_anchor(holder);
}

static void compare_with_book(void)
{
	for (uint32_t i = 0; i < ANCHORS; i++) {
		assert_has_address(contest.store, book.entries[i]);
		if (book.current[i] == PEERS)
			assert_null(peer_entry_destination(book.entries[i]));
		else
			assert_int_equal(number_at(&peer_entry_destination(book.entries[i])->peer),
					 book.current[i]);
	}
	for (uint32_t number = 0; number < PEERS; number++) {
		struct peer_entry *found = find(contest.store, number);

		if (book.holder[number] != NOBODY)
			assert_ptr_equal(found, book.entries[book.holder[number]]);
		else
			assert_false(found != NULL && is_anchor(found));
	}
}

static void change_the_weather(uint32_t round)
{
	struct pool_range range = range_of(NETWORK, round % 2 == 0 ? 23 : 22, 1 << 22);
	uint32_t lost;

	atomic_store_explicit(&contest.now, ++book.now, memory_order_relaxed);
	if (dice_once_in(&book.dice, 8))
		assert_true(connection_store_set_pool(contest.store, &range, book.now,
						      note_storm_victim, NULL, &lost));
	else
		connection_store_sweep(contest.store, book.now, is_washed_away, note_storm_victim,
				       NULL);
	for (uint32_t i = 0; i < ANCHORS; i++)
		forget_overdue_aliases(i);
	connection_store_refill_spares(contest.store, book.now);
}

static void start_storm(const char *test)
{
	contest = (struct contest){.store = store_with(STORM_ENTRIES, 23), .peers = PEERS};
	book.now = 1;
	book.removed = 0;
	book.aliases = 0;
	book.dice = dice_for(test);
	for (uint32_t number = 0; number < PEERS; number++)
		book.holder[number] = NOBODY;
	for (uint32_t i = 0; i < ANCHORS; i++) {
		book.entries[i] = NULL;
		drop_anchor(i);
	}
	for (uint32_t i = 0; i < FIXED; i++)
		book.addresses[i] = book.entries[i]->tunnel_address;
	start_workers(test, weather_the_storm);
}

static void a_storm(void **state)
{
	uint32_t made;

	(void)state;
	start_storm(__func__);
	set_deadline(700);
	for (uint32_t round = 0; !time_is_up(); round++) {
		for (uint32_t moves = dice_below(&book.dice, 20); moves > 0; moves--)
			move_an_anchor();
		compare_with_book();
		change_the_weather(round);
		compare_with_book();
		if (dice_once_in(&book.dice, 4))
			sched_yield();
	}
	made = end_workers();
	assert_int_equal(connection_store_count(contest.store), made - book.removed);
	assert_all_is_usable(contest.store, STORM_ENTRIES, book.now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_that_moved_is_the_same_one),
		cmocka_unit_test(an_old_key_is_an_alias_for_some_seconds),
		cmocka_unit_test(aliases_end_one_after_the_other),
		cmocka_unit_test(an_alias_lives_through_the_wrap_of_the_clock),
		cmocka_unit_test(moving_to_where_it_is_changes_nothing),
		cmocka_unit_test(another_own_address_is_another_place),
		cmocka_unit_test(what_a_move_absorbs_leaves_its_address),
		cmocka_unit_test(a_proven_holder_keeps_its_key_from_a_source_that_is_not_proven),
		cmocka_unit_test(a_proven_holder_can_live_on_without_a_key),
		cmocka_unit_test(a_peer_without_a_key_expires_and_leaves_nothing),
		cmocka_unit_test(a_proven_holder_can_be_dropped_with_quarantine),
		cmocka_unit_test(a_dropped_holder_has_no_aliases_any_more),
		cmocka_unit_test(an_alias_counts_as_the_key_of_a_proven_peer),
		cmocka_unit_test(two_entries_swap_keys),
		cmocka_unit_test(an_entry_moves_back_to_an_alias_of_its_own),
		cmocka_unit_test(aliases_are_limited_and_come_back),
		cmocka_unit_test(a_move_ends_old_aliases_of_its_entry),
		cmocka_unit_test(an_entry_that_goes_takes_all_its_keys_with_it),
		cmocka_unit_test(a_pool_that_changes_takes_the_keys_of_those_it_drops),
		cmocka_unit_test(a_pool_that_stays_the_same_keeps_all_keys),
		cmocka_unit_test(a_newcomer_that_moved_is_told_once),
		cmocka_unit_test(destinations_without_tunnel_addresses_move),
		cmocka_unit_test(what_was_put_in_is_as_it_was),
		cmocka_unit_test(what_cannot_be_put_in_leaves_nothing),
		cmocka_unit_test(nothing_can_be_put_into_a_full_store),
		cmocka_unit_test(quarantine_keeps_nothing_out_that_is_put_in),
		cmocka_unit_test(what_was_put_in_can_move),
		cmocka_unit_test(an_iterator_sees_each_that_stays_once),
		cmocka_unit_test(an_iterator_over_nothing_is_at_its_end),
		cmocka_unit_test_teardown(no_reader_misses_an_entry_that_moves, end_contest),
		cmocka_unit_test_teardown(no_reader_sees_half_a_destination, end_contest),
		cmocka_unit_test_teardown(a_key_that_is_made_at_the_moment_of_the_move,
					  end_contest),
		cmocka_unit_test_teardown(a_move_waits_for_a_worker_that_has_made_the_key_alone,
					  end_contest),
		cmocka_unit_test_teardown(a_key_is_given_to_one_new_entry_after_the_other,
					  end_contest),
		cmocka_unit_test_teardown(an_iterator_sees_each_once_while_threads_make_others,
					  end_contest),
		cmocka_unit_test_teardown(a_storm, end_contest),
	};

	return report_seed(cmocka_run_group_tests_name("moving_peers", tests, become_control_thread,
						       be_control_thread_no_more));
}
