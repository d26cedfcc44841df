/*
 * What the tests of connection_store share: small stores, numbered peers, and a contest of worker
 * threads. The thread that runs the tests is the control thread; workers are threads that report
 * quiescent states, as RCU wants.
 */
#ifndef UDP_ENCAP_TUN_STORE_CONTEST_H
#define UDP_ENCAP_TUN_STORE_CONTEST_H

#include "peers/connection_store.h"

#include "random_traffic.h"

#include <pthread.h>

enum {
	NETWORK = 0x0a000000, /* 10.0.0.0 */
	OWN = NETWORK + 1,
	QUARANTINE = 1200,
	THREADS = 4,
	NEVER = UINT32_MAX / 2,
};

/* A build that watches for data races is slower by so much: counts are divided by it. */
#ifdef RCU_IS_WATCHED
enum { SLOWNESS = 20 };
#else
enum { SLOWNESS = 1 };
#endif

/** The addresses of NETWORK/bits, without OWN. */
struct pool_range range_of(uint32_t network, unsigned bits, uint32_t max_slots);

/** A server's store without a pool. */
struct connection_store *bare_store(uint32_t max_connections, bool keeps_records);

/** Returns how many entries were lost. */
uint32_t set_pool(struct connection_store *store, uint32_t network, unsigned bits, uint32_t now);

/** A store whose addresses are those of 10.0.0.0/bits, without 10.0.0.1. */
struct connection_store *store_with(uint32_t max_connections, unsigned bits);

/** Obtains a numbered peer's entry; the result must be the expected one. */
struct peer_entry *obtain(struct connection_store *store, uint32_t number, uint32_t now,
			  enum obtain_result expected);

struct peer_entry *find(struct connection_store *store, uint32_t number);

struct peer_entry *find_address(struct connection_store *store, uint32_t address);

/** Removes those of whom nothing was received for a while, as rule R3 wants it. */
struct expiry {
	uint32_t now;
	uint32_t timeout;
};

/** A verdict; the argument is a struct expiry. */
bool is_expired(struct peer_entry *entry, void *argument);

/** Returns how many entries went. */
uint32_t expire(struct connection_store *store, uint32_t now, uint32_t timeout);

/**
 * Every entry is found by its tunnel address, and by its peer if it has one; no two share either,
 * and they are as many as the store says.
 */
void assert_is_sound(struct connection_store *store);

/**
 * Makes entries until there is no room. A refusal asks for a refill: with it, every address of a
 * pool is given out in the end. Returns how many were made.
 */
uint32_t fill_the_pool(struct connection_store *store, uint32_t first, uint32_t now);

/** One worker; what it finds wrong is looked at when it has ended. */
struct worker {
	pthread_t thread;
	struct contest *contest;
	struct dice dice;
	uint32_t number;
	uint32_t made;
	uint32_t refused;
	const char *fault;
	struct peer_entry **found; /* the entry that it got for each peer */
};

struct contest {
	struct connection_store *store;
	uint32_t peers;
	uint32_t first_address; /* entries must lie in this range */
	uint32_t last_address;
	pthread_barrier_t barrier;
	_Atomic uint32_t now;
	_Atomic uint32_t running; /* threads that have not ended yet */
	_Atomic bool is_over;     /* for those that go on until they are told */
	bool has_threads;
	void (*work)(struct worker *worker);
	struct worker workers[THREADS];
};

extern struct contest contest;

/** Starts the threads; each does `work` with dice of its own. */
void start_workers(const char *test, void (*work)(struct worker *worker));

/** Ends the threads. Returns how many entries all of them made. */
uint32_t end_workers(void);

/** A teardown, also after a test that failed while its threads were running. */
int end_contest(void **state);

/** Set-up and teardown of a group of tests. */
int become_control_thread(void **state);
int be_control_thread_no_more(void **state);

#endif
