/*
 * Routing: where a packet of the tunnel interface goes, from which address, and how large a segment
 * may be. See peers.h for the theory of operation.
 */
#ifndef UDP_ENCAP_TUN_ROUTING_H
#define UDP_ENCAP_TUN_ROUTING_H

#include "peers/peers.h"

/** A TCP packet that is to leave. */
struct departure {
	struct ip_address source;      /* of the packet */
	struct ip_address destination; /* of the packet */
	size_t payload;                /* UDP payload of its largest segment, bytes */
	uint16_t own_port;             /* of the worker that sends, network byte order */
};

enum routing_verdict {
	ROUTED,
	ROUTING_HAS_NO_TUNNEL_ADDRESS, /* the tunnel interface has none */
	ROUTING_HAS_FOREIGN_SOURCE,    /* not the tunnel's address: no answer would find back */
	ROUTING_IS_TOO_BIG,            /* see `max_payload` */
	ROUTING_KNOWS_NO_DESTINATION,  /* a tunnel address that is nobody's */
	ROUTING_HAS_LOST_ITS_PEER,     /* the entry's source was taken from it */
	ROUTING_CANNOT_REMEMBER,       /* no room for an entry without which no answer comes in */
	ROUTING_HAS_NO_SOURCE,         /* no address to send from */
};

/** What was decided, and facts that the worker counts or tells of. */
struct routing {
	enum routing_verdict verdict;
	enum obtain_result obtained;          /* ENTRY_FOUND where none was asked for */
	bool is_provisional;                  /* what is sent is to be told: peers_note_sent() */
	size_t max_payload;                   /* UDP payload of a segment at most, bytes */
	struct peer_entry *entry;             /* NULL: there is none, or no room for one */
	struct transport_address destination; /* of the datagrams */
	struct ip_address source;             /* of the datagrams, all zero: not known */
};

/**
 * Decides about a packet. Makes the destination's entry where the policy says so, and refreshes
 * when it was sent to last. Lock-free, bounded, allocates nothing. Worker, under RCU.
 * @now: monotonic seconds
 * @routing: `destination` and `source` are filled when it is routed
 */
void peers_route(struct peers *peers, const struct departure *departure, uint32_t now,
		 struct routing *routing);

/**
 * Finds the entry of the peer that datagrams were routed to. Worker, under RCU.
 * @destination, @source: as peers_route() filled them
 * @own_port: of the worker that sends, network byte order
 * Returns NULL when there is none, or none any more.
 */
struct peer_entry *peers_find_routed(struct peers *peers,
				     const struct transport_address *destination,
				     const struct ip_address *source, uint16_t own_port);

#endif
