/* What the tests of connection_store share; see store_contest.h. */
#include "store_contest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct pool_range range_of(uint32_t network, unsigned bits, uint32_t max_slots)
{
	static struct ip_address own;

	own = ipv4_address(OWN);
	return (struct pool_range){
		.prefix = {.address = ipv4_address(network), .length = (uint8_t)(96 + bits)},
		.excluded = &own,
		.excluded_count = 1,
		.max_slots = max_slots,
	};
}

struct connection_store *bare_store(uint32_t max_connections, bool keeps_records)
{
	struct connection_store *store =
		connection_store_create(&(struct connection_store_settings){
			.max_entries = max_connections,
			.quarantine = QUARANTINE,
			.gives_tunnel_address = true,
			.keeps_records = keeps_records,
		});

	assert_non_null(store);
	return store;
}

/* Returns how many entries were lost. */
uint32_t set_pool(struct connection_store *store, uint32_t network, unsigned bits, uint32_t now)
{
	struct pool_range range = range_of(network, bits, 1 << 22);
	uint32_t lost = NEVER;

	assert_true(connection_store_set_pool(store, &range, now, NULL, NULL, &lost));
	return lost;
}

/* A store whose addresses are those of 10.0.0.0/bits, without 10.0.0.1. */
struct connection_store *store_with(uint32_t max_connections, unsigned bits)
{
	struct connection_store *store = bare_store(max_connections, false);

	assert_int_equal(set_pool(store, NETWORK, bits, 1), 0);
	return store;
}

struct peer_entry *obtain(struct connection_store *store, uint32_t number, uint32_t now,
			  enum obtain_result expected)
{
	struct peer peer = numbered_peer(number);
	enum obtain_result result;
	struct peer_entry *entry = connection_store_obtain(store, &peer, now, &result);

	assert_int_equal(result, expected);
	assert_int_equal(entry == NULL, result == ENTRY_REFUSED || result == ENTRY_HAS_NO_POOL);
	return entry;
}

struct peer_entry *find(struct connection_store *store, uint32_t number)
{
	struct peer peer = numbered_peer(number);

	return connection_store_find_peer(store, &peer);
}

struct peer_entry *find_address(struct connection_store *store, uint32_t address)
{
	struct ip_address wanted = ipv4_address(address);

	return connection_store_find_tunnel_address(store, &wanted);
}

bool is_expired(struct peer_entry *entry, void *argument)
{
	const struct expiry *expiry = argument;

	return expiry->now - atomic_load(&entry->last_received) >= expiry->timeout;
}

uint32_t expire(struct connection_store *store, uint32_t now, uint32_t timeout)
{
	struct expiry expiry = {now, timeout};

	return connection_store_sweep(store, now, is_expired, NULL, &expiry);
}

/* All entries that there are. */
struct entries {
	struct peer_entry **items;
	uint32_t count;
	uint32_t room;
};

static bool collect(struct peer_entry *entry, void *argument)
{
	struct entries *entries = argument;

	assert_in_range(entries->count, 0, entries->room - 1);
	entries->items[entries->count++] = entry;
	return false;
}

static int by_address(const void *a, const void *b)
{
	return memcmp(&(*(struct peer_entry *const *)a)->tunnel_address,
		      &(*(struct peer_entry *const *)b)->tunnel_address, 16);
}

/* Those without a peer come first, in any order. */
static int by_peer(const void *a, const void *b)
{
	const struct destination *left = (*(struct peer_entry *const *)a)->destination;
	const struct destination *right = (*(struct peer_entry *const *)b)->destination;
	int order;

	if (left == NULL || right == NULL)
		return (left != NULL) - (right != NULL);
	order = memcmp(&left->peer.remote.address, &right->peer.remote.address, 16);
	if (order == 0)
		order = memcmp(&left->peer.own_address, &right->peer.own_address, 16);
	return order != 0 ? order : left->peer.remote.port - right->peer.remote.port;
}

void assert_is_sound(struct connection_store *store)
{
	uint32_t count = connection_store_count(store);
	struct entries entries = {.room = count + 1};

	entries.items = calloc(entries.room, sizeof(struct peer_entry *));
	assert_non_null(entries.items);
	assert_int_equal(connection_store_sweep(store, 1, collect, NULL, &entries), 0);
	assert_int_equal(entries.count, count);
	for (uint32_t i = 0; i < count; i++) {
		struct peer_entry *entry = entries.items[i];
		const struct ip_address *address = &entry->tunnel_address;

		if (entry->destination != NULL)
			assert_ptr_equal(
				connection_store_find_peer(store, &entry->destination->peer),
				entry);
		assert_ptr_equal(connection_store_find_tunnel_address(store, address), entry);
	}
	qsort((void *)entries.items, count, sizeof(struct peer_entry *), by_address);
	for (uint32_t i = 1; i < count; i++)
		assert_true(by_address(&entries.items[i - 1], &entries.items[i]) < 0);
	qsort((void *)entries.items, count, sizeof(struct peer_entry *), by_peer);
	for (uint32_t i = 1; i < count; i++)
		assert_true(entries.items[i - 1]->destination == NULL ||
			    by_peer(&entries.items[i - 1], &entries.items[i]) < 0);
	free(entries.items);
}

uint32_t fill_the_pool(struct connection_store *store, uint32_t first, uint32_t now)
{
	uint32_t made = 0;

	for (uint32_t number = first;; number++) {
		struct peer peer = numbered_peer(number);
		enum obtain_result result;

		connection_store_obtain(store, &peer, now, &result);
		if (result == ENTRY_REFUSED) {
			connection_store_refill_spares(store, now);
			connection_store_obtain(store, &peer, now, &result);
		}
		if (result == ENTRY_REFUSED)
			return made;
		assert_true(result == ENTRY_MADE || result == ENTRY_MADE_IN_QUARANTINE);
		made++;
	}
}

struct contest contest;

static void *run_worker(void *argument)
{
	struct worker *worker = argument;

	rcu_thread_register();
	worker->contest->work(worker);
	rcu_thread_unregister();
	atomic_fetch_sub(&worker->contest->running, 1);
	return NULL;
}

void start_workers(const char *test, void (*work)(struct worker *worker))
{
	contest.work = work;
	contest.now = 1;
	contest.running = THREADS;
	contest.has_threads = true;
	pthread_barrier_init(&contest.barrier, NULL, THREADS);
	for (uint32_t i = 0; i < THREADS; i++) {
		struct worker *worker = &contest.workers[i];

		*worker = (struct worker){.contest = &contest, .number = i, .dice = dice_for(test)};
		worker->dice.state += i;
		worker->found = calloc(contest.peers, sizeof(struct peer_entry *));
		assert_non_null(worker->found);
		assert_int_equal(pthread_create(&worker->thread, NULL, run_worker, worker), 0);
	}
}

static void join_workers(void)
{
	atomic_store(&contest.is_over, true);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(contest.workers[i].thread, NULL);
	pthread_barrier_destroy(&contest.barrier);
	contest.has_threads = false;
}

/* Ends the threads. Returns how many entries all of them made. */
uint32_t end_workers(void)
{
	uint32_t made = 0;

	join_workers();
	for (uint32_t i = 0; i < THREADS; i++) {
		if (contest.workers[i].fault != NULL)
			fail_msg("thread %u: %s", i, contest.workers[i].fault);
		made += contest.workers[i].made;
	}
	return made;
}

/* Also after a test that failed while its threads were running. */
int end_contest(void **state)
{
	(void)state;
	if (contest.has_threads)
		join_workers();
	for (uint32_t i = 0; i < THREADS; i++)
		free(contest.workers[i].found);
	connection_store_destroy(contest.store);
	contest = (struct contest){.store = NULL};
	return 0;
}

int become_control_thread(void **state)
{
	(void)state;
	rcu_thread_register();
	return 0;
}

int be_control_thread_no_more(void **state)
{
	(void)state;
	rcu_thread_unregister();
	return 0;
}
