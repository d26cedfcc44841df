/*
 * connection_store: one entry for each remote peer, found by peer and by tunnel address.
 *
 * Theory of operation. Three things make the store:
 *
 * - Entries: the tunnel address, times, counts, whether the peer is proven. An entry's place in
 *   memory and its tunnel address are its own for life.
 * - Keys: a node of a lock-free hash table of liburcu (cds_lfht), of fixed size, that leads to an
 *   entry. An entry has one as a rule, several for some seconds after it moved (aliases), or none
 *   when its source was taken from it.
 * - Destinations: where an entry's peer is reached, remote end and own end. That is what a key
 *   stands for, so the two are one record, and an entry points at the newest of its keys through an
 *   RCU-protected pointer. A reader sees one destination or another, never half of each.
 *
 * Entries and keys lie in arrays whose memory is mapped at the start and touched when used, so
 * making one on the packet path allocates nothing. By tunnel address an entry is found through the
 * address pool's array.
 *
 * Workers find and make entries inside RCU read-side critical sections (base/rcu.h). Only the
 * control thread removes and moves: it unlinks, waits for a grace period once for a whole round,
 * and only then gives places back for reuse. Nothing that a worker does waits for anybody.
 *
 * A key's fields are written before add_unique() publishes it (a full barrier); an entry's before
 * its key is. From then on they are constant, except for the atomic ones. Times are monotonic
 * seconds; a worker stores one only when it differs, so a busy peer's cache line is written once a
 * second, not once a packet.
 *
 * An entry is provisional until its peer is proven. Those that are stand in a queue, oldest first,
 * linked through the word that links free entries; the control thread takes out what was proven
 * when it looks at the queue. Proving an entry and taking it away are the same atomic exchange, so
 * one of the two wins. Who was about to prove what is evicted comes back as a newcomer.
 *
 * What the store promises; tests/unit/test_connection_store.c, test_moving_peers.c and
 * test_provisional.c hold each:
 *
 * (a) A key has at most one entry, whichever threads ask for it at the same time.
 * (b) A tunnel address leads to its entry without a gap before, during and after a move.
 * (c) connection_store_move() shows the new destination whole. The old key stays an alias for
 *     ALIAS_SECONDS: it leads to the entry, and no newcomer is made from it. What becomes of an
 *     entry that holds the new key is the caller's decision, see there; two entries can swap keys.
 * (d) Times, counts and whether the peer is proven survive a move.
 * (e) An entry can be put in with a given tunnel address before the workers start.
 * (f) The iterator works in slices, sees each entry that lives from its first slice to its last
 *     exactly once, and holds up no worker.
 * (g) Finding is wait-free but for the hash table's chain, making is lock-free and bounded in its
 *     search. Both need a compare-and-swap of 64 bits for the free lists and spare addresses, and
 *     64-bit counts; a 32-bit target without one gets them from libatomic, which takes a lock for
 *     the moment of that one operation.
 * (h) In a store without a pool, an entry that was just made uses the device's source; one that the
 *     control thread sets is seen whole, and what the entry's place held before never.
 * (i) Provisional entries become no more than their part of the entries and of the pool, but for
 *     those that are put in. They make room also where entries or addresses are missing. An entry
 *     that is proven never makes room for another, nor one that is being proven at that moment. An
 *     address to which nothing but SYN-ACK and RST was sent has no quarantine after it, and the
 *     quarantine that was there before goes on. While there is a provisional entry, no other one
 *     gets an address that is in quarantine.
 */
#ifndef UDP_ENCAP_TUN_CONNECTION_STORE_H
#define UDP_ENCAP_TUN_CONNECTION_STORE_H

#include "base/rcu.h"
#include "peers/address_pool.h"
#include "peers/destination.h"
#include "peers/source.h"

enum { ALIAS_SECONDS = 5 };

/** What was sent to a provisional entry's peer, by the open server; see peers/proof.h. */
enum sent_kind {
	SENT_AN_END = 1 << 0,     /* TCP but no RST: an end is remembered */
	SENT_MORE = 1 << 1,       /* TCP that is neither SYN-ACK nor RST */
	SENT_END_OF_SYN = 1 << 2, /* what is remembered is the end of a SYN, or SYN-ACK */
};

/**
 * What is known of the data that comes from an endpoint's destination; see control/destinations.h.
 * The bits above are the control thread's: seconds, how much of its lulls' keepalives is spent.
 */
enum data_flow {
	DATA_CAME = 1 << 0,       /* since the control thread looked last, and may go on */
	DATA_HAS_PAUSED = 1 << 1, /* came before that, and none came since */
	DATA_WAS_ASKED = 1 << 2,  /* and a keepalive was due since */
	DATA_STATE = DATA_CAME | DATA_HAS_PAUSED | DATA_WAS_ASKED,
	DATA_SPENT_SHIFT = 3,
};

/** What the packet path touches of an entry. */
struct peer_entry {
	struct destination *destination; /* RCU, see peer_entry_destination() */
	union {
		struct ip_address tunnel_address; /* of a store with a pool */
		struct source_words source;       /* of one without, see peer_entry_source() */
	};
	_Atomic uint32_t last_received; /* monotonic seconds; with a pool any datagram, else TCP */
	/* any datagram, keepalives too; of a provisional entry in a store that limits them: when
	 * `sent_end` was remembered */
	_Atomic uint32_t last_sent;
	_Atomic uint32_t last_tcp;    /* TCP either way */
	_Atomic bool is_proven;       /* the peer has shown that it receives */
	_Atomic uint8_t source_state; /* of enum source_state */
	union {
		_Atomic uint8_t sent; /* of enum sent_kind; while it is provisional, with a pool */
		_Atomic uint8_t data; /* of enum data_flow; of a store without one */
	};
	/* Here, where there is room: published and not removed. Written by the store alone. */
	_Atomic bool is_live;
};

/** What --log-peers tells of an entry; kept beside the entries, and only when asked for. */
struct peer_record {
	uint32_t made;                  /* monotonic seconds */
	_Atomic uint32_t next_newcomer; /* of the queue of newcomers, index + 1 */
	_Atomic uint64_t bytes_in;      /* UDP payload */
	_Atomic uint64_t bytes_out;
};

struct connection_store;

struct connection_store_settings {
	uint32_t max_entries;
	uint32_t quarantine;       /* seconds */
	bool gives_tunnel_address; /* server mode: an entry needs an address of the pool */
	bool keeps_records;        /* for connection_store_record() and _take_newcomers() */
	/* One in so many of the entries, and of the pool's addresses, may be provisional, one at
	 * least; 0: all of them. */
	uint32_t provisional_part;
};

/** How connection_store_obtain() ended. */
enum obtain_result {
	ENTRY_FOUND,
	ENTRY_MADE,
	ENTRY_MADE_IN_QUARANTINE, /* with an address whose quarantine was cut short */
	ENTRY_REFUSED,            /* no entry or no address left */
	ENTRY_HAS_TO_WAIT,        /* until one of the provisional entries has made room */
	ENTRY_HAS_NO_POOL,        /* the tunnel interface has no address yet */
};

/** Makes a store; NULL when there is no memory for it. Before the workers start. */
struct connection_store *connection_store_create(const struct connection_store_settings *settings);

/** Frees a store; NULL is fine. Control thread, after the workers ended. */
void connection_store_destroy(struct connection_store *store);

/**
 * Finds a peer's entry, or NULL. Worker, under RCU.
 */
struct peer_entry *connection_store_find_peer(struct connection_store *store,
					      const struct peer *peer);

/** Finds the entry that holds a tunnel address, or NULL. Worker, under RCU. */
struct peer_entry *connection_store_find_tunnel_address(struct connection_store *store,
							const struct ip_address *address);

/**
 * Finds a peer's entry or makes one. Lock-free, bounded, allocates nothing. Worker, under RCU.
 * @now: monotonic seconds
 * @result: what happened
 * Returns NULL when `result` is ENTRY_REFUSED, ENTRY_HAS_TO_WAIT or ENTRY_HAS_NO_POOL.
 */
struct peer_entry *connection_store_obtain(struct connection_store *store, const struct peer *peer,
					   uint32_t now, enum obtain_result *result);

/**
 * The same while more newcomers come than can be taken in, in a store that limits provisional
 * entries: makes one only for a newcomer that was turned away before, half a second to eight
 * seconds ago, and turns others away (ENTRY_HAS_TO_WAIT). Worker, under RCU.
 * @milliseconds: monotonic, now
 * @lets_in: false: not even that one gets in; who is turned away is remembered all the same
 */
struct peer_entry *connection_store_obtain_returning(struct connection_store *store,
						     const struct peer *peer, uint64_t milliseconds,
						     bool lets_in, enum obtain_result *result);

/**
 * Where an entry's peer is reached; NULL while its source was taken from it. Worker, under RCU, or
 * control thread.
 */
static inline const struct destination *peer_entry_destination(const struct peer_entry *entry)
{
	return rcu_read(entry->destination);
}

/** Stores a time if it differs from what is there. Worker or control thread. */
static inline void peer_entry_refresh(_Atomic uint32_t *time, uint32_t now)
{
	if (atomic_load_explicit(time, memory_order_relaxed) != now)
		atomic_store_explicit(time, now, memory_order_relaxed);
}

/** Whether the peer has shown that it receives what is sent to it. Any thread. */
static inline bool peer_entry_is_proven(const struct peer_entry *entry)
{
	return atomic_load_explicit(&entry->is_proven, memory_order_relaxed);
}

/**
 * What came from an endpoint's destination: data that more may follow, or the end of a connection.
 * What is neither changes nothing. Worker, under RCU.
 * Returns true when data came for the first time since the control thread looked last.
 */
static inline bool peer_entry_note_data(struct peer_entry *entry, bool is_end, bool has_data)
{
	uint8_t data = atomic_load_explicit(&entry->data, memory_order_relaxed);

	if (is_end) {
		if (data & DATA_STATE)
			atomic_fetch_and_explicit(&entry->data, (uint8_t)~DATA_STATE,
						  memory_order_relaxed);
		return false;
	}
	if (!has_data || (data & DATA_CAME))
		return false;
	atomic_fetch_or_explicit(&entry->data, DATA_CAME, memory_order_relaxed);
	return true;
}

/** Remembers that the peer has shown it. Worker, under RCU, or control thread. */
void connection_store_prove(struct connection_store *store, struct peer_entry *entry);

/** Provisional entries that exist. Any thread. */
uint32_t connection_store_count_provisional(const struct connection_store *store);

/** True when more than half of the provisional entries that may exist do. Any thread. */
bool connection_store_is_crowded(const struct connection_store *store);

/**
 * True when there is hardly any room for entries that are not proven: where they are limited, when
 * some of them should be evicted, else when seven eighths of all places are in use. Any thread.
 */
bool connection_store_wants_room(const struct connection_store *store);

/**
 * Whether TCP came from the peer since the entry was made: in a store without a pool, whose entries
 * begin with something that is sent, this is what proves a peer. Any thread.
 */
static inline bool peer_entry_has_answered(const struct peer_entry *entry)
{
	return peer_entry_is_proven(entry);
}

/**
 * Puts an entry behind all others in the order in which entries take turns; one that is made takes
 * a turn, too. In a store without a pool. Any thread.
 */
void connection_store_take_turn(struct connection_store *store, struct peer_entry *entry);

/** How many turns were taken since this entry's last one. Control thread. */
uint32_t connection_store_turns_since(const struct connection_store *store,
				      const struct peer_entry *entry);

/**
 * Remembers that messages for the entry's peer must have one segment each. Any thread.
 * @until: monotonic seconds
 */
void connection_store_send_singly(struct peer_entry *entry, uint32_t until);

/** Whether they must. Worker, under RCU. @now: monotonic seconds */
bool connection_store_sends_singly(const struct peer_entry *entry, uint32_t now);

/**
 * What is known of the source of datagrams to the entry's peer, in a store without a pool. Any
 * thread.
 * @source: written when SOURCE_IS_OWN is returned
 */
static inline enum source_state peer_entry_source(const struct peer_entry *entry,
						  struct ip_address *source)
{
	/* pairs with the release of peer_entry_set_source() */
	enum source_state state = atomic_load_explicit(&entry->source_state, memory_order_acquire);

	if (state == SOURCE_IS_OWN)
		*source = source_words_load(&entry->source);
	return state;
}

/**
 * Sets it. Control thread.
 * @source: with SOURCE_IS_OWN, may be NULL otherwise
 */
static inline void peer_entry_set_source(struct peer_entry *entry, enum source_state state,
					 const struct ip_address *source)
{
	if (state == SOURCE_IS_OWN)
		source_words_store(&entry->source, source);
	atomic_store_explicit(&entry->source_state, (uint8_t)state, memory_order_release);
}

/** An entry's record, NULL without `keeps_records`. Worker, under RCU, or control thread. */
struct peer_record *connection_store_record(const struct connection_store *store,
					    const struct peer_entry *entry);

/** Entries that exist. Any thread. */
uint32_t connection_store_count(const struct connection_store *store);

/** Peers that the pool has addresses for, 0 without one. Control thread. */
uint32_t connection_store_pool_capacity(const struct connection_store *store);

/** True when the pool should look for spare addresses. Worker, under RCU. */
bool connection_store_wants_spares(const struct connection_store *store);

/** Has the pool look for spare addresses. Control thread. */
void connection_store_refill_spares(struct connection_store *store, uint32_t now);

/** An entry as it was once. */
struct former_entry {
	struct peer peer;
	struct ip_address tunnel_address;
	uint32_t last_received; /* monotonic seconds, as the other two */
	uint32_t last_sent;
	uint32_t last_tcp;
	bool is_proven;
};

/** How connection_store_put() ended. */
enum put_result {
	ENTRY_PUT,
	PUT_HAS_NO_ROOM,         /* as many entries as there may be */
	PUT_PEER_HAS_ENTRY,      /* another one */
	PUT_ADDRESS_IS_NOT_FREE, /* held, left out, outside the pool, or there is no pool */
};

/**
 * Puts an entry in with the tunnel address that it had (promise e). Its peer is no newcomer, and no
 * quarantine keeps the address from it. Control thread, before the workers start.
 */
enum put_result connection_store_put(struct connection_store *store,
				     const struct former_entry *former);

/** What connection_store_sweep() asks about each entry: true removes it. */
typedef bool entry_verdict(struct peer_entry *entry, void *argument);

/** Told of each entry that was removed, while it can still be read. */
typedef void entry_removed(const struct peer_entry *entry, void *argument);

/** Where an iteration stands. */
struct connection_store_iterator {
	uint32_t next;
	uint32_t end;
};

/** Begins an iteration over the entries that there are (promise f). Control thread. */
struct connection_store_iterator connection_store_begin(const struct connection_store *store);

/**
 * Goes on with an iteration. Entries may be made, moved and removed between two slices. Control
 * thread.
 * @places: at most so many entries are looked at
 * Returns false when the end was reached.
 */
bool connection_store_visit(struct connection_store *store,
			    struct connection_store_iterator *iterator, uint32_t places,
			    void (*visit)(struct peer_entry *entry, void *argument),
			    void *argument);

/**
 * Looks at every entry and removes those that `verdict` says; and aliases whose time is over. Never
 * stops a worker. Control thread, registered with RCU.
 * @removed: may be NULL
 * Returns how many entries were removed.
 */
uint32_t connection_store_sweep(struct connection_store *store, uint32_t now,
				entry_verdict *verdict, entry_removed *removed, void *argument);

/**
 * Has provisional entries make room for others (promise i): those first, in their older half, to
 * which nothing but RST was sent, then the others, the oldest first. As many as bring room for a
 * while, none where there is enough. Waits for one grace period; no worker waits. Control thread,
 * registered with RCU.
 * @removed: told of each, may be NULL
 * Returns how many went.
 */
uint32_t connection_store_evict(struct connection_store *store, uint32_t now,
				entry_removed *removed, void *argument);

/**
 * Changes where tunnel addresses come from. Entries whose address lies outside are removed; the
 * others keep theirs. Control thread, registered with RCU.
 * @removed: told of each entry that goes, may be NULL
 * @lost: how many entries were removed
 * Returns false, with everything as before, when there is no memory for the new pool.
 */
bool connection_store_set_pool(struct connection_store *store, const struct pool_range *range,
			       uint32_t now, entry_removed *removed, void *argument,
			       uint32_t *lost);

/**
 * Takes the entries that were made since the last call, oldest first; one that was removed in the
 * meantime is left out. May be called from a `removed` callback. Control thread, the only one that
 * removes, so the entries stay valid until it does. Only with `keeps_records`.
 */
void connection_store_take_newcomers(struct connection_store *store,
				     void (*came)(const struct peer_entry *entry, void *argument),
				     void *argument);

/** Where an entry moves, and what that may cost others. */
struct move {
	struct peer peer; /* the new key */
	/* The peer has shown that it receives at the new source: then the key may be taken from
	 * another peer that is proven, too. */
	bool source_is_proven;
	/* What becomes of the address of a provisional entry that holds the new key. */
	bool absorbs_with_quarantine;
	/* What becomes of a proven entry that the key is taken from: it is dropped, with
	 * quarantine, or lives on without a key. */
	bool drops_former_holder;
};

/** How connection_store_move() ended. */
enum move_result {
	ENTRY_MOVED,
	ENTRY_WAS_THERE,  /* nothing changed */
	MOVE_REFUSED,     /* the key is a proven peer's, and this source is not proven */
	MOVE_HAS_NO_ROOM, /* for another alias, until others end */
};

/**
 * Leads another key to an entry, which is reached there from now on (promises b, c and d). Waits
 * for a grace period where something became free; no worker waits. An alias that leads to another
 * entry counts as a key of a proven peer. Aliases end in a sweep: the caller sees to it that one is
 * due when ALIAS_SECONDS are over. Control thread, registered with RCU.
 * @now: monotonic seconds, for the alias and the quarantine
 * @removed: told of an entry that is absorbed or dropped, may be NULL
 */
enum move_result connection_store_move(struct connection_store *store, struct peer_entry *entry,
				       const struct move *move, uint32_t now,
				       entry_removed *removed, void *argument);

#endif
