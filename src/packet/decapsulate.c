/* Decapsulation: see decapsulate.h for the theory of operation. */
#include "packet/decapsulate.h"

#include "packet/checksum.h"

#include <netinet/in.h>

enum {
	DEFAULT_TTL = 64,
	IP_AT = VNET_HEADER_SIZE,
	TCP_AT = VNET_HEADER_SIZE + IPV4_HEADER_SIZE,
};

enum payload_kind payload_classify(const uint8_t *payload, size_t length)
{
	size_t header_length;

	if (length == 0)
		return PAYLOAD_IS_KEEPALIVE;
	if (length < TCP_MIN_HEADER_SIZE)
		return PAYLOAD_IS_MALFORMED;
	header_length = tcp_header_length(payload);
	if (header_length < TCP_MIN_HEADER_SIZE)
		return PAYLOAD_IS_CONTROL;
	if (header_length > length)
		return PAYLOAD_IS_MALFORMED;
	return PAYLOAD_IS_TCP;
}

/* Every origin gets a new number; no packet grows any more, as its number is another one's now. */
static void forget_origins(struct inbound_batch *batch)
{
	batch->origin_count = 0;
	memset(batch->numbers, 0, sizeof(batch->numbers));
	memset(batch->flows, 0, sizeof(batch->flows));
}

void inbound_batch_init(struct inbound_batch *batch, bool with_vnet_header)
{
	batch->with_vnet_header = with_vnet_header;
	batch->is_coalescing = with_vnet_header;
	forget_origins(batch);
	inbound_batch_clear(batch);
}

void inbound_batch_clear(struct inbound_batch *batch)
{
	batch->packet_count = 0;
	batch->segment_count = 0;
	memset(batch->flows, 0, sizeof(batch->flows));
}

void inbound_batch_coalesce(struct inbound_batch *batch, bool is_coalescing)
{
	batch->is_coalescing = is_coalescing && batch->with_vnet_header;
}

/* Multiplicative hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): the top
 * bits are the ones to use. */
static uint32_t mix(uint32_t word)
{
	return word * 0x9e3779b1u;
}

static uint32_t hash_of_flow(const struct inbound_origin *origin)
{
	return mix(ip_address_last_bits(&origin->source) ^ origin->udp_port);
}

static size_t origin_slot(uint32_t flow_hash, uint8_t tos)
{
	return (flow_hash + mix(tos)) >> 24;
}

static size_t flow_slot(const uint8_t *tcp, uint32_t flow_hash)
{
	return mix(load_u32(tcp + TCP_PORTS) ^ flow_hash) >> 26;
}

_Static_assert(INBOUND_ORIGIN_SLOTS == 1 << (32 - 24), "origin_slot() keeps the top eight bits");
_Static_assert(INBOUND_FLOW_SLOTS == 1 << (32 - 26), "flow_slot() keeps the top six bits");
_Static_assert(INBOUND_MAX_ORIGINS < UINT8_MAX, "a number plus 1 fits `numbers`");

static bool origin_equal(const struct inbound_origin *a, const struct inbound_origin *b)
{
	return ip_address_equal(&a->source, &b->source) &&
	       ip_address_equal(&a->destination, &b->destination) && a->udp_port == b->udp_port &&
	       a->tos == b->tos;
}

/* Rule R4 and R6, but for total length and checksum. */
static void build_ipv4_header(struct inbound_numbered_origin *numbered)
{
	const struct inbound_origin *origin = &numbered->origin;
	uint8_t *ip = numbered->ipv4_header;

	memset(ip, 0, IPV4_HEADER_SIZE);
	ip[IPV4_VERSION_IHL] = 0x45;
	ip[IPV4_TOS] = origin->tos;
	store_be16(ip + IPV4_FRAGMENT, IPV4_DONT_FRAGMENT);
	ip[IPV4_TTL] = DEFAULT_TTL;
	ip[IPV4_PROTOCOL] = IPPROTO_TCP;
	store_u32(ip + IPV4_SOURCE, ip_address_ipv4(&origin->source));
	store_u32(ip + IPV4_DESTINATION, ip_address_ipv4(&origin->destination));
}

size_t inbound_batch_origin(struct inbound_batch *batch, const struct inbound_origin *origin)
{
	uint32_t flow_hash = hash_of_flow(origin);
	size_t slot = origin_slot(flow_hash, origin->tos);
	size_t number = batch->numbers[slot];
	struct inbound_numbered_origin *numbered;

	if (number > 0 && origin_equal(&batch->origins[number - 1].origin, origin))
		return number - 1;
	if (batch->origin_count == INBOUND_MAX_ORIGINS)
		forget_origins(batch);
	number = batch->origin_count++;
	batch->numbers[slot] = (uint8_t)(number + 1);
	numbered = &batch->origins[number];
	numbered->origin = *origin;
	numbered->flow_hash = flow_hash;
	build_ipv4_header(numbered);
	return number;
}

static bool same_flow(const struct inbound_packet *packet, const uint8_t *tcp, size_t origin)
{
	return load_u32(packet->header + TCP_AT + TCP_PORTS) == load_u32(tcp + TCP_PORTS) &&
	       packet->origin == origin;
}

/* Options are whole words; most are three, which a call of memcmp() takes longer for. */
static bool same_options(const uint8_t *tcp, const uint8_t *head, size_t header_size)
{
	for (size_t at = TCP_OPTIONS; at < header_size; at += 4) {
		if (load_u32(tcp + at) != load_u32(head + at))
			return false;
	}
	return true;
}

/* Header length, reserved bits, flags and window lie in one word. FIN and PSH may come with the
 * last segment, CWR with the first. */
static bool same_control(const uint8_t *tcp, const uint8_t *head)
{
	static const uint8_t compared[] = {0xff, (uint8_t) ~(TCP_FIN | TCP_PSH | TCP_CWR), 0xff,
					   0xff};

	return ((load_u32(tcp + TCP_DATA_OFFSET) ^ load_u32(head + TCP_DATA_OFFSET)) &
		load_u32(compared)) == 0;
}

/* The conditions of tcp_gro_receive() for a segment to join a packet of its flow. */
static bool may_join(const struct inbound_packet *packet, const uint8_t *tcp, size_t data_length)
{
	const uint8_t *head = packet->header + TCP_AT;

	if (!packet->is_open || packet->segments == INBOUND_MAX_COALESCED)
		return false;
	if (data_length == 0 || data_length > packet->segment_data)
		return false;
	if (tcp[TCP_FLAGS] & TCP_CWR)
		return false;
	if (!same_control(tcp, head) ||
	    load_u32(tcp + TCP_ACKNOWLEDGMENT) != load_u32(head + TCP_ACKNOWLEDGMENT) ||
	    !same_options(tcp, head, packet->tcp_header_size))
		return false;
	if (load_be32(tcp + TCP_SEQUENCE) != packet->next_sequence)
		return false;
	return IPV4_HEADER_SIZE + packet->tcp_header_size + packet->data_length + data_length <=
	       IPV4_MAX_TOTAL_LENGTH;
}

/* A packet that got this segment last may take another one behind it. */
static bool stays_open(const struct inbound_packet *packet, uint8_t flags, size_t data_length)
{
	const uint8_t closing = TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_URG;

	return data_length == packet->segment_data && data_length > 0 && !(flags & closing);
}

static uint16_t add_data(struct inbound_batch *batch, const uint8_t *data, size_t length)
{
	uint16_t index = (uint16_t)batch->segment_count++;

	batch->segments[index].data = data;
	batch->segments[index].length = (uint16_t)length;
	return index;
}

static void join(struct inbound_batch *batch, struct inbound_packet *packet, const uint8_t *tcp,
		 size_t data_length)
{
	uint16_t index = add_data(batch, tcp + packet->tcp_header_size, data_length);

	batch->segments[packet->last_segment].next = index;
	packet->last_segment = index;
	packet->segments++;
	packet->data_length += (uint32_t)data_length;
	packet->next_sequence += (uint32_t)data_length;
	packet->header[TCP_AT + TCP_FLAGS] |= tcp[TCP_FLAGS] & (TCP_FIN | TCP_PSH);
	packet->is_open = stays_open(packet, tcp[TCP_FLAGS], data_length);
}

static void begin(struct inbound_batch *batch, struct inbound_packet *packet, const uint8_t *tcp,
		  size_t data_length, size_t origin)
{
	const struct inbound_numbered_origin *numbered = &batch->origins[origin];

	packet->origin = (uint16_t)origin;
	memcpy(packet->header + IP_AT, numbered->ipv4_header, IPV4_HEADER_SIZE);
	packet->tcp_header_size = (uint16_t)tcp_header_length(tcp);
	packet->segment_data = (uint16_t)data_length;
	packet->data_length = (uint32_t)data_length;
	packet->segments = 1;
	packet->first_segment = add_data(batch, tcp + packet->tcp_header_size, data_length);
	packet->last_segment = packet->first_segment;
	packet->next_sequence = load_be32(tcp + TCP_SEQUENCE) + (uint32_t)data_length;
	packet->is_open = batch->is_coalescing && stays_open(packet, tcp[TCP_FLAGS], data_length);
	memcpy(packet->header + TCP_AT, tcp, packet->tcp_header_size);
}

bool decapsulate(struct inbound_batch *batch, const uint8_t *payload, size_t length, size_t origin)
{
	size_t slot = flow_slot(payload, batch->origins[origin].flow_hash);
	size_t data_length = length - tcp_header_length(payload);
	size_t newest = batch->flows[slot];

	if (batch->segment_count == INBOUND_MAX_SEGMENTS)
		return false;
	if (newest > 0) {
		struct inbound_packet *packet = &batch->packets[newest - 1];

		if (same_flow(packet, payload, origin) && may_join(packet, payload, data_length)) {
			join(batch, packet, payload, data_length);
			return true;
		}
	}
	if (batch->packet_count == INBOUND_MAX_PACKETS)
		return false;
	begin(batch, &batch->packets[batch->packet_count], payload, data_length, origin);
	batch->packet_count++;
	batch->flows[slot] = (uint16_t)batch->packet_count;
	return true;
}

/* @length: of the TCP header and its data, bytes */
static void complete_ipv4_header(uint8_t *header, size_t length)
{
	uint8_t *ip = header + IP_AT;
	uint64_t sum = 0;

	store_be16(ip + IPV4_TOTAL_LENGTH, (uint16_t)(IPV4_HEADER_SIZE + length));
	store_u16(ip + IPV4_CHECKSUM, 0);
	for (size_t at = 0; at < IPV4_HEADER_SIZE; at += sizeof(uint32_t))
		sum += load_u32(ip + at);
	store_u16(ip + IPV4_CHECKSUM, (uint16_t)~checksum_fold(sum));
}

/* The kernel completes the checksum: it starts from the pseudo-header's sum (virtio 1.2, 5.1.6).
 * @gso_size: data in each segment, 0: there is one */
static void build_vnet_header(uint8_t *header, size_t tcp_header_size, uint16_t gso_size)
{
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_NONE,
		.hdr_len = (uint16_t)(IPV4_HEADER_SIZE + tcp_header_size),
		.csum_start = IPV4_HEADER_SIZE,
		.csum_offset = TCP_CHECKSUM,
	};

	if (gso_size > 0) {
		vnet.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		vnet.gso_size = gso_size;
		if (header[TCP_AT + TCP_FLAGS] & TCP_CWR)
			vnet.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	}
	memcpy(header, &vnet, sizeof(vnet));
}

/* @length: of the TCP header and its data, bytes */
static uint64_t pseudo_header_sum(const uint8_t *header, size_t length)
{
	return checksum_tcp_pseudo_header(load_u32(header + IP_AT + IPV4_SOURCE),
					  load_u32(header + IP_AT + IPV4_DESTINATION),
					  (uint32_t)length);
}

/* Over one segment; the field itself is zero. @sum: the pseudo-header's */
static uint16_t full_checksum(const uint8_t *header, size_t tcp_header_size,
			      const struct inbound_segment *segment, uint64_t sum)
{
	sum = checksum_add(sum, header + TCP_AT, tcp_header_size);
	return (uint16_t)~checksum_fold(checksum_add(sum, segment->data, segment->length));
}

/* An iovec has no const, though writev() only reads. */
static void *without_const(const uint8_t *data)
{
	union {
		const uint8_t *from;
		void *to;
	} pointer = {.from = data};

	return pointer.to;
}

size_t inbound_packet_finish(struct inbound_batch *batch, size_t index, struct iovec *iov)
{
	struct inbound_packet *packet = &batch->packets[index];
	uint8_t *check = packet->header + TCP_AT + TCP_CHECKSUM;
	size_t length = packet->tcp_header_size + packet->data_length;
	uint64_t pseudo = pseudo_header_sum(packet->header, length);
	size_t skipped = batch->with_vnet_header ? 0 : VNET_HEADER_SIZE;
	size_t segment = packet->first_segment;
	size_t count = 1;

	complete_ipv4_header(packet->header, length);
	store_u16(check, 0);
	if (batch->with_vnet_header) {
		build_vnet_header(packet->header, packet->tcp_header_size,
				  packet->segments > 1 ? packet->segment_data : 0);
		store_u16(check, checksum_fold(pseudo));
	} else {
		/* nothing is coalesced: the packet has one segment */
		store_u16(check, full_checksum(packet->header, packet->tcp_header_size,
					       &batch->segments[segment], pseudo));
	}
	iov[0].iov_base = packet->header + skipped;
	iov[0].iov_len = (size_t)TCP_AT + packet->tcp_header_size - skipped;
	if (packet->data_length == 0)
		return count;
	for (; count <= packet->segments; count++) {
		iov[count].iov_base = without_const(batch->segments[segment].data);
		iov[count].iov_len = batch->segments[segment].length;
		segment = batch->segments[segment].next;
	}
	return count;
}

void inbound_single_first(const struct inbound_batch *batch, size_t index,
			  struct inbound_single *single)
{
	single->nth = 0;
	single->segment = batch->packets[index].first_segment;
}

bool inbound_single_next(const struct inbound_batch *batch, size_t index,
			 struct inbound_single *single)
{
	if (single->nth + 1 >= batch->packets[index].segments)
		return false;
	single->nth++;
	single->segment = batch->segments[single->segment].next;
	return true;
}

/* What join() put together comes apart: FIN and PSH were the last segment's, CWR the first one's.
 */
static uint8_t single_flags(const struct inbound_packet *packet, size_t nth)
{
	uint8_t flags = packet->header[TCP_AT + TCP_FLAGS];

	if (nth + 1 < packet->segments)
		flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (nth > 0)
		flags &= (uint8_t)~TCP_CWR;
	return flags;
}

size_t inbound_single_finish(const struct inbound_batch *batch, size_t index,
			     struct inbound_single *single, bool with_checksum, struct iovec *iov)
{
	const struct inbound_packet *packet = &batch->packets[index];
	const struct inbound_segment *segment = &batch->segments[single->segment];
	size_t length = (size_t)packet->tcp_header_size + segment->length;
	uint8_t *header = single->header;
	uint8_t *tcp = header + TCP_AT;
	uint64_t pseudo;

	memcpy(header + IP_AT, packet->header + IP_AT, IPV4_HEADER_SIZE + packet->tcp_header_size);
	/* all segments but the last have the first one's size */
	store_be32(tcp + TCP_SEQUENCE,
		   load_be32(tcp + TCP_SEQUENCE) + (uint32_t)single->nth * packet->segment_data);
	tcp[TCP_FLAGS] = single_flags(packet, single->nth);
	complete_ipv4_header(header, length);
	pseudo = pseudo_header_sum(header, length);
	store_u16(tcp + TCP_CHECKSUM, 0);
	if (with_checksum) {
		memset(header, 0, VNET_HEADER_SIZE);
		store_u16(tcp + TCP_CHECKSUM,
			  full_checksum(header, packet->tcp_header_size, segment, pseudo));
	} else {
		build_vnet_header(header, packet->tcp_header_size, 0);
		store_u16(tcp + TCP_CHECKSUM, checksum_fold(pseudo));
	}
	iov[0].iov_base = header;
	iov[0].iov_len = (size_t)TCP_AT + packet->tcp_header_size;
	iov[1].iov_base = without_const(segment->data);
	iov[1].iov_len = segment->length;
	return segment->length > 0 ? 2 : 1;
}
