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
 * Peer, addresses and TOS are those of a whole message, which is one segment or dozens. They are
 * compared once, when inbound_batch_origin() makes a number of them; equal numbers then say that a
 * segment has its packet's origin. The same step builds the IPv4 header, of which a packet has only
 * its length to add. Numbers outlast a batch, because the same peers send again and again.
 *
 * An origin may be forgotten and come again with another number. That costs a packet more and never
 * the order: the place that a flow's newest packet is remembered in follows from peer and ports,
 * not from the number and not from the TOS, so a packet cannot be found any more once its flow has
 * a newer one. When all numbers are used up they begin anew, and no packet grows any more that was
 * begun under the old ones.
 *
 * An interface that does not take a super-packet gets its segments one by one, each as it came in:
 * the data is where it was, and a single has a header of its own, cut from the packet's as
 * tcp_gso_segment() would.
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
	INBOUND_MAX_ORIGINS = 128,   /* that have a number */
	INBOUND_ORIGIN_SLOTS = 256,  /* power of two */
	INBOUND_HEADER_SIZE = VNET_HEADER_SIZE + IPV4_HEADER_SIZE + TCP_MAX_HEADER_SIZE,
};

/** What the segments of one datagram have in common on their way to the tunnel interface. */
struct inbound_origin {
	struct ip_address source;      /* of the packets to be made, IPv4 */
	struct ip_address destination; /* of the packets to be made, IPv4 */
	uint16_t udp_port;             /* the peer's port, network byte order */
	uint8_t tos;
};

/** An origin that has a number. */
struct inbound_numbered_origin {
	struct inbound_origin origin;
	uint32_t flow_hash; /* of all but the TOS: the part that it has in a flow's identity */
	/* of the packets to be made, complete but for total length and checksum */
	uint8_t ipv4_header[IPV4_HEADER_SIZE];
};

_Static_assert(sizeof(struct inbound_numbered_origin) <= 64, "one cache line each");

/** TCP data of one segment, a member of its packet's list. */
struct inbound_segment {
	const uint8_t *data;
	uint16_t length;
	uint16_t next; /* index of the next segment of the packet */
};

/** One packet for the tunnel interface. */
struct inbound_packet {
	uint32_t next_sequence; /* what a segment must start with to be appended */
	uint32_t data_length;   /* bytes in all */
	uint16_t origin;        /* its number */
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
	bool with_vnet_header; /* as inbound_batch_init() was told */
	bool is_coalescing;    /* as inbound_batch_coalesce() was told */
	size_t packet_count;
	size_t segment_count;
	size_t origin_count;
	uint16_t flows[INBOUND_FLOW_SLOTS];    /* newest packet of a flow, plus 1 */
	uint8_t numbers[INBOUND_ORIGIN_SLOTS]; /* the remembered ones, plus 1 */
	struct inbound_numbered_origin origins[INBOUND_MAX_ORIGINS];
	struct inbound_packet packets[INBOUND_MAX_PACKETS];
	struct inbound_segment segments[INBOUND_MAX_SEGMENTS];
};

/** One segment of a packet, to be written as a packet of its own. */
struct inbound_single {
	uint16_t nth;     /* segment of the packet, from 0 on */
	uint16_t segment; /* index of it in the batch */
	/* virtio_net header, IPv4 header and TCP header as they are written */
	uint8_t header[INBOUND_HEADER_SIZE];
};

/** Tells what a UDP payload is. */
enum payload_kind payload_classify(const uint8_t *payload, size_t length);

/**
 * Prepares a batch.
 * @with_vnet_header: the interface takes virtio_net headers: coalesce, leave checksums to the
 *                    kernel
 */
void inbound_batch_init(struct inbound_batch *batch, bool with_vnet_header);

/** Empties a batch. */
void inbound_batch_clear(struct inbound_batch *batch);

/**
 * Says whether segments are put together from now on. With virtio_net headers they are, until this
 * says otherwise; without, never. For an empty batch.
 */
void inbound_batch_coalesce(struct inbound_batch *batch, bool is_coalescing);

/**
 * Gives an origin a number: the one that an equal origin has, if that is still remembered. To be
 * called once for each message.
 * Returns the number, which is good until the next call.
 */
size_t inbound_batch_origin(struct inbound_batch *batch, const struct inbound_origin *origin);

/**
 * Adds a payload that payload_classify() calls TCP.
 * @origin: the number of its message's origin
 * Returns false when the batch is full: it then has to be written and cleared first.
 */
bool decapsulate(struct inbound_batch *batch, const uint8_t *payload, size_t length, size_t origin);

/**
 * Completes a packet's headers (rules R4 to R6) and lists its pieces for writev().
 * @iov: room for INBOUND_MAX_COALESCED + 1 entries
 * Returns the number of entries used. Calling it again gives the same.
 */
size_t inbound_packet_finish(struct inbound_batch *batch, size_t index, struct iovec *iov);

/** Goes to the first segment of a packet. */
void inbound_single_first(const struct inbound_batch *batch, size_t index,
			  struct inbound_single *single);

/** Goes to the packet's next segment. Returns false when there is none. */
bool inbound_single_next(const struct inbound_batch *batch, size_t index,
			 struct inbound_single *single);

/**
 * Builds the headers of a single, as its segment came in, and lists its pieces for writev(). For
 * batches with virtio_net headers.
 * @index: of the packet that the segment is in
 * @with_checksum: with the whole TCP checksum, instead of leaving it to the kernel
 * @iov: room for 2 entries
 * Returns the number of entries used. Calling it again gives the same.
 */
size_t inbound_single_finish(const struct inbound_batch *batch, size_t index,
			     struct inbound_single *single, bool with_checksum, struct iovec *iov);

#endif
