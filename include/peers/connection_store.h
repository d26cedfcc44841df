/*
 * connection_store: one entry for each remote peer, found by peer and by tunnel address.
 *
 * Theory of operation. Entries lie in one array whose memory is reserved at the start and touched
 * when used, so making one on the packet path allocates nothing. By peer they are found through a
 * lock-free hash table of liburcu (cds_lfht) of fixed size, whose add_unique() keeps "exactly one
 * entry for each peer" true under races; by tunnel address through the address pool's array.
 *
 * Workers find and make entries inside RCU read-side critical sections (QSBR: between two quiescent
 * states of the worker). Only the control thread removes: it takes the tunnel address out, unlinks
 * the entry, waits for a grace period once for a whole round of removals, and only then gives the
 * entry back for reuse. Nothing that a worker does waits for anybody.
 *
 * An entry's fields are written before add_unique() publishes it (a full barrier) and are constant
 * from then on, except for the atomic ones. Times are monotonic seconds; a worker stores one only
 * when it differs, so a busy peer's cache line is written once a second, not once a packet.
 */
#ifndef UDP_ENCAP_TUN_CONNECTION_STORE_H
#define UDP_ENCAP_TUN_CONNECTION_STORE_H

#include "peers/address_pool.h"

#include <urcu/urcu-qsbr.h>
/* the flavour must be known before the table */
#include <urcu/rculfhash.h>

/** What --log-peers tells of an entry; kept only when asked for. */
struct connection_record {
	uint32_t made; /* monotonic seconds */
	uint32_t next_newcomer;
	_Atomic uint64_t bytes_in; /* UDP payload */
	_Atomic uint64_t bytes_out;
};

/** A local address that changes at run time; halves may be seen apart, see connection_local(). */
struct atomic_address {
	_Atomic uint32_t words[4];
};

struct connection {
	struct cds_lfht_node node;
	struct peer peer;
	struct ip_address tunnel_address; /* all zero in a store without a pool */
	struct atomic_address local;      /* where the peer last sent to, all zero: unknown */
	_Atomic uint32_t last_received;   /* monotonic seconds, any datagram */
	_Atomic uint32_t last_sent;       /* any datagram, keepalives too */
	_Atomic uint32_t last_tcp;        /* TCP either way */
	_Atomic uint32_t next;            /* of the free list or of those about to go, index + 1 */
	_Atomic bool is_live;             /* for the control thread: published and not removed */
};

struct connection_store;

struct connection_store_settings {
	uint32_t max_connections;
	uint32_t quarantine;       /* seconds */
	bool gives_tunnel_address; /* server mode: an entry needs an address of the pool */
	bool keeps_records; /* for connection_store_record() and connection_store_take_newcomers()
			     */
};

/** How connection_store_obtain() ended. */
enum connection_result {
	CONNECTION_FOUND,
	CONNECTION_MADE,
	CONNECTION_MADE_IN_QUARANTINE, /* with an address whose quarantine was cut short */
	CONNECTION_REFUSED,            /* no entry or no address left */
	CONNECTION_HAS_NO_POOL,        /* the tunnel interface has no address yet */
};

/** Makes a store; NULL when there is no memory for it. Before the workers start. */
struct connection_store *connection_store_create(const struct connection_store_settings *settings);

/** Frees a store. After the workers ended. */
void connection_store_destroy(struct connection_store *store);

/** Finds a peer's entry, or NULL. Worker, under RCU. */
struct connection *connection_store_find_peer(struct connection_store *store,
					      const struct peer *peer);

/** Finds the entry that holds a tunnel address, or NULL. Worker, under RCU. */
struct connection *connection_store_find_tunnel_address(struct connection_store *store,
							const struct ip_address *address);

/**
 * Finds a peer's entry or makes one. Lock-free, bounded, allocates nothing. Worker, under RCU.
 * @now: monotonic seconds
 * @result: what happened
 * Returns NULL when `result` is CONNECTION_REFUSED or CONNECTION_HAS_NO_POOL.
 */
struct connection *connection_store_obtain(struct connection_store *store, const struct peer *peer,
					   uint32_t now, enum connection_result *result);

/** Stores a time if it differs from what is there. Worker or control. */
static inline void connection_refresh(_Atomic uint32_t *time, uint32_t now)
{
	if (atomic_load_explicit(time, memory_order_relaxed) != now)
		atomic_store_explicit(time, now, memory_order_relaxed);
}

/**
 * The local address that a peer last sent to. While it changes, a reader may see half of the old
 * one and half of the new: the kernel refuses such a source address, and the sender then leaves the
 * choice to the kernel. Worker, under RCU.
 */
struct ip_address connection_local(const struct connection *connection);

/** Remembers the local address that a peer sent to. Worker, under RCU. */
void connection_set_local(struct connection *connection, const struct ip_address *local);

/** An entry's record. Worker, under RCU, or control thread. Only with `keeps_records`. */
struct connection_record *connection_store_record(const struct connection_store *store,
						  const struct connection *connection);

/** Entries that exist. Any thread. */
uint32_t connection_store_count(const struct connection_store *store);

/** What connection_store_sweep() asks about each entry: true removes it. */
typedef bool connection_verdict(struct connection *connection, void *argument);

/** Told of each entry that was removed, while it can still be read. */
typedef void connection_removed(const struct connection *connection, void *argument);

/**
 * Looks at every entry and removes those that `verdict` says. Never stops a worker. The caller must
 * be a registered RCU thread. Control thread.
 * @removed: may be NULL
 * Returns how many were removed.
 */
uint32_t connection_store_sweep(struct connection_store *store, uint32_t now,
				connection_verdict *verdict, connection_removed *removed,
				void *argument);

/**
 * Changes where tunnel addresses come from. Entries whose address lies outside are removed; the
 * others keep theirs. Control thread, registered with RCU.
 * @removed: told of each entry that goes, may be NULL
 * @lost: how many entries were removed
 * Returns false, with everything as before, when there is no memory for the new pool.
 */
bool connection_store_set_pool(struct connection_store *store, const struct pool_range *range,
			       uint32_t now, connection_removed *removed, void *argument,
			       uint32_t *lost);

/** Peers that the pool has addresses for, 0 without one. Control thread. */
uint32_t connection_store_pool_capacity(const struct connection_store *store);

/** True when the pool's reserve should be refilled. Worker, under RCU. */
bool connection_store_wants_refill(const struct connection_store *store);

/** Refills the pool's reserve. Control thread. */
void connection_store_refill_reserve(struct connection_store *store, uint32_t now);

/**
 * Takes the entries that were made since the last call, oldest first; one that was removed in the
 * meantime is left out. May be called from a `removed` callback. Control thread, the only one that
 * removes, so the entries stay valid until it does. Only with `keeps_records`.
 */
void connection_store_take_newcomers(struct connection_store *store,
				     void (*came)(const struct connection *connection,
						  void *argument),
				     void *argument);

#endif
