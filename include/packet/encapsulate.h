/*
 * Encapsulation: from packets of the tunnel interface to UDP messages. Pure functions on memory: no
 * descriptor, no clock, no allocation.
 *
 * Theory of operation. The kernel hands over TCP super-packets of up to 64 KiB. Each is cut into
 * segments as tcp_gso_segment() (Linux net/ipv4/tcp_offload.c) would cut it: the same header with
 * its own sequence number, FIN and PSH on the last only, CWR on the first only. The first segment
 * is sent from where it lies; every other one is a copied header followed by its data in place, so
 * that no data moves in user space. Segments of one size to one peer share a message, which the
 * kernel cuts into datagrams again (UDP_SEGMENT, Linux net/ipv4/udp_offload.c): consecutive
 * segments of a super-packet as well as runs of small packets. Only a message's last datagram may
 * be shorter. The order of segments is never changed.
 *
 * The far end makes the TCP checksum anew (rule W5), so a segment that was damaged before it came
 * to this machine would come out right. The virtio_net header says what the kernel knows of a
 * checksum: it has yet to be completed (NEEDS_CSUM), so the segment is this machine's own, or comes
 * from a neighbour in memory, or was put together of others that were right (a super-packet always
 * is one of these); or somebody has verified it (DATA_VALID). Any other is verified here. Without a
 * virtio_net header the kernel completes checksums and says nothing, so all are.
 *
 * A batch refers to the packets' memory, which must stay as it is until the batch was sent.
 */
#ifndef UDP_ENCAP_TUN_ENCAPSULATE_H
#define UDP_ENCAP_TUN_ENCAPSULATE_H

#include "packet/batch.h"
#include "packet/headers.h"
#include "packet/vnet_header.h"

/** What a packet read from the tunnel interface is (rules T1 and T7). */
enum packet_verdict {
	PACKET_IS_TCP,
	PACKET_IS_NOT_IPV4,
	PACKET_IS_NOT_TCP, /* well-formed IPv4 of another protocol */
	PACKET_HAS_IP_OPTIONS,
	PACKET_IS_FRAGMENT,
	PACKET_HAS_BAD_LENGTH,
	PACKET_HAS_BAD_TCP_HEADER,
	PACKET_HAS_BAD_CHECKSUM, /* of TCP */
};

/** An accepted packet: one TCP segment or a super-packet of several. */
struct tunnel_packet {
	uint8_t *ip; /* the IP header, the TCP header right behind it */
	struct ip_address source;
	struct ip_address destination;
	uint32_t length;          /* from the IP header on, bytes */
	uint32_t data_length;     /* TCP data in all, bytes */
	uint32_t segment_data;    /* TCP data in each segment but the last, bytes */
	uint32_t segments;        /* at least 1 */
	uint16_t tcp_header_size; /* bytes */
	uint8_t tcp_flags;        /* of the whole packet */
	uint8_t tos;
	bool may_fragment; /* it came without DF */
};

_Static_assert(sizeof(struct tunnel_packet) <= 64, "a packet's description fits a cache line");

/**
 * Checks a packet against rules T1 and T7.
 * @bytes: what was read from the tunnel interface; must be writable
 * @length: how many bytes were
 * @with_vnet_header: a virtio_net header comes first; without one a packet is one segment
 * @packet: filled when PACKET_IS_TCP is returned; `ip` and `length` also with PACKET_IS_NOT_TCP
 */
enum packet_verdict tunnel_packet_parse(uint8_t *bytes, size_t length, bool with_vnet_header,
					struct tunnel_packet *packet);

/** True when both ends of the connection understand a congestion mark (ECN, RFC 3168). */
static inline bool tunnel_packet_knows_ecn(const struct tunnel_packet *packet)
{
	return (packet->tos & IPV4_ECN) != 0;
}

/** UDP payload of a packet's largest segment, bytes. */
static inline size_t tunnel_packet_segment_size(const struct tunnel_packet *packet)
{
	return packet->tcp_header_size + (size_t)packet->segment_data;
}

/** The IP packet around a datagram, for a path's MTU. @payload: of UDP, bytes */
static inline size_t outbound_outer_size(size_t payload)
{
	return payload + IPV4_HEADER_SIZE + UDP_HEADER_SIZE;
}

/** The packet of the tunnel interface that a datagram is made of. @payload: of UDP, bytes */
static inline size_t outbound_inner_size(size_t payload)
{
	return payload + IPV4_HEADER_SIZE;
}

/** The MTU that a packet's sender has to be told of. @path_mtu: towards the peer, bytes */
static inline uint32_t outbound_inner_mtu(uint32_t path_mtu)
{
	return path_mtu - UDP_HEADER_SIZE;
}

/**
 * Appends a packet's segments to a batch.
 * @first: the first segment to append, 0 on the first call for a packet
 * Returns how many were appended: fewer than asked for when the batch is full; it then has to be
 * sent and cleared before the rest goes in.
 */
size_t encapsulate(struct outbound_batch *batch, const struct tunnel_packet *packet, size_t first,
		   const struct datagram_route *route);

#endif
