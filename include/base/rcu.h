/*
 * Read-copy-update as this program uses it: liburcu's QSBR flavour and its lock-free hash table.
 * The only header that includes liburcu's.
 *
 * Theory of operation. A registered thread is inside a read-side critical section all the time but
 * while it is offline. Workers go offline while they wait for packets, the control thread while it
 * waits for events: so a round of work is one critical section, and nobody ever waits for a thread
 * that has nothing to do.
 *
 * ThreadSanitizer. liburcu's own code is not instrumented, so in a build with -fsanitize=thread
 * these wrappers say what it orders, and no more than that. Without the sanitizer they are
 * liburcu's calls and nothing else.
 *
 * - A critical section that ends happens before the end of every grace period that waited for it:
 *   its thread passes a full barrier and then changes its counter, which the waiter reads before
 *   its own last barrier. Released where a section ends, acquired at the end of the wait.
 * - What a waiter wrote before a wait happens before every section that begins after its end: the
 *   waiter passes a full barrier before the grace period, whoever goes online passes one after it
 *   has changed its counter. Released at the end of the wait, acquired where a section begins.
 *   These are two addresses, and the waiter releases before it acquires: with one, the end of one
 *   worker's section would seem to happen before the beginning of another's, which nothing orders,
 *   and races between workers would stay hidden.
 * - A node's contents are written before add_unique() links it by a compare-and-swap with full
 *   barriers; whoever finds the node has followed that link. Released by address of the node before
 *   it is added, acquired by who finds it, and by a matching function before it compares: see
 *   rcu_hash_read().
 */
#ifndef UDP_ENCAP_TUN_RCU_H
#define UDP_ENCAP_TUN_RCU_H

#include <stddef.h>
#include <stdint.h>
#include <urcu/urcu-qsbr.h>
/* the flavour must be known before the table */
#include <urcu/rculfhash.h>

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define RCU_IS_WATCHED
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define RCU_IS_WATCHED
#endif

#ifdef RCU_IS_WATCHED
#include <sanitizer/tsan_interface.h>
/* any address will do that stands for them and for nothing else */
#define RCU_ENDED_SECTIONS ((void *)(uintptr_t)&urcu_qsbr_flavor.read_unlock)
#define RCU_ENDED_WAITS ((void *)(uintptr_t)&urcu_qsbr_flavor.update_synchronize_rcu)
#define RCU_ACQUIRE(address) __tsan_acquire(address)
#define RCU_RELEASE(address) __tsan_release(address)
#define rcu_read(pointer) __atomic_load_n(&(pointer), __ATOMIC_ACQUIRE)
#define rcu_publish(pointer, value) __atomic_store_n(&(pointer), value, __ATOMIC_RELEASE)
#else
#define RCU_ACQUIRE(address) ((void)0)
#define RCU_RELEASE(address) ((void)0)
/** Reads a pointer that rcu_publish() wrote. Registered thread, online. */
#define rcu_read(pointer) rcu_dereference(pointer)
/** Publishes what a pointer leads to. One writer at a time. */
#define rcu_publish(pointer, value) rcu_assign_pointer(pointer, value)
#endif

/** Makes the calling thread one that grace periods wait for. Online at once. */
static inline void rcu_thread_register(void)
{
	urcu_qsbr_register_thread();
	RCU_ACQUIRE(RCU_ENDED_WAITS);
}

/** The calling thread reads nothing any more. Registered thread. */
static inline void rcu_thread_unregister(void)
{
	RCU_RELEASE(RCU_ENDED_SECTIONS);
	urcu_qsbr_unregister_thread();
}

/** The calling thread leaves its critical section and is not waited for until it is online again.
 * Registered thread, online. */
static inline void rcu_thread_offline(void)
{
	RCU_RELEASE(RCU_ENDED_SECTIONS);
	urcu_qsbr_thread_offline();
}

/** The calling thread enters a critical section. Registered thread, offline. */
static inline void rcu_thread_online(void)
{
	urcu_qsbr_thread_online();
	RCU_ACQUIRE(RCU_ENDED_WAITS);
}

/** The calling thread ends its critical section and begins another one. Registered, online. */
static inline void rcu_quiescent(void)
{
	RCU_RELEASE(RCU_ENDED_SECTIONS);
	urcu_qsbr_quiescent_state();
	RCU_ACQUIRE(RCU_ENDED_WAITS);
}

/**
 * Waits for a grace period: until every critical section that has begun has ended. The caller's own
 * ends as well, and another one begins. Registered thread.
 */
static inline void rcu_wait_for_readers(void)
{
	RCU_RELEASE(RCU_ENDED_SECTIONS);
	urcu_qsbr_synchronize_rcu();
	RCU_RELEASE(RCU_ENDED_WAITS);
	RCU_ACQUIRE(RCU_ENDED_SECTIONS);
}

/**
 * Makes a hash table of fixed size, which therefore allocates nothing later. Any thread.
 * @buckets: a power of two
 * Returns NULL when there is no memory for it.
 */
static inline struct cds_lfht *rcu_hash_create(unsigned long buckets)
{
	return cds_lfht_new_flavor(buckets, buckets, buckets, 0, &urcu_qsbr_flavor, NULL);
}

/** Empties a hash table that nobody else uses, and frees it. Registered thread. */
static inline void rcu_hash_destroy(struct cds_lfht *table)
{
	struct cds_lfht_iter iterator;
	struct cds_lfht_node *node;

	cds_lfht_for_each (table, &iterator, node)
		(void)cds_lfht_del(table, node);
	(void)cds_lfht_destroy(table, NULL);
}

/** What a matching function does first, before it reads what the node is part of. */
static inline void rcu_hash_read(struct cds_lfht_node *node)
{
	RCU_ACQUIRE(node);
	(void)node;
}

/**
 * Finds a node. Registered thread, online; the node stays what it is until the thread goes offline.
 * @hash: of the key
 * @match: called with a node and `key`; not 0: this is the one. Begins with rcu_hash_read().
 * Returns the node that matches, or NULL.
 */
static inline struct cds_lfht_node *rcu_hash_find(struct cds_lfht *table, unsigned long hash,
						  cds_lfht_match_fct match, const void *key)
{
	struct cds_lfht_iter iterator;
	struct cds_lfht_node *node;

	cds_lfht_lookup(table, hash, match, key, &iterator);
	node = cds_lfht_iter_get_node(&iterator);
	if (node != NULL)
		rcu_hash_read(node);
	return node;
}

/**
 * Adds a node unless another one matches. Registered thread, online.
 * @hash: of the key
 * @match: as for rcu_hash_find()
 * @node: what it is part of is complete
 * Returns the node, or the one that matches.
 */
static inline struct cds_lfht_node *rcu_hash_add_unique(struct cds_lfht *table, unsigned long hash,
							cds_lfht_match_fct match, const void *key,
							struct cds_lfht_node *node)
{
	struct cds_lfht_node *published;

	RCU_RELEASE(node);
	published = cds_lfht_add_unique(table, hash, match, key, node);
	if (published != node)
		rcu_hash_read(published);
	return published;
}

/**
 * Removes a node. Others may still read it until rcu_wait_for_readers() has returned. Registered
 * thread, online.
 */
static inline void rcu_hash_remove(struct cds_lfht *table, struct cds_lfht_node *node)
{
	(void)cds_lfht_del(table, node);
}

#endif
