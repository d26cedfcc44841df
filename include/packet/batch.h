/*
 * A batch of UDP messages on their way out: what encapsulation fills and the sender reads. Pure
 * data on memory: no descriptor, no clock, no allocation.
 *
 * Theory of operation. A message is a list of segments, each of which is one datagram, with a route
 * that they share. A segment is one piece of memory or two (a header of its own, and its data where
 * it lies), so a segment's pieces, a message's and the whole batch's are ranges of one iovec array,
 * and no data moves. Only a message's last segment may be shorter than the others: the kernel then
 * cuts the message into its datagrams again (UDP_SEGMENT, Linux net/ipv4/udp_offload.c). The order
 * of segments is never changed.
 *
 * A batch refers to the packets' memory, which must stay as it is until the batch was sent.
 */
#ifndef UDP_ENCAP_TUN_BATCH_H
#define UDP_ENCAP_TUN_BATCH_H

#include "base/address.h"
#include "packet/headers.h"

#include <sys/uio.h>

enum {
	OUTBOUND_MAX_SEGMENTS = 512,
	OUTBOUND_MAX_MESSAGES = 256,
	/* UDP_MAX_SEGMENTS of kernels up to 6.9 */
	MESSAGE_MAX_SEGMENTS = 64,
};

/** Where a datagram goes. */
struct datagram_route {
	struct transport_address destination;
	struct ip_address source; /* all zero: the kernel chooses */
	uint8_t tos;
	bool may_fragment; /* on its way; else it carries DF */
	bool goes_singly;  /* a segment in a message: UDP_SEGMENT does not work there */
};

/** Marks what takes the route as having met congestion (CE, RFC 3168); for flows that know ECN. */
static inline void datagram_route_mark_ce(struct datagram_route *route)
{
	route->tos |= IPV4_ECN_CE;
}

/** One segment of a message. */
struct outbound_segment {
	const uint8_t *packet; /* IP header of the packet that it comes from */
	uint16_t first_iov;
};

/** One UDP message: one datagram, or several of one size for UDP_SEGMENT. */
struct outbound_message {
	struct datagram_route route;
	uint16_t first_segment;
	uint16_t segments;
	uint16_t segment_size; /* UDP payload of each datagram but the last, bytes */
	bool is_complete;      /* takes no further segment */
	uint32_t bytes;        /* UDP payload in all */
};

/** Messages that wait to be sent, in order. */
struct outbound_batch {
	size_t message_count;
	size_t segment_count;
	size_t iov_count;
	size_t max_message_segments; /* as outbound_batch_clear() was told */
	struct outbound_message messages[OUTBOUND_MAX_MESSAGES];
	struct outbound_segment segments[OUTBOUND_MAX_SEGMENTS + 1]; /* the last one: end of iov */
	struct iovec iov[2 * OUTBOUND_MAX_SEGMENTS];
	uint8_t headers[OUTBOUND_MAX_SEGMENTS][TCP_MAX_HEADER_SIZE];
};

/**
 * Empties a batch, and says how large the messages of the next one may be.
 * @max_message_segments: segments in a message at most, 1 to MESSAGE_MAX_SEGMENTS; 1: no
 *                        segmentation offload
 */
void outbound_batch_clear(struct outbound_batch *batch, size_t max_message_segments);

#endif
