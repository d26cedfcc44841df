/* What a worker's rooms share. Only the worker's own thread touches it, but for the atomic fields.
 */
#ifndef UDP_ENCAP_TUN_WORKER_STATE_H
#define UDP_ENCAP_TUN_WORKER_STATE_H

#include "io/path_mtu.h"
#include "io/udp_receiver.h"
#include "io/udp_sender.h"
#include "packet/decapsulate.h"
#include "packet/encapsulate.h"
#include "worker/busy_poll.h"
#include "worker/standing_queue.h"
#include "worker/worker.h"

#include <pthread.h>

enum {
	OUTBOUND_MAX_PACKETS = 64,
	OUTBOUND_PACKET_ROOM = VNET_HEADER_SIZE + IPV4_MAX_TOTAL_LENGTH,
	/* Holds at least four super-packets: more do not stay in the cache until they are sent. */
	OUTBOUND_ARENA_SIZE = 5 * 65536,
};

/** From the tunnel interface to UDP. */
struct outbound {
	bool is_blocked;             /* the socket is full */
	struct tunnel_packet packet; /* the one whose segments did not all fit into the batch */
	struct datagram_route route;
	size_t next_segment; /* of that packet; packet.segments: there is none */
	size_t arena_used;
	struct standing_queue queue;
	struct udp_sender sender;
	struct outbound_batch batch;
	uint8_t *arena; /* packets as they were read, until their segments were sent */
};

/** From UDP to the tunnel interface. */
struct inbound {
	bool is_blocked; /* the tunnel interface is full */
	size_t message_count;
	size_t next_message; /* received messages before it are done with */
	size_t next_offset;  /* in that message's payload */
	size_t next_packet;  /* of the batch: packets before it are written */
	struct udp_receiver receiver;
	struct inbound_batch batch;
};

struct worker {
	struct forwarding *forwarding;
	uint16_t own_port; /* of the socket, network byte order */
	int queue;
	int socket;
	int wake; /* eventfd */
	_Atomic int next_socket;
	uint64_t milliseconds; /* monotonic, read once a round */
	uint32_t now;          /* the same in seconds */
	uint32_t icmp_second;
	uint32_t icmp_left; /* ICMP errors that may still be sent in that second */
	pthread_t thread;
	struct busy_poll busy_poll;
	struct path_mtu_cache path_mtu;
	struct counters counters;
	struct inbound inbound;
	struct outbound outbound;
};

/** Adds to one of the worker's counters. */
static inline void count(struct worker *worker, enum counter counter, uint64_t amount)
{
	counter_add(&worker->counters, counter, amount);
}

/** Carries a batch from the socket to the tunnel interface, or goes on with one. */
void inbound_run(struct worker *worker);

/** Carries a batch from the tunnel interface to the socket, or goes on with one. */
void outbound_run(struct worker *worker);

/**
 * Tells a packet's sender that it cannot be carried, within the rate limit.
 * @packet: the packet from its IPv4 header on
 * @length: bytes of it that are there
 * @mtu: for ICMP_CODE_FRAGMENTATION_NEEDED, else 0
 */
void reject_packet(struct worker *worker, const uint8_t *packet, size_t length, int code,
		   uint32_t mtu);

#endif
