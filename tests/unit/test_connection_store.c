/*
 * connection_store: entries by peer and by tunnel address, expiry, a full store, a pool that
 * changes, the list of newcomers, memory, and all of that with several threads at a time.
 *
 * This thread is the control thread; workers are threads that report quiescent states, as RCU
 * wants.
 */
#include "store_contest.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* One thread */

static void without_a_pool_there_are_no_entries(void **state)
{
	struct connection_store *store = bare_store(100, false);

	(void)state;
	obtain(store, 1, 1, ENTRY_HAS_NO_POOL);
	assert_int_equal(connection_store_count(store), 0);
	assert_null(find(store, 1));
	assert_null(find_address(store, NETWORK + 5));
	connection_store_refill_spares(store, 1);
	assert_int_equal(expire(store, 1, 0), 0);
	assert_int_equal(set_pool(store, NETWORK, 24, 1), 0);
	obtain(store, 1, 1, ENTRY_MADE);
	connection_store_destroy(store);
}

static void an_entry_is_found_by_both_keys(void **state)
{
	struct connection_store *store = store_with(1000, 20);

	(void)state;
	for (uint32_t number = 0; number < 1000; number++) {
		struct peer_entry *entry = obtain(store, number, 7, ENTRY_MADE);
		uint32_t address = host_order(&entry->tunnel_address);
		struct peer peer = numbered_peer(number);

		assert_true(peer_equal(&entry->destination->peer, &peer));
		assert_in_range(address, NETWORK + 2, NETWORK + 4094);
		assert_ptr_equal(find(store, number), entry);
		assert_ptr_equal(find_address(store, address), entry);
		assert_int_equal(connection_store_count(store), number + 1);
	}
	assert_is_sound(store);
	assert_null(find(store, 1000));
	assert_null(find_address(store, NETWORK));
	assert_null(find_address(store, OWN));
	assert_null(find_address(store, NETWORK + 4095));
	assert_null(find_address(store, NETWORK + 4096));
	assert_null(find_address(store, NETWORK - 1));
	connection_store_destroy(store);
}

/* Promise h. */
static void an_entry_begins_without_a_source_of_its_own(void **state)
{
	const struct connection_store_settings settings = {.max_entries = 1};
	struct connection_store *store = connection_store_create(&settings);
	struct ip_address source = ipv4_address(OWN);
	struct ip_address found = {{0}};
	struct peer_entry *entry = obtain(store, 1, 1, ENTRY_MADE);

	(void)state;
	assert_int_equal(peer_entry_source(entry, &found), SOURCE_IS_NOT_ASKED_FOR);
	assert_true(ip_address_is_none(&found));
	peer_entry_set_source(entry, SOURCE_IS_OWN, &source);
	assert_int_equal(peer_entry_source(entry, &found), SOURCE_IS_OWN);
	assert_memory_equal(&found, &source, sizeof(source));
	/* another entry in the same place */
	assert_int_equal(expire(store, 1000, 0), 1);
	assert_ptr_equal(obtain(store, 2, 1, ENTRY_MADE), entry);
	assert_int_equal(peer_entry_source(entry, &found), SOURCE_IS_NOT_ASKED_FOR);
	connection_store_destroy(store);
}

struct source_reader {
	struct peer_entry *entry;
	_Atomic bool is_over;
	unsigned long mixed;
};

static void *read_sources(void *argument)
{
	struct source_reader *reader = argument;

	while (!atomic_load(&reader->is_over)) {
		struct ip_address found;

		if (peer_entry_source(reader->entry, &found) != SOURCE_IS_OWN)
			continue;
		if (!ip_address_is_ipv4(&found) ||
		    (host_order(&found) != OWN && host_order(&found) != OWN + 1))
			reader->mixed++;
	}
	return NULL;
}

/* Promise h: by a worker that reads while the control thread sets. */
static void a_source_is_seen_whole(void **state)
{
	const struct connection_store_settings settings = {.max_entries = 1};
	struct connection_store *store = connection_store_create(&settings);
	struct source_reader reader = {.entry = obtain(store, 1, 1, ENTRY_MADE)};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, read_sources, &reader), 0);
	for (uint32_t i = 0; i < 300000; i++) {
		struct ip_address source = ipv4_address(OWN + i % 2);

		peer_entry_set_source(reader.entry, i % 3 ? SOURCE_IS_OWN : SOURCE_IS_MISSING,
				      &source);
	}
	atomic_store(&reader.is_over, true);
	pthread_join(thread, NULL);
	assert_int_equal(reader.mixed, 0);
	connection_store_destroy(store);
}

/* Such a pool has an address at its very beginning. */
static void addresses_outside_a_small_pool(void **state)
{
	struct connection_store *store = store_with(10, 31);
	struct peer_entry *entry = obtain(store, 5, 1, ENTRY_MADE);

	(void)state;
	assert_ptr_equal(find_address(store, NETWORK), entry);
	for (uint32_t outside = NETWORK + 1; outside < NETWORK + 300; outside++)
		assert_null(find_address(store, outside));
	connection_store_destroy(store);
}

static void there_is_one_entry_for_each_peer(void **state)
{
	struct connection_store *store = store_with(1000, 20);
	struct peer_entry *entry = obtain(store, 5, 7, ENTRY_MADE);

	(void)state;
	assert_ptr_equal(obtain(store, 5, 9, ENTRY_FOUND), entry);
	assert_int_equal(entry->last_received, 7);
	assert_int_equal(connection_store_count(store), 1);
	connection_store_destroy(store);
}

static void peers_that_differ_by_a_bit_are_two(void **state)
{
	struct connection_store *store = store_with(1000, 20);

	(void)state;
	for (unsigned bit = 0; bit <= 128 + 16 + 128; bit++) {
		struct peer peer = peer_of(0xcb007107, 12345);
		enum obtain_result result;

		if (bit < 128)
			peer.remote.address.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		else if (bit < 128 + 16)
			peer.remote.port ^= (uint16_t)(1 << (bit - 128));
		else if (bit < 128 + 16 + 128)
			peer.own_address.bytes[(bit - 144) / 8] ^= (uint8_t)(1 << bit % 8);
		assert_non_null(connection_store_obtain(store, &peer, 1, &result));
		assert_int_equal(result, ENTRY_MADE);
	}
	assert_int_equal(connection_store_count(store), 128 + 16 + 128 + 1);
	assert_is_sound(store);
	connection_store_destroy(store);
}

/* With a port for each worker, a far end is as many peers as it has of our ports to talk to. */
static void own_ports_are_apart(void **state)
{
	struct connection_store *store = store_with(1000, 20);
	struct peer peer = numbered_peer(5);
	enum obtain_result result;
	struct peer_entry *entry;

	(void)state;
	obtain(store, 5, 1, ENTRY_MADE);
	peer.own_port = 0x3039; /* any but 0 */
	assert_null(connection_store_find_peer(store, &peer));
	entry = connection_store_obtain(store, &peer, 1, &result);
	assert_int_equal(result, ENTRY_MADE);
	assert_ptr_not_equal(entry, find(store, 5));
	assert_ptr_equal(connection_store_find_peer(store, &peer), entry);
	connection_store_destroy(store);
}

static void assert_is_new(struct connection_store *store, struct peer_entry *entry, uint32_t now)
{
	const struct peer_record *record = connection_store_record(store, entry);

	assert_int_equal(record->made, now);
	assert_int_equal(record->bytes_in, 0);
	assert_int_equal(record->bytes_out, 0);
	assert_int_equal(entry->last_received, now);
	assert_int_equal(entry->last_sent, now);
	assert_int_equal(entry->last_tcp, now);
	assert_false(peer_entry_is_proven(entry));
	assert_false(connection_store_sends_singly(entry, now));
}

static void a_new_entry_has_nothing_of_an_old_one(void **state)
{
	struct connection_store *store = bare_store(1, true);
	struct peer peer = numbered_peer(2);
	struct peer_entry *entry;

	(void)state;
	set_pool(store, NETWORK, 24, 1);
	entry = obtain(store, 1, 7, ENTRY_MADE);
	assert_is_new(store, entry, 7);
	connection_store_prove(store, entry);
	connection_store_send_singly(entry, 90);
	peer_entry_refresh(&entry->last_received, 8);
	peer_entry_refresh(&entry->last_sent, 9);
	peer_entry_refresh(&entry->last_tcp, 10);
	connection_store_record(store, entry)->bytes_in = 11;
	connection_store_record(store, entry)->bytes_out = 12;
	assert_int_equal(expire(store, 20, 1), 1);
	/* the only entry there is, so it is the same one */
	assert_ptr_equal(obtain(store, 2, 30, ENTRY_MADE), entry);
	assert_is_new(store, entry, 30);
	assert_true(peer_equal(&peer_entry_destination(entry)->peer, &peer));
	connection_store_destroy(store);
}

static void times_are_stored(void **state)
{
	struct connection_store *store = store_with(10, 24);
	struct peer_entry *entry = obtain(store, 1, 7, ENTRY_MADE);

	(void)state;
	for (uint32_t round = 0; round < 100; round++) {
		peer_entry_refresh(&entry->last_received, 100 + round);
		assert_int_equal(entry->last_received, 100 + round);
	}
	connection_store_destroy(store);
}

/* A remote end that talks to several addresses of ours is as many peers. */
static void own_addresses_are_apart(void **state)
{
	struct connection_store *store = store_with(1000, 20);
	struct peer_entry *entries[3];
	struct peer peer = peer_of(0xcb007107, 12345);
	enum obtain_result result;

	(void)state;
	for (uint32_t own = 0; own < 3; own++) {
		peer.own_address = ipv4_address(0xc6336401 + own);
		assert_null(connection_store_find_peer(store, &peer));
		entries[own] = connection_store_obtain(store, &peer, 1, &result);
		assert_int_equal(result, ENTRY_MADE);
		for (uint32_t other = 0; other < own; other++)
			assert_memory_not_equal(&entries[own]->tunnel_address,
						&entries[other]->tunnel_address, 16);
	}
	/* whichever was used last, each stays where it is */
	for (uint32_t own = 0; own < 3; own++) {
		peer.own_address = ipv4_address(0xc6336401 + own);
		assert_ptr_equal(connection_store_obtain(store, &peer, 2, &result), entries[own]);
		assert_int_equal(result, ENTRY_FOUND);
		assert_true(peer_equal(&peer_entry_destination(entries[own])->peer, &peer));
	}
	assert_int_equal(connection_store_count(store), 3);
	assert_is_sound(store);
	connection_store_destroy(store);
}

static void how_long_messages_go_singly(void **state)
{
	struct connection_store *store = store_with(10, 24);
	struct peer_entry *entry = obtain(store, 1, 7, ENTRY_MADE);
	struct peer_entry *other = obtain(store, 2, 7, ENTRY_MADE);

	(void)state;
	connection_store_send_singly(entry, 70);
	assert_true(connection_store_sends_singly(entry, 10));
	assert_true(connection_store_sends_singly(entry, 69));
	assert_false(connection_store_sends_singly(entry, 70));
	assert_false(connection_store_sends_singly(entry, 1000000));
	assert_false(connection_store_sends_singly(other, 10));
	connection_store_destroy(store);
}

/* Endpoint mode: destinations have no tunnel address, and need none. */
static void a_store_without_tunnel_addresses(void **state)
{
	struct connection_store *store =
		connection_store_create(&(struct connection_store_settings){.max_entries = 10});
	const struct ip_address none = {{0}};

	(void)state;
	assert_non_null(store);
	for (uint32_t number = 0; number < 10; number++) {
		struct peer_entry *entry = obtain(store, number, 1, ENTRY_MADE);

		assert_memory_equal(&entry->tunnel_address, &none, 16);
		assert_ptr_equal(find(store, number), entry);
	}
	assert_null(find_address(store, NETWORK + 5));
	assert_null(connection_store_find_tunnel_address(store, &none));
	obtain(store, 10, 1, ENTRY_REFUSED);
	assert_int_equal(expire(store, 5, 1), 10);
	obtain(store, 10, 1, ENTRY_MADE);
	assert_int_equal(connection_store_count(store), 1);
	connection_store_destroy(store);
}

/* What a sweep asked and told about. */
struct sweep_log {
	uint32_t asked[100];
	uint32_t removed[100];
	struct ip_address addresses[100];
};

static uint32_t number_of(const struct peer_entry *entry)
{
	for (uint32_t number = 0; number < 100; number++) {
		struct peer peer = numbered_peer(number);

		if (peer_equal(&peer, &entry->destination->peer))
			return number;
	}
	fail_msg("an entry for nobody");
	return 0;
}

static bool every_third(struct peer_entry *entry, void *argument)
{
	struct sweep_log *log = argument;
	uint32_t number = number_of(entry);

	log->asked[number]++;
	return number % 3 == 0;
}

static void log_removed(const struct peer_entry *entry, void *argument)
{
	struct sweep_log *log = argument;
	uint32_t number = number_of(entry);

	log->removed[number]++;
	log->addresses[number] = entry->tunnel_address;
}

static void a_sweep_removes_what_it_is_told_to(void **state)
{
	struct connection_store *store = store_with(1000, 20);
	struct sweep_log log = {.asked = {0}};
	uint32_t addresses[100];

	(void)state;
	for (uint32_t number = 0; number < 100; number++)
		addresses[number] =
			host_order(&obtain(store, number, 1, ENTRY_MADE)->tunnel_address);
	assert_int_equal(connection_store_sweep(store, 5, every_third, log_removed, &log), 34);
	assert_int_equal(connection_store_count(store), 66);
	for (uint32_t number = 0; number < 100; number++) {
		bool goes = number % 3 == 0;

		assert_int_equal(log.asked[number], 1);
		assert_int_equal(log.removed[number], goes);
		assert_int_equal(find(store, number) == NULL, goes);
		assert_int_equal(find_address(store, addresses[number]) == NULL, goes);
		if (goes)
			assert_int_equal(host_order(&log.addresses[number]), addresses[number]);
	}
	assert_is_sound(store);
	/* those that are gone are not asked about any more */
	memset(&log, 0, sizeof(log));
	assert_int_equal(connection_store_sweep(store, 6, every_third, log_removed, &log), 0);
	for (uint32_t number = 0; number < 100; number++)
		assert_int_equal(log.asked[number], number % 3 != 0);
	connection_store_destroy(store);
}

static void a_peer_that_comes_back_has_its_address_again(void **state)
{
	struct connection_store *store = store_with(1000, 22);
	uint32_t addresses[500];

	(void)state;
	/* so many that a good part of them is not at home */
	for (uint32_t number = 0; number < 500; number++)
		addresses[number] =
			host_order(&obtain(store, number, 1, ENTRY_MADE)->tunnel_address);
	assert_int_equal(expire(store, 1000, 100), 500);
	assert_int_equal(connection_store_count(store), 0);
	for (uint32_t number = 500; number-- > 0;) {
		struct peer_entry *entry = obtain(store, number, 1001, ENTRY_MADE);

		/* in quarantine for everybody else, so in any order */
		assert_int_equal(host_order(&entry->tunnel_address), addresses[number]);
	}
	assert_is_sound(store);
	connection_store_destroy(store);
}

static void a_store_that_was_restarted_gives_the_same_addresses(void **state)
{
	struct connection_store *before = store_with(200, 16);
	struct connection_store *after = store_with(200, 16);

	(void)state;
	for (uint32_t number = 0; number < 200; number++) {
		struct peer_entry *one = obtain(before, number, 1, ENTRY_MADE);
		struct peer_entry *other = obtain(after, number, 99, ENTRY_MADE);

		assert_memory_equal(&one->tunnel_address, &other->tunnel_address, 16);
	}
	connection_store_destroy(before);
	connection_store_destroy(after);
}

/* Six addresses: network, broadcast and own left out, that is five. */
static void quarantine_cut_short_is_told(void **state)
{
	struct connection_store *store = store_with(100, 29);
	uint32_t addresses[5];

	(void)state;
	for (uint32_t number = 0; number < 5; number++)
		addresses[number] = host_order(
			&obtain(store, number, 100 + number, ENTRY_MADE)->tunnel_address);
	obtain(store, 5, 200, ENTRY_REFUSED);
	assert_int_equal(connection_store_count(store), 5);
	/* one after the other goes; the newcomers get what was freed longest ago */
	for (uint32_t number = 0; number < 5; number++)
		assert_int_equal(expire(store, 300 + number, 200), 1);
	for (uint32_t number = 10; number < 15; number++) {
		struct peer_entry *entry = obtain(store, number, 400, ENTRY_MADE_IN_QUARANTINE);

		assert_int_equal(host_order(&entry->tunnel_address), addresses[number - 10]);
	}
	assert_is_sound(store);
	assert_int_equal(expire(store, 2000, 200), 5);
	/* after the quarantine they are like any other */
	for (uint32_t number = 20; number < 25; number++)
		obtain(store, number, 2000 + QUARANTINE, ENTRY_MADE);
	connection_store_destroy(store);
}

static void a_store_full_of_entries_refuses_and_recovers(void **state)
{
	struct connection_store *store = store_with(100, 16);

	(void)state;
	for (uint32_t round = 0; round < 5; round++) {
		uint32_t first = round * 1000;

		for (uint32_t number = first; number < first + 100; number++)
			obtain(store, number, 10 * round + 1, ENTRY_MADE);
		for (uint32_t number = first + 100; number < first + 150; number++)
			obtain(store, number, 10 * round + 1, ENTRY_REFUSED);
		/* those that have an entry are served */
		for (uint32_t number = first; number < first + 100; number++)
			obtain(store, number, 10 * round + 1, ENTRY_FOUND);
		assert_null(find(store, first + 100));
		assert_int_equal(connection_store_count(store), 100);
		assert_is_sound(store);
		/* 30 go, 30 may come */
		for (uint32_t number = first + 30; number < first + 100; number++)
			peer_entry_refresh(&find(store, number)->last_received, 10 * round + 5);
		assert_int_equal(expire(store, 10 * round + 6, 2), 30);
		for (uint32_t number = first + 200; number < first + 230; number++)
			obtain(store, number, 10 * round + 6, ENTRY_MADE);
		obtain(store, first + 300, 10 * round + 6, ENTRY_REFUSED);
		assert_is_sound(store);
		assert_int_equal(expire(store, 10 * round + 9, 0), 100);
		assert_int_equal(connection_store_count(store), 0);
	}
	connection_store_destroy(store);
}

static void a_store_full_of_addresses_refuses_and_recovers(void **state)
{
	struct connection_store *store = store_with(1000, 24);

	(void)state;
	assert_int_equal(fill_the_pool(store, 0, 1), 253);
	assert_int_equal(connection_store_count(store), 253);
	assert_is_sound(store);
	/* entries of the refused went back: there is room for as many again elsewhere */
	assert_int_equal(set_pool(store, NETWORK, 22, 1), 0);
	assert_int_equal(fill_the_pool(store, 10000, 1), 1000 - 253);
	assert_int_equal(expire(store, 100, 10), 1000);
	assert_int_equal(fill_the_pool(store, 20000, 101), 1000);
	assert_is_sound(store);
	connection_store_destroy(store);
}

static void how_many_peers_the_pool_has_room_for(void **state)
{
	struct connection_store *store = bare_store(1000, false);

	(void)state;
	assert_int_equal(connection_store_pool_capacity(store), 0);
	for (unsigned bits = 20; bits <= 30; bits++) {
		/* network, broadcast and own address left out */
		uint32_t room = (1u << (32 - bits)) - 3;

		assert_int_equal(set_pool(store, NETWORK, bits, 1), 0);
		assert_int_equal(connection_store_pool_capacity(store), room);
	}
	/* those who have an address count as well */
	assert_int_equal(set_pool(store, NETWORK, 24, 1), 0);
	obtain(store, 1, 1, ENTRY_MADE);
	assert_int_equal(connection_store_pool_capacity(store), 253);
	connection_store_destroy(store);
}

/* A new pool has spares at once, and says when it needs others. */
static void a_new_pool_has_spares(void **state)
{
	struct connection_store *store = bare_store(5000, false);

	(void)state;
	assert_false(connection_store_wants_spares(store));
	assert_int_equal(set_pool(store, NETWORK, 20, 1), 0);
	assert_false(connection_store_wants_spares(store));
	assert_int_equal(fill_the_pool(store, 0, 100), 4093);
	for (uint32_t number = 10; number < 4093; number++)
		peer_entry_refresh(&find(store, number)->last_received, 200);
	assert_int_equal(expire(store, 201, 50), 10);
	assert_int_equal(set_pool(store, NETWORK, 20, 202), 0);
	assert_false(connection_store_wants_spares(store));
	/* nobody has a home so near to all of those ten that no spare is needed */
	for (uint32_t number = 5000; number < 5010; number++)
		obtain(store, number, 203, ENTRY_MADE_IN_QUARANTINE);
	assert_true(connection_store_wants_spares(store));
	obtain(store, 5010, 203, ENTRY_REFUSED);
	connection_store_refill_spares(store, 203);
	assert_false(connection_store_wants_spares(store));
	assert_is_sound(store);
	connection_store_destroy(store);
}

/* Pools that change */

static void count_removed(const struct peer_entry *entry, void *argument)
{
	(void)entry;
	++*(uint32_t *)argument;
}

static void a_new_pool_drops_what_lies_outside(void **state)
{
	struct connection_store *store = store_with(1000, 24);
	struct pool_range upper = range_of(NETWORK + 128, 25, 1 << 22);
	struct peer_entry *entries[200];
	uint32_t addresses[200];
	uint32_t told = 0, lost = NEVER, expected = 0;

	(void)state;
	for (uint32_t number = 0; number < 200; number++) {
		struct peer_entry *entry = obtain(store, number, 1, ENTRY_MADE);

		entries[number] = entry;
		addresses[number] = host_order(&entry->tunnel_address);
		/* the broadcast address of 10.0.0.128/25 is no more one than before */
		if (addresses[number] <= NETWORK + 128)
			expected++;
	}
	assert_true(connection_store_set_pool(store, &upper, 2, count_removed, &told, &lost));
	assert_int_equal(lost, expected);
	assert_int_equal(told, expected);
	assert_int_equal(connection_store_count(store), 200 - expected);
	for (uint32_t number = 0; number < 200; number++) {
		bool goes = addresses[number] <= NETWORK + 128;

		assert_ptr_equal(find(store, number), goes ? NULL : entries[number]);
		assert_ptr_equal(find_address(store, addresses[number]),
				 goes ? NULL : entries[number]);
		if (!goes)
			assert_int_equal(host_order(&entries[number]->tunnel_address),
					 addresses[number]);
	}
	assert_is_sound(store);
	/* newcomers are from the new pool, and so are those who were dropped */
	for (uint32_t number = 0; number < 200; number++) {
		struct peer peer = numbered_peer(number);
		enum obtain_result result;
		struct peer_entry *entry = connection_store_obtain(store, &peer, 3, &result);

		if (entry != NULL)
			assert_in_range(host_order(&entry->tunnel_address), NETWORK + 129,
					NETWORK + 254);
	}
	assert_is_sound(store);
	connection_store_destroy(store);
}

static void a_wider_pool_drops_nothing(void **state)
{
	struct connection_store *store = store_with(1000, 25);
	uint32_t addresses[100];

	(void)state;
	for (uint32_t number = 0; number < 100; number++)
		addresses[number] =
			host_order(&obtain(store, number, 1, ENTRY_MADE)->tunnel_address);
	/* from the middle of a pool, so that every offset changes */
	for (unsigned bits = 24; bits >= 7; bits--) {
		assert_int_equal(set_pool(store, NETWORK, bits, 2), 0);
		for (uint32_t number = 0; number < 100; number++) {
			struct peer_entry *entry = find(store, number);

			assert_non_null(entry);
			assert_int_equal(host_order(&entry->tunnel_address), addresses[number]);
			assert_ptr_equal(find_address(store, addresses[number]), entry);
		}
		assert_is_sound(store);
	}
	assert_int_equal(set_pool(store, NETWORK + (1 << 24), 24, 2), 100);
	assert_int_equal(connection_store_count(store), 0);
	connection_store_destroy(store);
}

/* The interface gets an address that a peer had: the peer has to go. */
static void the_interfaces_new_address_is_taken_from_its_holder(void **state)
{
	struct connection_store *store = store_with(1000, 24);
	struct pool_range range = range_of(NETWORK, 24, 1 << 22);
	struct peer_entry *entry = obtain(store, 7, 1, ENTRY_MADE);
	uint32_t address = host_order(&entry->tunnel_address);
	struct ip_address own = entry->tunnel_address;
	uint32_t lost;

	(void)state;
	obtain(store, 8, 1, ENTRY_MADE);
	range.excluded = &own;
	assert_true(connection_store_set_pool(store, &range, 2, NULL, NULL, &lost));
	assert_int_equal(lost, 1);
	assert_null(find(store, 7));
	assert_non_null(find(store, 8));
	assert_null(find_address(store, address));
	entry = obtain(store, 7, 3, ENTRY_MADE);
	assert_int_not_equal(host_order(&entry->tunnel_address), address);
	assert_is_sound(store);
	connection_store_destroy(store);
}

static void quarantine_goes_on_in_a_new_pool(void **state)
{
	struct connection_store *store = store_with(1000, 29);
	uint32_t addresses[5];

	(void)state;
	for (uint32_t number = 0; number < 5; number++)
		addresses[number] =
			host_order(&obtain(store, number, 1, ENTRY_MADE)->tunnel_address);
	assert_int_equal(expire(store, 1000, 10), 5);
	/* twice as many addresses, eight of them without a quarantine */
	assert_int_equal(set_pool(store, NETWORK, 28, 1001), 0);
	for (uint32_t number = 10; number < 18; number++) {
		struct peer_entry *entry = obtain(store, number, 1002, ENTRY_MADE);

		assert_in_range(host_order(&entry->tunnel_address), NETWORK + 7, NETWORK + 14);
	}
	for (uint32_t number = 0; number < 5; number++) {
		struct peer_entry *entry = obtain(store, number, 1003, ENTRY_MADE);

		assert_int_equal(host_order(&entry->tunnel_address), addresses[number]);
	}
	assert_is_sound(store);
	connection_store_destroy(store);
}

/* Newcomers */

enum {
	MAX_NEWCOMERS = 100000,
};

struct newcomers {
	uint32_t count;
	struct peer peers[MAX_NEWCOMERS];
};

static struct newcomers newcomers;

static void note_newcomer(const struct peer_entry *entry, void *argument)
{
	assert_ptr_equal(argument, &newcomers);
	/* also what ends a list that goes round in a circle */
	assert_in_range(newcomers.count, 0, MAX_NEWCOMERS - 1);
	newcomers.peers[newcomers.count++] = entry->destination->peer;
}

static void take_newcomers(struct connection_store *store)
{
	newcomers.count = 0;
	connection_store_take_newcomers(store, note_newcomer, &newcomers);
}

static uint32_t times_among_newcomers(uint32_t number)
{
	struct peer peer = numbered_peer(number);
	uint32_t times = 0;

	for (uint32_t i = 0; i < newcomers.count; i++)
		times += memcmp(&peer.remote.address, &newcomers.peers[i].remote.address, 16) ==
				 0 &&
			 peer.remote.port == newcomers.peers[i].remote.port;
	return times;
}

static void newcomers_are_told_once_oldest_first(void **state)
{
	struct connection_store *store = bare_store(1000, true);

	(void)state;
	assert_int_equal(set_pool(store, NETWORK, 16, 1), 0);
	take_newcomers(store);
	assert_int_equal(newcomers.count, 0);
	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t number = 0; number < 100; number++) {
			obtain(store, 100 * round + number, 1, ENTRY_MADE);
			obtain(store, number, 1, ENTRY_FOUND);
		}
		take_newcomers(store);
		assert_int_equal(newcomers.count, 100);
		for (uint32_t i = 0; i < 100; i++) {
			struct peer peer = numbered_peer(100 * round + i);

			assert_memory_equal(&newcomers.peers[i].remote.address,
					    &peer.remote.address, 16);
			assert_int_equal(newcomers.peers[i].remote.port, peer.remote.port);
		}
		take_newcomers(store);
		assert_int_equal(newcomers.count, 0);
	}
	/* one that comes back is one again */
	assert_int_equal(expire(store, 100, 10), 500);
	obtain(store, 3, 101, ENTRY_MADE);
	take_newcomers(store);
	assert_int_equal(newcomers.count, 1);
	assert_int_equal(times_among_newcomers(3), 1);
	connection_store_destroy(store);
}

/* Entries that went before anybody asked for newcomers, and others that were made in their place.
 */
static void newcomers_that_went_before_they_were_told(void **state)
{
	struct connection_store *store = bare_store(3, true);

	(void)state;
	assert_int_equal(set_pool(store, NETWORK, 16, 1), 0);
	for (uint32_t number = 0; number < 3; number++)
		obtain(store, number, 1, ENTRY_MADE);
	assert_int_equal(expire(store, 100, 10), 3);
	for (uint32_t number = 10; number < 13; number++)
		obtain(store, number, 101, ENTRY_MADE);
	take_newcomers(store);
	for (uint32_t number = 10; number < 13; number++) {
		assert_int_equal(times_among_newcomers(number), 1);
		assert_in_range(times_among_newcomers(number - 10), 0, 1);
	}
	assert_in_range(newcomers.count, 3, 6);
	take_newcomers(store);
	assert_int_equal(newcomers.count, 0);
	connection_store_destroy(store);
}

/* Some go, some stay, others come, several times: those that stay are told, in their order. */
static void newcomers_that_stay_are_told_in_order(void **state)
{
	static const uint32_t expected[] = {0, 2, 4, 6, 8, 9};
	struct connection_store *store = bare_store(100, true);

	(void)state;
	assert_int_equal(set_pool(store, NETWORK, 16, 1), 0);
	for (uint32_t number = 0; number < 9; number++) {
		obtain(store, number, 1, ENTRY_MADE);
		/* the one that is the youngest, and alone, and those between */
		if (number % 2 == 1) {
			peer_entry_refresh(&find(store, number)->last_received, 0);
			assert_int_equal(expire(store, 1, 1), 1);
		}
	}
	obtain(store, 9, 1, ENTRY_MADE);
	take_newcomers(store);
	assert_int_equal(newcomers.count, 6);
	for (uint32_t i = 0; i < 6; i++) {
		struct peer peer = numbered_peer(expected[i]);

		assert_memory_equal(&newcomers.peers[i].remote.address, &peer.remote.address, 16);
		assert_int_equal(newcomers.peers[i].remote.port, peer.remote.port);
	}
	take_newcomers(store);
	assert_int_equal(newcomers.count, 0);
	connection_store_destroy(store);
}

/* The same through a pool that changes right after a peer came: no expiry is needed. */
static void newcomers_that_a_new_pool_dropped(void **state)
{
	struct connection_store *store = bare_store(3, true);

	(void)state;
	assert_int_equal(set_pool(store, NETWORK, 16, 1), 0);
	obtain(store, 0, 1, ENTRY_MADE);
	assert_int_equal(set_pool(store, NETWORK + (1 << 16), 16, 1), 1);
	obtain(store, 10, 1, ENTRY_MADE);
	take_newcomers(store);
	assert_int_equal(times_among_newcomers(10), 1);
	assert_in_range(newcomers.count, 1, 2);
	connection_store_destroy(store);
}

/* Newcomers are taken while entries go, so that a log says who came before it says who went. */
static void take_newcomers_first(const struct peer_entry *entry, void *argument)
{
	uint32_t number = number_of(entry);

	connection_store_take_newcomers(argument, note_newcomer, &newcomers);
	assert_int_equal(times_among_newcomers(number), 1);
}

static bool has_an_even_number(struct peer_entry *entry, void *argument)
{
	(void)argument;
	return number_of(entry) % 2 == 0;
}

static void newcomers_can_be_told_before_they_go(void **state)
{
	struct connection_store *store = bare_store(100, true);

	(void)state;
	assert_int_equal(set_pool(store, NETWORK, 16, 1), 0);
	for (uint32_t round = 0; round < 3; round++) {
		uint32_t made = 0;

		newcomers.count = 0;
		for (uint32_t number = 0; number < 100; number++)
			made += find(store, number) == NULL;
		for (uint32_t number = 0; number < 100; number++) {
			if (find(store, number) == NULL)
				obtain(store, number, 1, ENTRY_MADE);
		}
		assert_int_equal(connection_store_sweep(store, 2, has_an_even_number,
							take_newcomers_first, store),
				 50);
		assert_int_equal(newcomers.count, made);
	}
	connection_store_destroy(store);
}

/* Memory */

static size_t resident_bytes(void)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	char text[128];
	char *resident;

	/* pages: the whole address space, then what is resident of it */
	assert_non_null(statm);
	assert_non_null(fgets(text, sizeof(text), statm));
	fclose(statm);
	resident = strchr(text, ' ');
	assert_non_null(resident);
	return strtoul(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static void a_million_entries_in_160_megabytes(void **state)
{
	const uint32_t count = 1000000 / SLOWNESS;
	struct pool_range range = range_of(NETWORK, 8, 4 * count);
	size_t before = resident_bytes();
	struct connection_store *store = bare_store(count, false);
	uint32_t lost, refused = 0;

	(void)state;
	assert_true(connection_store_set_pool(store, &range, 1, NULL, NULL, &lost));
	for (uint32_t number = 0; number < count; number++) {
		struct peer peer = numbered_peer(number);
		enum obtain_result result;

		connection_store_obtain(store, &peer, 1, &result);
		refused += result != ENTRY_MADE;
	}
	/* three quarters of the pool are free: nobody has to look far */
	assert_int_equal(refused, 0);
	assert_int_equal(connection_store_count(store), count);
	/* what watches for data races has memory of its own */
	if (SLOWNESS == 1)
		assert_in_range(resident_bytes() - before, 0, 160 * count);
	obtain(store, count, 1, ENTRY_REFUSED);
	for (uint32_t number = 0; number < count; number += 97) {
		struct peer_entry *entry = find(store, number);

		assert_non_null(entry);
		assert_ptr_equal(
			connection_store_find_tunnel_address(store, &entry->tunnel_address), entry);
	}
	assert_int_equal(expire(store, 100, 10), count);
	assert_int_equal(connection_store_count(store), 0);
	connection_store_destroy(store);
}

/* Several threads */

static bool is_peer(const struct peer_entry *entry, const struct peer *peer)
{
	return memcmp(&entry->destination->peer.remote.address, &peer->remote.address, 16) == 0 &&
	       entry->destination->peer.remote.port == peer->remote.port;
}

/* What must be true of an entry as long as a worker may read it, whoever removes it meanwhile. */
static const char *fault_of(struct peer_entry *entry, const struct peer *peer)
{
	uint32_t address = host_order(&entry->tunnel_address);
	struct peer_entry *by_other_key;

	if (!is_peer(entry, peer))
		return "the entry is another peer's";
	if (address < contest.first_address || address > contest.last_address || address == OWN)
		return "the tunnel address is not of the pool";
	by_other_key = connection_store_find_tunnel_address(contest.store, &entry->tunnel_address);
	if (by_other_key != NULL && host_order(&by_other_key->tunnel_address) != address)
		return "the entry found by tunnel address has another one";
	by_other_key = connection_store_find_peer(contest.store, peer);
	if (by_other_key != NULL && !is_peer(by_other_key, peer))
		return "the entry found by peer is another peer's";
	return NULL;
}

static struct peer_entry *obtain_as_worker(struct worker *worker, uint32_t number)
{
	struct peer peer = numbered_peer(number);
	enum obtain_result result;
	uint32_t now = atomic_load(&contest.now);
	struct peer_entry *entry = connection_store_obtain(contest.store, &peer, now, &result);

	if (entry == NULL) {
		worker->refused++;
		return NULL;
	}
	peer_entry_refresh(&entry->last_received, now);
	worker->made += result != ENTRY_FOUND;
	if (worker->fault == NULL)
		worker->fault = fault_of(entry, &peer);
	return entry;
}

/* All threads ask for the same peers in the same order, side by side. */
static void ask_for_the_same_peers(struct worker *worker)
{
	for (uint32_t number = 0; number < contest.peers; number++) {
		if (number % 16 == 0) {
			rcu_thread_offline();
			pthread_barrier_wait(&contest.barrier);
			rcu_thread_online();
		}
		worker->found[number] = obtain_as_worker(worker, number);
		rcu_quiescent();
	}
}

static void one_entry_for_each_peer_whoever_asks(void **state)
{
	const uint32_t peers = 20000;

	(void)state;
	contest = (struct contest){
		/* each thread may hold an entry that it has to give back */
		.store = store_with(peers + THREADS, 15),
		.peers = peers,
		.first_address = NETWORK + 1,
		.last_address = NETWORK + (1 << 17) - 2,
	};
	start_workers(__func__, ask_for_the_same_peers);
	assert_int_equal(end_workers(), peers);
	assert_int_equal(connection_store_count(contest.store), peers);
	for (uint32_t number = 0; number < peers; number++) {
		struct peer_entry *entry = find(contest.store, number);

		assert_non_null(entry);
		for (uint32_t i = 0; i < THREADS; i++)
			assert_ptr_equal(contest.workers[i].found[number], entry);
	}
	assert_is_sound(contest.store);
	/* none was lost: exactly as many as were never used are still there */
	for (uint32_t number = peers; number < peers + THREADS; number++)
		obtain(contest.store, number, 1, ENTRY_MADE);
	obtain(contest.store, peers + THREADS, 1, ENTRY_REFUSED);
}

/* As above, again and again in a pool so small that a lost address would be missed. */
static void no_address_is_lost_in_races(void **state)
{
	for (uint32_t round = 0; round < 100 / SLOWNESS; round++) {
		contest = (struct contest){
			.store = store_with(1000, 24),
			.peers = 120,
			.first_address = NETWORK + 1,
			.last_address = NETWORK + 254,
		};
		start_workers(__func__, ask_for_the_same_peers);
		assert_int_equal(end_workers(), 120);
		assert_is_sound(contest.store);
		assert_int_equal(fill_the_pool(contest.store, 1000, 1), 253 - 120);
		assert_is_sound(contest.store);
		end_contest(state);
	}
}

/* Each thread has peers of its own, more of them than there is room for. */
static void fill_up(struct worker *worker)
{
	for (uint32_t number = worker->number; number < contest.peers; number += THREADS) {
		worker->found[number] = obtain_as_worker(worker, number);
		rcu_quiescent();
	}
}

static void a_full_store_is_exactly_full_also_with_threads(void **state)
{
	(void)state;
	contest = (struct contest){
		.store = store_with(5000, 16),
		.peers = 20000,
		.first_address = NETWORK + 1,
		.last_address = NETWORK + 65534,
	};
	start_workers(__func__, fill_up);
	assert_int_equal(end_workers(), 5000);
	assert_int_equal(connection_store_count(contest.store), 5000);
	for (uint32_t number = 0; number < 20000; number++)
		assert_ptr_equal(find(contest.store, number),
				 contest.workers[number % THREADS].found[number]);
	assert_is_sound(contest.store);
}

/* Whatever the control thread removes, a worker may read it until it reports a quiescent state. */
static void hold_some(struct worker *worker)
{
	struct peer_entry *held[8];
	uint32_t numbers[8];

	for (size_t i = 0; i < 8; i++) {
		/* a few peers come often, so that threads meet */
		uint32_t most = dice_once_in(&worker->dice, 2) ? 20 : contest.peers;

		numbers[i] = dice_below(&worker->dice, most);
		held[i] = obtain_as_worker(worker, numbers[i]);
		/* more threads than cores: here others make most of what we hold */
		if (dice_once_in(&worker->dice, 200))
			sched_yield();
	}
	for (size_t i = 0; i < 8; i++) {
		struct peer peer = numbered_peer(numbers[i]);

		if (held[i] != NULL && !is_peer(held[i], &peer))
			worker->fault = "an entry changed hands while it was being read";
	}
	rcu_quiescent();
}

/* Any peer at any time: entries are made and found while others go. */
static void come_and_go(struct worker *worker)
{
	while (!atomic_load(&contest.is_over)) {
		hold_some(worker);
		/* let the control thread have its turn */
		if (dice_once_in(&worker->dice, 32))
			sched_yield();
	}
}

/* Removes those that are silent, and some that are not. */
struct whim {
	struct dice dice;
	struct expiry expiry;
	uint32_t one_in;
};

enum {
	ENOUGH_REMOVALS = 40000 / SLOWNESS,
	MAX_ROUNDS = 20000,
};

static bool is_unlucky(struct peer_entry *entry, void *argument)
{
	struct whim *whim = argument;

	return dice_once_in(&whim->dice, whim->one_in) || is_expired(entry, &whim->expiry);
}

/* One round of what the control thread does meanwhile: entries go. Returns how many. */
static uint32_t remove_some(struct dice *dice)
{
	uint32_t now = atomic_fetch_add(&contest.now, 1) + 1;
	struct whim whim = {
		.dice = {dice_roll(dice)},
		.expiry = {now, 10},
		.one_in = dice_between(dice, 1, 10),
	};
	uint32_t removed = connection_store_sweep(contest.store, now, is_unlucky, NULL, &whim);

	connection_store_refill_spares(contest.store, now);
	sched_yield();
	return removed;
}

/* Room for 900 entries in 10.0.0.0/22, and more peers than that. */
static void start_crowd(const char *test, bool keeps_records)
{
	contest = (struct contest){
		.store = bare_store(900, keeps_records),
		.peers = 3000,
		.first_address = NETWORK + 1,
		.last_address = NETWORK + 1022,
	};
	assert_int_equal(set_pool(contest.store, NETWORK, 22, 1), 0);
	start_workers(test, come_and_go);
}

/* After all that coming and going, nothing must have been lost: all entries can be used again. */
static void assert_nothing_was_lost(void)
{
	uint32_t later = contest.now + 100;
	uint32_t count = connection_store_count(contest.store);

	assert_is_sound(contest.store);
	assert_int_equal(expire(contest.store, later, 3), count);
	assert_int_equal(connection_store_count(contest.store), 0);
	set_pool(contest.store, NETWORK, 22, later);
	assert_int_equal(fill_the_pool(contest.store, 10000, later), 900);
	assert_int_equal(expire(contest.store, later + 100, 3), 900);
	set_pool(contest.store, NETWORK, 24, later);
	assert_int_equal(fill_the_pool(contest.store, 20000, later + 100), 253);
	assert_is_sound(contest.store);
}

static void entries_come_and_go(void **state)
{
	struct dice dice = dice_for(__func__);
	uint32_t removed = 0, made;

	(void)state;
	start_crowd(__func__, false);
	for (uint32_t i = 0; i < MAX_ROUNDS && removed < ENOUGH_REMOVALS; i++)
		removed += remove_some(&dice);
	made = end_workers();
	assert_true(removed >= ENOUGH_REMOVALS);
	assert_int_equal(connection_store_count(contest.store), made - removed);
	assert_nothing_was_lost();
}

/* The tunnel interface's subnet changes again and again. Returns how many entries went with it. */
static uint32_t change_pool(uint32_t round)
{
	static const struct {
		uint32_t network;
		unsigned bits;
	} pools[] = {
		{NETWORK, 22},       /* all */
		{NETWORK + 512, 23}, /* the upper half */
		{NETWORK, 22},       {NETWORK, 24},
		{NETWORK + 256, 24}, /* shares nothing with the one before */
	};
	uint32_t now = atomic_fetch_add(&contest.now, 1) + 1;
	uint32_t removed = set_pool(contest.store, pools[round % 5].network, pools[round % 5].bits,
				    now);

	connection_store_refill_spares(contest.store, now);
	sched_yield();
	return removed;
}

static void the_pool_changes_while_entries_are_made(void **state)
{
	struct dice dice = dice_for(__func__);
	uint32_t removed = 0, made;

	(void)state;
	start_crowd(__func__, false);
	for (uint32_t i = 0; i < MAX_ROUNDS && removed < ENOUGH_REMOVALS; i++) {
		removed += change_pool(i);
		if (dice_once_in(&dice, 3))
			removed += remove_some(&dice);
	}
	made = end_workers();
	assert_true(removed >= ENOUGH_REMOVALS);
	assert_int_equal(connection_store_count(contest.store), made - removed);
	assert_nothing_was_lost();
}

/* Peers of whom no two want the same address, and the addresses that they want. */
enum {
	CANDIDATES = 1500,
	LASTING = 500, /* how many of them stay all the time */
};

static struct {
	uint32_t count;
	uint32_t numbers[CANDIDATES];
	uint32_t addresses[CANDIDATES];
} calm;

/* Asks the pool itself, which is empty for each of them. */
static void find_calm_peers(void)
{
	struct pool_range range = range_of(NETWORK, 16, 1 << 22);
	struct address_pool *pool = address_pool_create(&range, QUARANTINE);
	static bool is_wanted[65536];

	assert_non_null(pool);
	memset(is_wanted, 0, sizeof(is_wanted));
	calm.count = 0;
	for (uint32_t i = 0; i < CANDIDATES; i++) {
		struct peer peer = numbered_peer(i);
		uint32_t offset;

		assert_int_equal(address_pool_claim(pool, &peer, 1, 1, true, &offset),
				 POOL_CLAIMED);
		address_pool_unclaim(pool, offset);
		if (is_wanted[offset])
			continue;
		is_wanted[offset] = true;
		calm.numbers[calm.count] = i;
		calm.addresses[calm.count] = NETWORK + offset;
		calm.count++;
	}
	address_pool_destroy(pool);
	assert_true(calm.count > 2 * LASTING);
}

static void look_for_those_who_stay(struct worker *worker)
{
	for (uint32_t i = 0; !atomic_load(&contest.is_over); i++) {
		uint32_t stays = dice_below(&worker->dice, LASTING);
		struct peer_entry *entry = find(contest.store, calm.numbers[stays]);
		/* no two threads have the same newcomers */
		uint32_t comes = LASTING + worker->number +
				 THREADS * dice_below(&worker->dice,
						      (calm.count - LASTING) / THREADS - 1);

		if (entry == NULL)
			worker->fault = "an entry cannot be found by its peer";
		else if (find_address(contest.store, calm.addresses[stays]) != entry)
			worker->fault = "an entry cannot be found by its tunnel address";
		entry = obtain_as_worker(worker, calm.numbers[comes]);
		if (entry == NULL)
			worker->fault = "a newcomer is refused";
		else if (host_order(&entry->tunnel_address) != calm.addresses[comes])
			worker->fault = "a newcomer has another address than always";
		rcu_quiescent();
		if (i % 64 == 0)
			sched_yield();
	}
}

static bool is_newcomer(struct peer_entry *entry, void *argument)
{
	(void)argument;
	return entry->last_received > 1;
}

/*
 * The pool is replaced by one with the same addresses: all entries keep theirs, those of workers
 * that made one at this very moment too, and those who were there before can be found all the time.
 */
static void no_entry_minds_a_pool_that_stays_the_same(void **state)
{
	uint32_t removed = 0, made;

	(void)state;
	find_calm_peers();
	contest = (struct contest){
		/* those that went are not free before their grace period is over */
		.store = store_with(4 * CANDIDATES, 16),
		.peers = 1,
		.first_address = NETWORK + 1,
		.last_address = NETWORK + 65534,
	};
	for (uint32_t i = 0; i < LASTING; i++)
		obtain(contest.store, calm.numbers[i], 1, ENTRY_MADE);
	start_workers(__func__, look_for_those_who_stay);
	for (uint32_t now = 2; now < 300; now++) {
		atomic_store(&contest.now, now);
		assert_int_equal(set_pool(contest.store, NETWORK, 16, now), 0);
		removed += connection_store_sweep(contest.store, now, is_newcomer, NULL, NULL);
		sched_yield();
	}
	made = end_workers();
	assert_true(removed > 0);
	assert_int_equal(connection_store_count(contest.store), LASTING + made - removed);
	assert_is_sound(contest.store);
}

/* Every entry is told once, whichever thread made it. */
static void newcomers_of_several_threads(void **state)
{
	const uint32_t peers = 20000;
	static uint8_t told[20000];

	(void)state;
	memset(told, 0, sizeof(told));
	contest = (struct contest){
		.store = bare_store(peers + THREADS, true),
		.peers = peers,
		.first_address = NETWORK + 1,
		.last_address = NETWORK + (1 << 17) - 2,
	};
	assert_int_equal(set_pool(contest.store, NETWORK, 15, 1), 0);
	newcomers.count = 0;
	start_workers(__func__, ask_for_the_same_peers);
	while (atomic_load(&contest.running) > 0) {
		connection_store_take_newcomers(contest.store, note_newcomer, &newcomers);
		sched_yield();
	}
	assert_int_equal(end_workers(), peers);
	connection_store_take_newcomers(contest.store, note_newcomer, &newcomers);
	assert_int_equal(newcomers.count, peers);
	for (uint32_t i = 0; i < peers; i++) {
		/* the reverse of numbered_peer(): all have the same address */
		struct ip_address port = {{[14] = ((uint8_t *)&newcomers.peers[i].remote.port)[0],
					   [15] = ((uint8_t *)&newcomers.peers[i].remote.port)[1]}};

		assert_in_range(host_order(&port) - 1024, 0, peers - 1);
		assert_int_equal(told[host_order(&port) - 1024]++, 0);
	}
}

/* Peers come and go, also through changes of the pool, faster than anybody asks for newcomers. */
static void newcomers_come_and_go(void **state)
{
	struct dice dice = dice_for(__func__);
	uint32_t removed = 0, told = 0, made;

	(void)state;
	start_crowd(__func__, true);
	for (uint32_t i = 0; i < MAX_ROUNDS && removed < ENOUGH_REMOVALS; i++) {
		removed += dice_once_in(&dice, 2) ? remove_some(&dice) : change_pool(i);
		if (!dice_once_in(&dice, 3))
			continue;
		take_newcomers(contest.store);
		told += newcomers.count;
	}
	made = end_workers();
	take_newcomers(contest.store);
	told += newcomers.count;
	assert_true(removed >= ENOUGH_REMOVALS);
	assert_int_equal(connection_store_count(contest.store), made - removed);
	/* one that went before it could be told may be left out */
	assert_in_range(told, made - removed, made);
	assert_nothing_was_lost();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first, while nothing else has left memory behind */
		cmocka_unit_test(a_million_entries_in_160_megabytes),
		cmocka_unit_test(without_a_pool_there_are_no_entries),
		cmocka_unit_test(an_entry_is_found_by_both_keys),
		cmocka_unit_test(an_entry_begins_without_a_source_of_its_own),
		cmocka_unit_test(a_source_is_seen_whole),
		cmocka_unit_test(addresses_outside_a_small_pool),
		cmocka_unit_test(there_is_one_entry_for_each_peer),
		cmocka_unit_test(peers_that_differ_by_a_bit_are_two),
		cmocka_unit_test(own_ports_are_apart),
		cmocka_unit_test(a_new_entry_has_nothing_of_an_old_one),
		cmocka_unit_test(times_are_stored),
		cmocka_unit_test(own_addresses_are_apart),
		cmocka_unit_test(how_long_messages_go_singly),
		cmocka_unit_test(a_store_without_tunnel_addresses),
		cmocka_unit_test(a_sweep_removes_what_it_is_told_to),
		cmocka_unit_test(a_peer_that_comes_back_has_its_address_again),
		cmocka_unit_test(a_store_that_was_restarted_gives_the_same_addresses),
		cmocka_unit_test(quarantine_cut_short_is_told),
		cmocka_unit_test(a_store_full_of_entries_refuses_and_recovers),
		cmocka_unit_test(a_store_full_of_addresses_refuses_and_recovers),
		cmocka_unit_test(how_many_peers_the_pool_has_room_for),
		cmocka_unit_test(a_new_pool_has_spares),
		cmocka_unit_test(a_new_pool_drops_what_lies_outside),
		cmocka_unit_test(a_wider_pool_drops_nothing),
		cmocka_unit_test(the_interfaces_new_address_is_taken_from_its_holder),
		cmocka_unit_test(quarantine_goes_on_in_a_new_pool),
		cmocka_unit_test(newcomers_are_told_once_oldest_first),
		cmocka_unit_test(newcomers_that_went_before_they_were_told),
		cmocka_unit_test(newcomers_that_stay_are_told_in_order),
		cmocka_unit_test(newcomers_that_a_new_pool_dropped),
		cmocka_unit_test(newcomers_can_be_told_before_they_go),
		cmocka_unit_test_teardown(one_entry_for_each_peer_whoever_asks, end_contest),
		cmocka_unit_test_teardown(no_address_is_lost_in_races, end_contest),
		cmocka_unit_test_teardown(a_full_store_is_exactly_full_also_with_threads,
					  end_contest),
		cmocka_unit_test_teardown(entries_come_and_go, end_contest),
		cmocka_unit_test_teardown(the_pool_changes_while_entries_are_made, end_contest),
		cmocka_unit_test_teardown(no_entry_minds_a_pool_that_stays_the_same, end_contest),
		cmocka_unit_test_teardown(newcomers_of_several_threads, end_contest),
		cmocka_unit_test_teardown(newcomers_come_and_go, end_contest),
	};

	return report_seed(cmocka_run_group_tests_name(
		"connection_store", tests, become_control_thread, be_control_thread_no_more));
}
