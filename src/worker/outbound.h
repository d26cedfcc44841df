/*
 * From the tunnel interface to UDP.
 *
 * Theory of operation. Packets are read into an arena until it is full or nothing is left to read,
 * cut into segments, and sent together. What the socket does not take stays where it is, and
 * nothing more is read until it does.
 *
 * What the path is too small for is reported to its sender, as ICMP does, unless TCP cannot make
 * its segments as small as the path claims: that leaves so that it may be fragmented, as the kernel
 * itself does with TCP. It is decided after the first refusal; for the rest of the second in which
 * the path's MTU is known, in advance.
 */
#ifndef UDP_ENCAP_TUN_OUTBOUND_H
#define UDP_ENCAP_TUN_OUTBOUND_H

#include "base/counters.h"
#include "exchange/exchange.h"
#include "io/path_mtu.h"
#include "io/udp_sender.h"
#include "packet/encapsulate.h"
#include "packet/vnet_header.h"
#include "peers/routing.h"
#include "worker/reject.h"
#include "worker/round.h"
#include "worker/standing_queue.h"

enum {
	OUTBOUND_MAX_PACKETS = 64,
	OUTBOUND_PACKET_ROOM = VNET_HEADER_SIZE + IPV4_MAX_TOTAL_LENGTH,
	/* Holds at least four super-packets: more do not stay in the cache until they are sent. */
	OUTBOUND_ARENA_SIZE = 5 * 65536,
};

struct outbound {
	/* constant */
	struct peers *peers;
	struct counters *counters;
	struct notices *notices;
	int queue; /* of the tunnel interface */
	bool with_vnet_header;
	uint16_t own_port; /* of the socket, network byte order */

	bool is_blocked;             /* the socket is full */
	bool has_rest;               /* the packet's segments did not all fit into the batch */
	size_t next_segment;         /* of that packet */
	struct tunnel_packet packet; /* the one that is being taken */
	struct datagram_route route; /* its route */
	size_t arena_used;
	struct carried carried;
	struct rejecter rejecter;
	struct standing_queue standing_queue;
	struct path_mtu_cache path_mtu;
	uint32_t tiny_path_at; /* when a path was last too small for TCP, monotonic seconds */
	struct udp_sender sender;
	struct outbound_batch batch;
	uint8_t *arena; /* packets as they were read, until their segments were sent */
};

/** Carries a batch from the tunnel interface to the socket, or goes on with one. */
struct carried outbound_run(struct outbound *outbound, int socket, const struct round *round);

/**
 * The socket is a new one, perhaps on another device: what was given up gets another chance.
 * @path_mtu_socket: asked from now on, stays the caller's
 */
void outbound_renew(struct outbound *outbound, int path_mtu_socket);

#endif
