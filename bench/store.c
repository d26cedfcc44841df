/*
 * How fast connection_store is, alone: lookups, refreshes, insertions and expiries a second, and
 * its memory; and a plain table behind a mutex in its place, to compare with.
 *
 *     store [--entries N] [--threads N] [--seconds S] [--table connection_store|mutex]
 *
 * Prints one line of JSON. A figure is the median of three repetitions of S seconds each, all
 * threads together; insertion and expiry take turns, as whole rounds of all entries. Peers are
 * asked for in a random order that is laid out beforehand, so that reading the keys costs little.
 */
#include "base/clock.h"
#include "base/rcu.h"
#include "crowd.h"
#include "peers.h"
#include "stopwatch.h"
#include "table.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
	MAX_ENTRIES = 1 << 22, /* 10.0.0.0/8 has four addresses for each */

	/* Guests come and go while residents are looked up. */
	GUEST_TICK_NS = 1000000,
	GUESTS_IN_A_TICK = 10, /* 10,000 a second */
	TICKS_OF_A_STAY = 250,
	GUESTS_AT_A_TIME = GUESTS_IN_A_TICK * TICKS_OF_A_STAY,
	GUESTS = 2 * GUESTS_AT_A_TIME, /* then the first ones come back */
	LONG_AGO = 2 * TABLE_TIMEOUT,
};

struct bench {
	const struct table_operations *operations;
	void *table;
	uint32_t entries;
	size_t threads;
	double seconds;
	struct peer *residents;
	struct peer *guests;
	size_t key_count;
	struct peer *keys;            /* residents in random order */
	struct ip_address *addresses; /* tunnel addresses of residents in random order */
	_Atomic uint64_t failures;    /* operations that did not do what they should */
};

/* What is printed. */
struct figures {
	double by_peer;
	double by_tunnel_address;
	double refresh;
	double insert;
	double expire;
	double by_peer_while_changing;
	double changes;
	double bytes_per_entry;
};

/* Late enough that there is a long ago. */
static uint32_t table_now(void)
{
	return monotonic_seconds() + LONG_AGO;
}

static void expect(struct bench *bench, size_t done, size_t expected)
{
	if (done != expected)
		atomic_fetch_add(&bench->failures, expected - done);
}

static void fail_on_failures(const struct bench *bench)
{
	if (atomic_load(&bench->failures) > 0)
		errx(1, "%llu operations of %s failed",
		     (unsigned long long)atomic_load(&bench->failures), bench->operations->name);
}

static size_t at_most(size_t limit, size_t count)
{
	return count < limit ? count : limit;
}

/* The next run of keys of a thread; each begins somewhere else. */
static size_t next_keys(const struct bench *bench, size_t thread, uint64_t done, size_t *count)
{
	size_t at = (thread * bench->key_count / bench->threads + done) % bench->key_count;

	*count = at_most(CROWD_BATCH, bench->key_count - at);
	return at;
}

static size_t look_up_peers(void *argument, size_t thread, uint64_t done)
{
	struct bench *bench = argument;
	size_t count;
	size_t at = next_keys(bench, thread, done, &count);

	expect(bench, bench->operations->find_peers(bench->table, bench->keys + at, count), count);
	return count;
}

static size_t look_up_tunnel_addresses(void *argument, size_t thread, uint64_t done)
{
	struct bench *bench = argument;
	size_t count;
	size_t at = next_keys(bench, thread, done, &count);

	expect(bench,
	       bench->operations->find_tunnel_addresses(bench->table, bench->addresses + at, count),
	       count);
	return count;
}

static size_t refresh_peers(void *argument, size_t thread, uint64_t done)
{
	struct bench *bench = argument;
	size_t count;
	size_t at = next_keys(bench, thread, done, &count);

	expect(bench,
	       bench->operations->refresh(bench->table, bench->keys + at, count, table_now()),
	       count);
	return count;
}

/* Each thread inserts its share of the residents. */
static size_t insert_residents(void *argument, size_t thread, uint64_t done)
{
	struct bench *bench = argument;
	size_t at = bench->entries * thread / bench->threads + done;
	size_t end = bench->entries * (thread + 1) / bench->threads;
	size_t count = at_most(CROWD_BATCH, end - at);

	expect(bench,
	       bench->operations->insert(bench->table, bench->residents + at, count, table_now()),
	       count);
	return count;
}

static void make_table(struct bench *bench, uint32_t max_entries)
{
	bench->table = bench->operations->create(max_entries);
	if (bench->table == NULL)
		errx(1, "no memory for a table of %u entries", max_entries);
	expect(bench,
	       bench->operations->insert(bench->table, bench->residents, bench->entries,
					 table_now()),
	       bench->entries);
	fail_on_failures(bench);
}

/* Resident memory of this process in bytes. */
static double resident_memory(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	unsigned long kilobytes = 0;

	if (file == NULL)
		err(1, "cannot read /proc/self/smaps_rollup");
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "Rss:", 4) == 0)
			kilobytes = strtoul(line + 4, NULL, 10);
	}
	fclose(file);
	if (kilobytes == 0)
		errx(1, "/proc/self/smaps_rollup says nothing of resident memory");
	return (double)kilobytes * 1024;
}

static void make_keys(struct bench *bench)
{
	uint32_t *order = order_make(bench->entries, 1);
	uint32_t *other_order = order_make(bench->entries, 2);

	bench->key_count = order_length(bench->entries);
	bench->keys = malloc(bench->key_count * sizeof(*bench->keys));
	bench->addresses = malloc(bench->key_count * sizeof(*bench->addresses));
	if (order == NULL || other_order == NULL || bench->keys == NULL || bench->addresses == NULL)
		errx(1, "no memory for %zu keys", bench->key_count);
	for (size_t i = 0; i < bench->key_count; i++) {
		const struct peer *other = &bench->residents[other_order[i]];

		bench->keys[i] = bench->residents[order[i]];
		bench->addresses[i] = bench->operations->tunnel_address_of(bench->table, other);
	}
	free(order);
	free(other_order);
}

static double median_rate(struct bench *bench, crowd_work *work)
{
	double rates[REPETITIONS];

	for (size_t i = 0; i < REPETITIONS; i++)
		rates[i] = crowd_rate(bench->threads, bench->seconds, work, bench);
	fail_on_failures(bench);
	return median_of(rates);
}

/* Expires and inserts all residents over and over; the threads insert, this one expires. */
static void measure_rounds(struct bench *bench, double *insert, double *expire)
{
	double began = stopwatch_now();
	double inserting = 0, expiring = 0, rounds = 0;

	do {
		double before = stopwatch_now();
		uint32_t gone = bench->operations->expire(bench->table, table_now() + LONG_AGO);

		expiring += stopwatch_now() - before;
		expect(bench, gone, bench->entries);
		inserting += crowd_once(bench->threads, insert_residents, bench);
		rounds++;
	} while (stopwatch_now() - began < bench->seconds);
	fail_on_failures(bench);
	*insert = rounds * bench->entries / inserting;
	*expire = rounds * bench->entries / expiring;
}

static void measure_insert_and_expire(struct bench *bench, struct figures *figures)
{
	double insert[REPETITIONS], expire[REPETITIONS];

	for (size_t i = 0; i < REPETITIONS; i++)
		measure_rounds(bench, &insert[i], &expire[i]);
	figures->insert = median_of(insert);
	figures->expire = median_of(expire);
}

/* The thread that lets guests come and go. */
struct hotel {
	struct bench *bench;
	_Atomic bool is_closing;
	double rate; /* guests that came and went, a second */
};

static void wait_for_tick(struct timespec *tick)
{
	tick->tv_nsec += GUEST_TICK_NS;
	if (tick->tv_nsec >= 1000000000) {
		tick->tv_nsec -= 1000000000;
		tick->tv_sec++;
	}
	rcu_thread_offline();
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, tick, NULL) == EINTR)
		;
	rcu_thread_online();
}

/* A late tick is made up for: the next ones then do not wait. */
static void *let_guests_come_and_go(void *argument)
{
	struct hotel *hotel = argument;
	struct bench *bench = hotel->bench;
	double began = stopwatch_now();
	struct timespec tick;
	uint64_t gone = 0;
	double passed;
	size_t next = 0;

	rcu_thread_register();
	clock_gettime(CLOCK_MONOTONIC, &tick);
	while (!atomic_load(&hotel->is_closing)) {
		wait_for_tick(&tick);
		bench->operations->insert(bench->table, bench->guests + next, GUESTS_IN_A_TICK,
					  table_now() - LONG_AGO);
		next = (next + GUESTS_IN_A_TICK) % GUESTS;
		if (next % GUESTS_AT_A_TIME == 0)
			gone += bench->operations->expire(bench->table, table_now());
	}
	passed = stopwatch_now() - began;
	gone += bench->operations->expire(bench->table, table_now());
	rcu_thread_unregister();
	hotel->rate = (double)gone / passed;
	return NULL;
}

static void measure_while_changing(struct bench *bench, struct figures *figures)
{
	double rates[REPETITIONS], changes[REPETITIONS];

	for (size_t i = 0; i < REPETITIONS; i++) {
		struct hotel hotel = {.bench = bench};
		pthread_t thread;

		errno = pthread_create(&thread, NULL, let_guests_come_and_go, &hotel);
		if (errno != 0)
			err(1, "cannot start a thread");
		rates[i] = crowd_rate(bench->threads, bench->seconds, look_up_peers, bench);
		atomic_store(&hotel.is_closing, true);
		rcu_thread_offline();
		pthread_join(thread, NULL);
		rcu_thread_online();
		changes[i] = hotel.rate;
	}
	fail_on_failures(bench);
	figures->by_peer_while_changing = median_of(rates);
	figures->changes = median_of(changes);
}

static void measure(struct bench *bench, struct figures *figures)
{
	double memory;

	bench->residents = peers_make(0, bench->entries);
	bench->guests = peers_make(bench->entries, GUESTS);
	if (bench->residents == NULL || bench->guests == NULL)
		errx(1, "no memory for %u peers", bench->entries);
	memory = resident_memory();
	make_table(bench, bench->entries);
	figures->bytes_per_entry = (resident_memory() - memory) / bench->entries;

	make_keys(bench);
	figures->by_peer = median_rate(bench, look_up_peers);
	figures->by_tunnel_address = median_rate(bench, look_up_tunnel_addresses);
	figures->refresh = median_rate(bench, refresh_peers);
	measure_insert_and_expire(bench, figures);
	bench->operations->destroy(bench->table);

	make_table(bench, bench->entries + GUESTS_AT_A_TIME);
	measure_while_changing(bench, figures);
	bench->operations->destroy(bench->table);
}

static void print_figures(const struct bench *bench, const struct figures *figures)
{
	printf("{\"table\": \"%s\", \"entries\": %u, \"threads\": %zu, \"seconds\": %g, ",
	       bench->operations->name, bench->entries, bench->threads, bench->seconds);
	printf("\"lookup_by_peer_per_s\": %.0f, \"lookup_by_tunnel_address_per_s\": %.0f, ",
	       figures->by_peer, figures->by_tunnel_address);
	printf("\"refresh_per_s\": %.0f, \"insert_per_s\": %.0f, \"expire_per_s\": %.0f, ",
	       figures->refresh, figures->insert, figures->expire);
	printf("\"lookup_by_peer_while_changing_per_s\": %.0f, \"changes_per_s\": %.0f, ",
	       figures->by_peer_while_changing, figures->changes);
	printf("\"bytes_per_entry\": %.1f}\n", figures->bytes_per_entry);
}

static uint32_t number_from_text(const char *option, const char *text, uint32_t most)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || number < 1 || number > most)
		errx(2, "--%s takes a number from 1 to %u, not '%s'", option, most, text);
	return (uint32_t)number;
}

static const struct table_operations *table_from_text(const char *text)
{
	const struct table_operations *tables[] = {&connection_store_table, &mutex_table};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (strcmp(tables[i]->name, text) == 0)
			return tables[i];
	}
	errx(2, "--table takes connection_store or mutex, not '%s'", text);
}

static _Noreturn void print_usage_and_exit(void)
{
	errx(2, "usage: store [--entries N] [--threads N] [--seconds S] "
		"[--table connection_store|mutex]");
}

static void read_options(struct bench *bench, int argc, char **argv)
{
	static const struct option options[] = {
		{"entries", required_argument, NULL, 'e'},
		{"threads", required_argument, NULL, 't'},
		{"seconds", required_argument, NULL, 's'},
		{"table", required_argument, NULL, 'k'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'e')
			bench->entries = number_from_text("entries", optarg, MAX_ENTRIES);
		else if (option == 't')
			bench->threads = number_from_text("threads", optarg, CROWD_MAX_THREADS);
		else if (option == 's')
			bench->seconds = seconds_from_text(optarg);
		else if (option == 'k')
			bench->operations = table_from_text(optarg);
		else
			print_usage_and_exit();
	}
	if (optind < argc)
		print_usage_and_exit();
}

int main(int argc, char **argv)
{
	struct bench bench = {
		.operations = &connection_store_table,
		.entries = 100000,
		.threads = 1,
		.seconds = 1,
	};
	struct figures figures;

	read_options(&bench, argc, argv);
	rcu_thread_register();
	measure(&bench, &figures);
	rcu_thread_unregister();
	print_figures(&bench, &figures);
	free(bench.residents);
	free(bench.guests);
	free(bench.keys);
	free(bench.addresses);
	return 0;
}
