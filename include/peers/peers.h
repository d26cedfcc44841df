/*
 * The peers' room as the daemon makes it: connection_store, the tunnel interface's own addresses,
 * and the policy that decides with them.
 *
 * Theory of operation. Two decisions stand between the two sides of the tunnel: may this datagram
 * come in, as whom (peers_admit(), admission.h), and where does this packet go, from which address,
 * how large may it be (peers_route(), routing.h). A policy is how they are made. One is chosen when
 * the program starts: the open server, the endpoint, the endpoint that takes solicited datagrams
 * only. The packet path asks and never branches on options. A policy may look into the store, make
 * an entry there and refresh its times; it counts nothing, logs nothing and knows no worker.
 *
 * Both decisions answer with a verdict, which the worker carries out. A policy that cannot answer
 * yet may one day say "hold": whoever carries that out copies what it holds, for the memory that a
 * datagram or packet lies in is used again each round.
 */
#ifndef UDP_ENCAP_TUN_PEERS_H
#define UDP_ENCAP_TUN_PEERS_H

#include "peers/connection_store.h"

enum peers_policy {
	PEERS_OPEN_SERVER,        /* rules R2 and T2: whoever sends gets a tunnel address */
	PEERS_ENDPOINT,           /* rules R1 and T3: any source, the packet's own destination */
	PEERS_SOLICITED_ENDPOINT, /* the same, but only who answers, or was sent something lately */
};

enum {
	/* TCP sends again after 1, 2, 4 and 8 s: whoever answers at all has by then */
	LEAST_ANSWER_SECONDS = 30,
	/* a keepalive that is late does not make what it keeps open unsolicited */
	KEEPALIVE_SLACK_SECONDS = 5,
};

struct peers_settings {
	enum peers_policy policy;
	uint16_t endpoint_port;      /* of far ends, network byte order; not of an open server */
	uint32_t connection_timeout; /* seconds, how long a destination counts as answering */
	uint32_t answer_time;        /* seconds, see peers_answer_time() */
	size_t max_payload;          /* UDP payload of a datagram at most, bytes (rule W6) */
	struct connection_store_settings store;
};

/** The tunnel interface's own addresses, one for each family; all zero where there is none. */
struct tunnel_addresses {
	struct ip_address ipv4;
	struct ip_address ipv6;
};

/** What changes at run time of this machine's addresses, seen all at once. */
struct peers_addresses {
	struct tunnel_addresses tunnel;
	struct ip_address device_source; /* of an endpoint, see peers_find_source() */
};

struct peers {
	const struct policy_operations *policy;
	struct peers_settings settings;
	struct connection_store *store;
	struct peers_addresses *addresses; /* RCU, never NULL */
};

/** Prepares the room; false when there is no memory. Before the workers start. */
bool peers_open(struct peers *peers, const struct peers_settings *settings);

/** Frees it; one that is all zero, too. Control thread, after the workers ended. */
void peers_close(struct peers *peers);

/**
 * Publishes the tunnel interface's addresses: whoever decides from now on sees them, and until then
 * all of the former ones. Control thread, registered with RCU.
 * Returns false, with everything as before, when there is no memory.
 */
bool peers_set_tunnel_addresses(struct peers *peers, const struct tunnel_addresses *addresses);

/**
 * Publishes from which address an endpoint sends by the bound device, where no entry knows better;
 * all zero: from none. Control thread, registered with RCU.
 * Returns false, with everything as before, when there is no memory.
 */
bool peers_set_device_source(struct peers *peers, const struct ip_address *source);

/**
 * The address that an endpoint's datagrams to a destination leave from (rule T5). Worker, under
 * RCU, or control thread.
 * @entry: the destination's; NULL: it has none
 * Returns false when there is none: nothing may be sent.
 */
static inline bool peers_find_source(const struct peers *peers, const struct peer_entry *entry,
				     struct ip_address *source)
{
	enum source_state state = entry == NULL ? SOURCE_IS_THE_DEVICES
						: peer_entry_source(entry, source);

	if (state == SOURCE_IS_OWN)
		return true;
	*source = rcu_read(peers->addresses)->device_source;
	return state != SOURCE_IS_MISSING && !ip_address_is_none(source);
}

/**
 * How long an endpoint waits for an answer from where it sent something, seconds (rule R1).
 * @keepalive: seconds, 0: off
 */
static inline uint32_t peers_answer_time(uint32_t keepalive)
{
	uint32_t time = keepalive + KEEPALIVE_SLACK_SECONDS;

	return time > LEAST_ANSWER_SECONDS ? time : LEAST_ANSWER_SECONDS;
}

/** What the entry's peer sent was TCP. Worker, under RCU. @now: monotonic seconds */
static inline void peers_note_tcp(const struct peers *peers, struct peer_entry *entry, uint32_t now)
{
	peer_entry_refresh(&entry->last_tcp, now);
	if (peers->settings.store.gives_tunnel_address)
		return;
	peer_entry_refresh(&entry->last_received, now);
	if (!peer_entry_has_answered(entry))
		connection_store_prove(peers->store, entry);
}

#endif
