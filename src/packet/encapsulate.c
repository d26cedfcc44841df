/* Encapsulation: see encapsulate.h for the theory of operation. */
#include "packet/encapsulate.h"

#include "packet/checksum.h"

#include <netinet/in.h>

/* Rule T7: whether the kernel answers for the TCP checksum. Of a super-packet it makes those of the
 * segments itself, whatever is in the field (tcp4_gso_segment(), Linux net/ipv4/tcp_offload.c). */
static bool is_vouched_for(const struct virtio_net_hdr *vnet)
{
	return (vnet->flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) != 0 ||
	       vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

static bool has_right_checksum(const struct tunnel_packet *packet)
{
	const uint8_t *ip = packet->ip;
	uint32_t length = packet->length - IPV4_HEADER_SIZE;
	uint64_t sum = checksum_tcp_pseudo_header(load_u32(ip + IPV4_SOURCE),
						  load_u32(ip + IPV4_DESTINATION), length);

	return checksum_fold(checksum_add(sum, ip + IPV4_HEADER_SIZE, length)) == 0xffff;
}

/* The rest of rule T1, rule T7 and the description, for plain IPv4 that carries TCP. */
static enum packet_verdict parse_tcp(struct tunnel_packet *packet,
				     const struct virtio_net_hdr *vnet)
{
	const uint8_t *ip = packet->ip;
	const uint8_t *tcp = ip + IPV4_HEADER_SIZE;
	size_t header_size;

	if (packet->length < IPV4_HEADER_SIZE + TCP_MIN_HEADER_SIZE)
		return PACKET_HAS_BAD_LENGTH;
	header_size = tcp_header_length(tcp);
	if (header_size < TCP_MIN_HEADER_SIZE || IPV4_HEADER_SIZE + header_size > packet->length)
		return PACKET_HAS_BAD_TCP_HEADER;

	packet->source = ip_address_from_ipv4(load_u32(ip + IPV4_SOURCE));
	packet->destination = ip_address_from_ipv4(load_u32(ip + IPV4_DESTINATION));
	packet->tcp_header_size = (uint16_t)header_size;
	packet->data_length = packet->length - (uint32_t)(IPV4_HEADER_SIZE + header_size);
	packet->tcp_flags = tcp[TCP_FLAGS];
	packet->tos = ip[IPV4_TOS];
	packet->may_fragment = !(ip[IPV4_FRAGMENT] & IPV4_DONT_FRAGMENT >> 8);
	packet->segment_data = packet->data_length;
	packet->segments = 1;
	if (vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE && vnet->gso_size > 0 &&
	    packet->data_length > vnet->gso_size) {
		packet->segment_data = vnet->gso_size;
		packet->segments = (packet->data_length + vnet->gso_size - 1) / vnet->gso_size;
	}
	return is_vouched_for(vnet) || has_right_checksum(packet) ? PACKET_IS_TCP
								  : PACKET_HAS_BAD_CHECKSUM;
}

enum packet_verdict tunnel_packet_parse(uint8_t *bytes, size_t length, bool with_vnet_header,
					struct tunnel_packet *packet)
{
	struct virtio_net_hdr vnet = {.gso_type = VIRTIO_NET_HDR_GSO_NONE};

	if (with_vnet_header) {
		if (length < VNET_HEADER_SIZE)
			return PACKET_HAS_BAD_LENGTH;
		memcpy(&vnet, bytes, sizeof(vnet));
		bytes += VNET_HEADER_SIZE;
		length -= VNET_HEADER_SIZE;
	}
	if (length < 1 || bytes[IPV4_VERSION_IHL] >> 4 != 4)
		return PACKET_IS_NOT_IPV4;
	if (length < IPV4_HEADER_SIZE || load_be16(bytes + IPV4_TOTAL_LENGTH) != length ||
	    (bytes[IPV4_VERSION_IHL] & 0x0f) < 5)
		return PACKET_HAS_BAD_LENGTH;
	packet->ip = bytes;
	packet->length = (uint32_t)length;
	if (bytes[IPV4_PROTOCOL] != IPPROTO_TCP)
		return PACKET_IS_NOT_TCP;
	if (bytes[IPV4_VERSION_IHL] != 0x45)
		return PACKET_HAS_IP_OPTIONS;
	if (load_be16(bytes + IPV4_FRAGMENT) & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
		return PACKET_IS_FRAGMENT;
	return parse_tcp(packet, &vnet);
}

/* In one go, which takes half as long as field by field: there is nothing between the fields. */
static bool route_equal(const struct datagram_route *a, const struct datagram_route *b)
{
	enum { SIZE = offsetof(struct datagram_route, goes_singly) + sizeof(a->goes_singly) };

	_Static_assert(SIZE == sizeof(a->destination.address) + sizeof(a->destination.port) +
				       sizeof(a->source) + sizeof(a->tos) +
				       sizeof(a->may_fragment) + sizeof(a->goes_singly),
		       "a route has no padding between its fields");
	return memcmp(a, b, SIZE) == 0;
}

/* The message that takes a segment of `size` bytes, or NULL when there is no room for another one.
 */
static struct outbound_message *message_for(struct outbound_batch *batch, size_t size,
					    const struct datagram_route *route)
{
	struct outbound_message *message;

	if (batch->message_count > 0) {
		message = &batch->messages[batch->message_count - 1];
		if (!message->is_complete && size <= message->segment_size &&
		    message->segments < batch->max_message_segments &&
		    message->bytes + size <= UDP_MAX_PAYLOAD && route_equal(&message->route, route))
			return message;
	}
	if (batch->message_count == OUTBOUND_MAX_MESSAGES)
		return NULL;
	message = &batch->messages[batch->message_count++];
	message->route = *route;
	message->first_segment = (uint16_t)batch->segment_count;
	message->segments = 0;
	message->segment_size = (uint16_t)size;
	message->bytes = 0;
	message->is_complete = route->goes_singly;
	return message;
}

/* The header of segment `index`: in place for the first one, else a copy with its own sequence. */
static uint8_t *segment_header(struct outbound_batch *batch, const struct tunnel_packet *packet,
			       size_t index)
{
	uint8_t *tcp = packet->ip + IPV4_HEADER_SIZE;
	uint8_t *header = tcp;
	uint8_t flags = packet->tcp_flags;

	if (index > 0) {
		header = batch->headers[batch->segment_count];
		memcpy(header, tcp, packet->tcp_header_size);
		store_be32(header + TCP_SEQUENCE,
			   load_be32(tcp + TCP_SEQUENCE) + (uint32_t)index * packet->segment_data);
		flags &= (uint8_t)~TCP_CWR;
	}
	if (index + 1 < packet->segments)
		flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	header[TCP_FLAGS] = flags;
	return header;
}

static void append_segment(struct outbound_batch *batch, const struct tunnel_packet *packet,
			   size_t index, size_t data_length)
{
	uint8_t *header = segment_header(batch, packet, index);
	struct outbound_segment *segment = &batch->segments[batch->segment_count];
	struct iovec *iov = &batch->iov[batch->iov_count];

	segment->packet = packet->ip;
	iov[0].iov_base = header;
	iov[0].iov_len = packet->tcp_header_size;
	if (index == 0) {
		iov[0].iov_len += data_length;
		batch->iov_count += 1;
	} else {
		iov[1].iov_base = packet->ip + IPV4_HEADER_SIZE + packet->tcp_header_size +
				  index * packet->segment_data;
		iov[1].iov_len = data_length;
		batch->iov_count += 2;
	}
	batch->segment_count++;
	batch->segments[batch->segment_count].first_iov = (uint16_t)batch->iov_count;
}

/* How many segments of one size, from `index` on, the message and the batch have room for. */
static size_t run_length(const struct outbound_batch *batch, const struct outbound_message *message,
			 const struct tunnel_packet *packet, size_t index)
{
	size_t size = tunnel_packet_segment_size(packet);
	size_t run = packet->data_length / packet->segment_data - index;

	if (run > batch->max_message_segments - message->segments)
		run = batch->max_message_segments - message->segments;
	if (run > (UDP_MAX_PAYLOAD - message->bytes) / size)
		run = (UDP_MAX_PAYLOAD - message->bytes) / size;
	if (run > OUTBOUND_MAX_SEGMENTS - batch->segment_count)
		run = OUTBOUND_MAX_SEGMENTS - batch->segment_count;
	return run > 0 ? run : 1; /* a segment that no message could hold has one of its own */
}

size_t encapsulate(struct outbound_batch *batch, const struct tunnel_packet *packet, size_t first,
		   const struct datagram_route *route)
{
	size_t index = first;

	while (index < packet->segments && batch->segment_count < OUTBOUND_MAX_SEGMENTS) {
		bool is_last = index + 1 == packet->segments;
		size_t data_length = is_last ? packet->data_length - index * packet->segment_data
					     : packet->segment_data;
		size_t size = packet->tcp_header_size + data_length;
		struct outbound_message *message = message_for(batch, size, route);
		size_t run = 1;

		if (message == NULL)
			break;
		if (size < message->segment_size)
			message->is_complete = true;
		if (!is_last && !message->is_complete)
			run = run_length(batch, message, packet, index);
		for (size_t i = 0; i < run; i++)
			append_segment(batch, packet, index++, data_length);
		message->segments = (uint16_t)(message->segments + run);
		message->bytes += (uint32_t)(run * size);
	}
	return index - first;
}
