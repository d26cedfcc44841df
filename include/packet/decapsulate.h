/*
 * Decapsulation: from UDP payloads to packets for the tunnel interface. Pure functions on memory:
 * no descriptor, no clock, no allocation.
 *
 * Theory of operation. Each payload is one TCP segment. Consecutive segments of one connection are
 * coalesced into a super-packet under the rules of the kernel's own GRO (tcp_gro_receive(), Linux
 * net/ipv4/tcp_offload.c), so that segmenting it again gives back what came in: same ports,
 * acknowledgment, window, flags but FIN and PSH, and options; consecutive sequence; equal size but
 * for a shorter last one; equal TOS and peer; CWR only on the first. A flow's newest packet is the
 * only one that grows, and packets leave in the order in which they were begun: the order within a
 * connection never changes, however many connections take turns in a batch.
 *
 * A batch refers to the payloads' memory, which must stay as it is until the packets were written.
 */
#ifndef UDP_ENCAP_TUN_DECAPSULATE_H
#define UDP_ENCAP_TUN_DECAPSULATE_H

#include "base/address.h"
#include "packet/headers.h"
#include "packet/vnet_header.h"

#include <sys/uio.h>

/** What a UDP payload is (rules W1 to W4). */
enum payload_kind {
	PAYLOAD_IS_TCP,
	PAYLOAD_IS_KEEPALIVE,
	PAYLOAD_IS_CONTROL,
	PAYLOAD_IS_MALFORMED,
};

enum {
	INBOUND_MAX_PACKETS = 256,
	INBOUND_MAX_SEGMENTS = 512,
	INBOUND_MAX_COALESCED = 128, /* segments in one super-packet */
	INBOUND_FLOW_SLOTS = 64,     /* power of two */
	INBOUND_HEADER_SIZE = VNET_HEADER_SIZE + IPV4_HEADER_SIZE + TCP_MAX_HEADER_SIZE,
};

/** What the segments of one datagram have in common on their way to the tunnel interface. */
struct inbound_origin {
	uint32_t source;      /* IPv4 source of the packets to be made, network byte order */
	uint32_t destination; /* their destination, network byte order */
	uint16_t udp_port;    /* the peer's port, network byte order */
	uint8_t tos;
};

/** TCP data of one segment, a member of its packet's list. */
struct inbound_segment {
	const uint8_t *data;
	uint16_t length;
	uint16_t next; /* index of the next segment of the packet */
};

/** One packet for the tunnel interface. */
struct inbound_packet {
	struct inbound_origin origin;
	uint32_t next_sequence; /* what a segment must start with to be appended */
	uint32_t data_length;   /* bytes in all */
	uint16_t segment_data;  /* TCP data of the first segment, bytes */
	uint16_t segments;
	uint16_t first_segment;
	uint16_t last_segment;
	uint16_t tcp_header_size;
	bool is_open; /* may grow */
	/* virtio_net header, IPv4 header and TCP header as they are written */
	uint8_t header[INBOUND_HEADER_SIZE];
};

/** Packets on their way to the tunnel interface, in order. */
struct inbound_batch {
	bool with_vnet_header; /* the interface takes virtio_net headers: coalesce, leave checksums
				*/
	size_t packet_count;
	size_t segment_count;
	uint16_t flows[INBOUND_FLOW_SLOTS]; /* newest packet of a flow, plus 1 */
	struct inbound_packet packets[INBOUND_MAX_PACKETS];
	struct inbound_segment segments[INBOUND_MAX_SEGMENTS];
};

/** Tells what a UDP payload is. */
enum payload_kind payload_classify(const uint8_t *payload, size_t length);

/** Empties a batch. */
void inbound_batch_clear(struct inbound_batch *batch);

/**
 * Adds a payload that payload_classify() calls TCP.
 * Returns false when the batch is full: it then has to be written and cleared first.
 */
bool decapsulate(struct inbound_batch *batch, const uint8_t *payload, size_t length,
		 const struct inbound_origin *origin);

/**
 * Completes a packet's headers (rules R4 to R6) and lists its pieces for writev().
 * @iov: room for INBOUND_MAX_COALESCED + 1 entries
 * Returns the number of entries used. Calling it again gives the same.
 */
size_t inbound_packet_finish(struct inbound_batch *batch, size_t index, struct iovec *iov);

#endif
