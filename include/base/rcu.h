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
 * these wrappers say what it orders, and no more than that: what a thread did before it went
 * offline, or before it said that it is quiescent, happens before the end of every grace period
 * that ends later; publishing a pointer or a node releases what was written before, and reading it
 * acquires that. Without the sanitizer they are liburcu's calls and nothing else.
 */
#ifndef UDP_ENCAP_TUN_RCU_H
#define UDP_ENCAP_TUN_RCU_H

#include <stddef.h>
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
void __tsan_acquire(void *address);
void __tsan_release(void *address);
/* any address will do that stands for them and for nothing else */
#define RCU_GRACE_PERIODS ((void *)&urcu_qsbr_flavor)
#define RCU_ACQUIRE(address) __tsan_acquire(address)
#define RCU_RELEASE(address) __tsan_release(address)
#define rcu_read(pointer) __atomic_load_n(&(pointer), __ATOMIC_ACQUIRE)
#define rcu_publish(pointer, value) __atomic_store_n(&(pointer), value, __ATOMIC_RELEASE)
#else
#define RCU_ACQUIRE(address) ((void)0)
#define RCU_RELEASE(address) ((void)0)
/** Reads a pointer that rcu_publish() wrote. Under RCU. */
#define rcu_read(pointer) rcu_dereference(pointer)
/** Publishes what a pointer leads to. One writer at a time. */
#define rcu_publish(pointer, value) rcu_assign_pointer(pointer, value)
#endif

/** Makes the calling thread one that grace periods wait for. Online at once. */
static inline void rcu_thread_register(void)
{
	urcu_qsbr_register_thread();
}

/** The calling thread reads nothing any more. */
static inline void rcu_thread_unregister(void)
{
	RCU_RELEASE(RCU_GRACE_PERIODS);
	urcu_qsbr_unregister_thread();
}

/** The calling thread leaves its critical section and is not waited for until it is online. */
static inline void rcu_thread_offline(void)
{
	RCU_RELEASE(RCU_GRACE_PERIODS);
	urcu_qsbr_thread_offline();
}

/** The calling thread enters a critical section. */
static inline void rcu_thread_online(void)
{
	urcu_qsbr_thread_online();
}

/** The calling thread ends its critical section and begins another one. */
static inline void rcu_quiescent(void)
{
	RCU_RELEASE(RCU_GRACE_PERIODS);
	urcu_qsbr_quiescent_state();
}

/** Waits for a grace period: until every critical section that has begun ended. Registered thread.
 */
static inline void rcu_wait_for_readers(void)
{
	urcu_qsbr_synchronize_rcu();
	RCU_ACQUIRE(RCU_GRACE_PERIODS);
}

/** Makes a hash table of fixed size. @buckets: a power of two. NULL: no memory. */
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

/** The node that matches, or NULL. Under RCU. */
static inline struct cds_lfht_node *rcu_hash_find(struct cds_lfht *table, unsigned long hash,
						  cds_lfht_match_fct match, const void *key)
{
	struct cds_lfht_iter iterator;
	struct cds_lfht_node *node;

	cds_lfht_lookup(table, hash, match, key, &iterator);
	node = cds_lfht_iter_get_node(&iterator);
	if (node != NULL)
		RCU_ACQUIRE(node);
	return node;
}

/** Adds a node unless one matches. Returns it, or the one that matches. Under RCU. */
static inline struct cds_lfht_node *rcu_hash_add_unique(struct cds_lfht *table, unsigned long hash,
							cds_lfht_match_fct match, const void *key,
							struct cds_lfht_node *node)
{
	struct cds_lfht_node *published;

	RCU_RELEASE(node);
	published = cds_lfht_add_unique(table, hash, match, key, node);
	if (published != node)
		RCU_ACQUIRE(published);
	return published;
}

/** Removes a node; readers may see it until a grace period has ended. Under RCU. */
static inline void rcu_hash_remove(struct cds_lfht *table, struct cds_lfht_node *node)
{
	(void)cds_lfht_del(table, node);
}

#endif
