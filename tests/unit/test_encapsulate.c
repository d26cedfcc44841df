/*
 * Encapsulation: which packets are accepted (rule T1), how a super-packet is cut into segments, and
 * which segments share a UDP message. Segments are compared with those of the slow segmentation.
 */
#include "packet/encapsulate.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Limits as the kernel has them, not as the header says. */
enum {
	LARGEST_UDP_PAYLOAD = 65535 - 20 - 8,
	LARGEST_TCP_DATA = 65535 - 20 - 20,
	KERNEL_MAX_SEGMENTS = 64,
};

static struct outbound_batch batch;
static uint8_t noise[65536];

static int start(void **state)
{
	struct dice dice = dice_for("noise");

	(void)state;
	dice_fill(&dice, noise, sizeof(noise));
	memset(&batch, 0xa5, sizeof(batch)); /* nothing may depend on what was there */
	outbound_batch_clear(&batch, KERNEL_MAX_SEGMENTS);
	return 0;
}

/* A packet as the tunnel interface hands it over, and what it should become. */
struct source_packet {
	uint8_t *read;  /* behind a virtio_net header */
	uint8_t *bytes; /* from the IPv4 header on */
	size_t length;  /* of that */
	struct tunnel_packet parsed;
	struct byte_strings segments;
	struct datagram_route route;
};

static struct datagram_route route_to(uint32_t ipv4, uint16_t port)
{
	return (struct datagram_route){.destination = peer_of(ipv4, port).remote};
}

static const struct datagram_route *any_route(void)
{
	static struct datagram_route route;

	route = route_to(0xc0000201, 12345);
	return &route;
}

static struct source_packet source_packet(const struct tcp_packet *fields, uint16_t gso_size,
					  const struct datagram_route *route)
{
	struct source_packet source = {.route = *route};

	size_t read_length;

	source.read = make_read_packet(fields, gso_size, &read_length);
	source.bytes = source.read + VNET_HEADER_SIZE;
	source.length = read_length - VNET_HEADER_SIZE;
	slow_segmentation(&source.segments, source.bytes + 20, source.length - 20, gso_size);
	assert_int_equal(tunnel_packet_parse(source.read, read_length, true, &source.parsed),
			 PACKET_IS_TCP);
	return source;
}

static void source_packet_free(struct source_packet *source)
{
	free(source->read);
	byte_strings_free(&source->segments);
}

/* A packet with that much data in all and in each segment. */
static struct source_packet sized_packet(struct dice *dice, size_t data_length, uint16_t gso_size,
					 const struct datagram_route *route)
{
	struct tcp_packet fields = random_tcp_packet(dice);

	fields.option_length = 0;
	fields.data = noise;
	fields.data_length = data_length;
	return source_packet(&fields, gso_size, route);
}

/* What the batch holds as segment `index`, put together. */
static uint8_t *segment_bytes(size_t index, size_t *length)
{
	size_t from = batch.segments[index].first_iov;
	size_t to = batch.segments[index + 1].first_iov;

	assert_true(from < to && to <= batch.iov_count);
	return gather(&batch.iov[from], to - from, length);
}

static void assert_segment(size_t index, const struct source_packet *source, size_t nth)
{
	size_t length;
	uint8_t *bytes = segment_bytes(index, &length);

	assert_same_segment(bytes, length, source->segments.items[nth],
			    source->segments.lengths[nth]);
	assert_ptr_equal(batch.segments[index].packet, source->bytes);
	free(bytes);
}

static bool same_route(const struct datagram_route *a, const struct datagram_route *b)
{
	return memcmp(a->destination.address.bytes, b->destination.address.bytes, 16) == 0 &&
	       a->destination.port == b->destination.port &&
	       memcmp(a->source.bytes, b->source.bytes, 16) == 0 && a->tos == b->tos &&
	       a->may_fragment == b->may_fragment;
}

static size_t segment_length(size_t index)
{
	size_t length = 0;

	for (size_t i = batch.segments[index].first_iov; i < batch.segments[index + 1].first_iov;
	     i++)
		length += batch.iov[i].iov_len;
	return length;
}

/*
 * The rules for every message of a batch: segments in order and without a gap; one size but for a
 * shorter last one, which is what UDP_SEGMENT cuts; and the limits of a message.
 */
static void assert_messages_are_well_formed(void)
{
	size_t segment = 0;

	assert_int_equal(batch.segments[0].first_iov, 0);
	for (size_t i = 0; i < batch.message_count; i++) {
		const struct outbound_message *message = &batch.messages[i];
		size_t bytes = 0;

		assert_int_equal(message->first_segment, segment);
		assert_in_range(message->segments, 1, batch.max_message_segments);
		for (size_t k = 0; k < message->segments; k++, segment++) {
			size_t length = segment_length(segment);

			bytes += length;
			if (k + 1 < message->segments || message->segments == 1)
				assert_int_equal(length, message->segment_size);
			else
				assert_in_range(length, 1, message->segment_size);
		}
		assert_int_equal(message->bytes, bytes);
		if (message->segments > 1)
			assert_in_range(bytes, 1, LARGEST_UDP_PAYLOAD);
	}
	assert_int_equal(segment, batch.segment_count);
	assert_int_equal(batch.segments[segment].first_iov, batch.iov_count);
}

/* Two neighbours stand apart only if the second could not have joined the first. */
static void assert_no_message_is_split_for_nothing(void)
{
	for (size_t i = 1; i < batch.message_count; i++) {
		const struct outbound_message *left = &batch.messages[i - 1];
		const struct outbound_message *right = &batch.messages[i];
		size_t last = segment_length((size_t)left->first_segment + left->segments - 1);
		size_t next = segment_length(right->first_segment);

		assert_true(right->route.goes_singly ||
			    left->segments == batch.max_message_segments ||
			    last < left->segment_size || next > left->segment_size ||
			    left->bytes + next > LARGEST_UDP_PAYLOAD ||
			    !same_route(&left->route, &right->route));
	}
}

static void assert_batch_is_well_formed(void)
{
	assert_messages_are_well_formed();
	assert_no_message_is_split_for_nothing();
}

static void encapsulate_all(struct source_packet *source)
{
	assert_int_equal(encapsulate(&batch, &source->parsed, 0, &source->route),
			 source->segments.count);
}

/* Rule T1 */

static enum packet_verdict verdict_behind(struct virtio_net_hdr vnet, const uint8_t *bytes,
					  size_t length)
{
	struct iovec pieces[] = {{.iov_base = &vnet, .iov_len = sizeof(vnet)},
				 {.iov_base = exact_copy(bytes, length), .iov_len = length}};
	size_t read_length;
	uint8_t *copy = gather(pieces, 2, &read_length);
	struct tunnel_packet packet;
	enum packet_verdict verdict = tunnel_packet_parse(copy, read_length, true, &packet);

	free(copy);
	free(pieces[1].iov_base);
	return verdict;
}

/* Its TCP checksum is the kernel's business. */
static enum packet_verdict verdict_of(const uint8_t *bytes, size_t length)
{
	return verdict_behind((struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM}, bytes,
			      length);
}

static uint32_t number_at(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void correct_tcp_checksum(uint8_t *bytes, size_t length)
{
	uint16_t sum;

	bytes[36] = bytes[37] = 0;
	sum = slow_tcp_sum(number_at(bytes + 12), number_at(bytes + 16), bytes + 20, length - 20);
	bytes[36] = (uint8_t)((0xffff - sum) >> 8);
	bytes[37] = (uint8_t)(0xffff - sum);
}

static uint8_t *valid_packet(const char *test, size_t *length)
{
	struct dice dice = dice_for(test);
	struct tcp_packet fields = random_tcp_packet(&dice);
	uint8_t *bytes;

	fields.option_length = 12;
	fields.data = noise;
	fields.data_length = 100;
	bytes = make_ipv4(&fields, length);
	correct_tcp_checksum(bytes, *length);
	return bytes;
}

static void t1_accepts_tcp(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct tcp_packet fields = random_tcp_packet(&dice);
		struct tunnel_packet packet;
		uint8_t *bytes;
		size_t length;

		fields.flags = (uint8_t)dice_roll(&dice);
		fields.fragment = dice_once_in(&dice, 2) ? 0x4000 : 0;
		fields.data = noise;
		fields.data_length = dice_below(&dice, 3000);
		bytes = make_ipv4(&fields, &length);
		correct_tcp_checksum(bytes, length);
		assert_int_equal(tunnel_packet_parse(bytes, length, false, &packet), PACKET_IS_TCP);
		assert_ptr_equal(packet.ip, bytes);
		assert_int_equal(packet.tcp_header_size, 20 + fields.option_length);
		assert_int_equal(packet.data_length, fields.data_length);
		assert_int_equal(packet.segment_data, fields.data_length);
		assert_int_equal(packet.segments, 1);
		assert_int_equal(packet.tcp_flags, fields.flags);
		assert_int_equal(packet.tos, fields.tos);
		assert_int_equal(tunnel_packet_knows_ecn(&packet), fields.tos % 4 != 0);
		assert_int_equal(packet.length, length);
		assert_int_equal(ip_address_last_bits(&packet.destination), fields.destination);
		assert_true(ip_address_is_ipv4(&packet.destination));
		assert_int_equal(ip_address_last_bits(&packet.source), fields.source);
		assert_true(ip_address_is_ipv4(&packet.source));
		assert_int_equal(tunnel_packet_segment_size(&packet), length - 20);
		free(bytes);
	}
}

/* Rule T7 */

/* As one without a virtio_net header too, where nobody vouches for anything. */
static enum packet_verdict verdict_of_unvouched(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = exact_copy(bytes, length);
	enum packet_verdict bare = tunnel_packet_parse(copy, length, false,
						       &(struct tunnel_packet){.ip = NULL});

	free(copy);
	assert_int_equal(verdict_behind((struct virtio_net_hdr){.flags = 0}, bytes, length), bare);
	return bare;
}

/* Any bit of what the checksum covers: addresses, TCP header, options, data. */
static void t7_one_wrong_bit(void **state)
{
	size_t length;
	uint8_t *bytes = valid_packet(__func__, &length);

	(void)state;
	assert_int_equal(verdict_of_unvouched(bytes, length), PACKET_IS_TCP);
	for (size_t bit = (size_t)12 * 8; bit < length * 8; bit++) {
		uint8_t wrong = (uint8_t)(1 << bit % 8);

		/* the data offset has a verdict of its own */
		if (bit / 8 == 32 && wrong >= 0x10)
			continue;
		bytes[bit / 8] ^= wrong;
		assert_int_equal(verdict_of_unvouched(bytes, length), PACKET_HAS_BAD_CHECKSUM);
		bytes[bit / 8] ^= wrong;
	}
	assert_int_equal(verdict_of_unvouched(bytes, length), PACKET_IS_TCP);
	free(bytes);
}

/* A right one is never discarded, whatever its length. */
static void t7_any_length(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (size_t data_length = 0; data_length <= 65535 - 80;
	     data_length += data_length < 3000 ? 1 : dice_between(&dice, 1, 4000)) {
		struct tcp_packet fields = random_tcp_packet(&dice);
		size_t length;
		uint8_t *bytes;

		fields.data = noise;
		fields.data_length = data_length;
		bytes = make_ipv4(&fields, &length);
		correct_tcp_checksum(bytes, length);
		assert_int_equal(verdict_of_unvouched(bytes, length), PACKET_IS_TCP);
		bytes[length - 1] ^= 0x81;
		assert_int_equal(verdict_of_unvouched(bytes, length), PACKET_HAS_BAD_CHECKSUM);
		free(bytes);
	}
}

/* The field of a checksum that has yet to be completed holds something else. */
static void t7_what_the_kernel_vouches_for(void **state)
{
	static const struct virtio_net_hdr vouched[] = {
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 16},
		{.flags = VIRTIO_NET_HDR_F_DATA_VALID},
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID},
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		 .gso_size = 50},
		/* the kernel makes the segments' checksums without a look at this one */
		{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 50},
	};
	size_t length;
	uint8_t *bytes = valid_packet(__func__, &length);

	(void)state;
	bytes[length - 1] ^= 1;
	assert_int_equal(verdict_of_unvouched(bytes, length), PACKET_HAS_BAD_CHECKSUM);
	for (size_t i = 0; i < sizeof(vouched) / sizeof(vouched[0]); i++)
		assert_int_equal(verdict_behind(vouched[i], bytes, length), PACKET_IS_TCP);
	/* that RSC was counted is no word about a checksum */
	assert_int_equal(verdict_behind((struct virtio_net_hdr){.flags = 0xfc}, bytes, length),
			 PACKET_HAS_BAD_CHECKSUM);
	free(bytes);
}

/* What T1 says is about what is behind the virtio_net header. */
static void the_vnet_header_comes_first(void **state)
{
	struct dice dice = dice_for(__func__);
	struct tcp_packet fields = random_tcp_packet(&dice);
	struct tunnel_packet packet;
	size_t length;
	uint8_t *bytes;

	(void)state;
	fields.data = noise;
	fields.data_length = 1000;
	bytes = make_read_packet(&fields, 400, &length);
	assert_int_equal(tunnel_packet_parse(bytes, length, true, &packet), PACKET_IS_TCP);
	assert_ptr_equal(packet.ip, bytes + VNET_HEADER_SIZE);
	assert_int_equal(packet.length, length - VNET_HEADER_SIZE);
	assert_int_equal(packet.segments, 3);
	assert_int_equal(packet.segment_data, 400);
	assert_int_equal(packet.may_fragment,
			 !(bytes[VNET_HEADER_SIZE + IPV4_FRAGMENT] & IPV4_DONT_FRAGMENT >> 8));
	bytes[VNET_HEADER_SIZE + IPV4_FRAGMENT] ^= IPV4_DONT_FRAGMENT >> 8;
	assert_int_equal(tunnel_packet_parse(bytes, length, true, &packet), PACKET_IS_TCP);
	assert_int_equal(packet.may_fragment,
			 !(bytes[VNET_HEADER_SIZE + IPV4_FRAGMENT] & IPV4_DONT_FRAGMENT >> 8));
	/* a size without a type says nothing */
	bytes[offsetof(struct virtio_net_hdr, gso_type)] = VIRTIO_NET_HDR_GSO_NONE;
	assert_int_equal(tunnel_packet_parse(bytes, length, true, &packet), PACKET_IS_TCP);
	assert_int_equal(packet.segments, 1);
	/* a ping, whose sender is told */
	bytes[VNET_HEADER_SIZE + 9] = 1;
	memset(&packet, 0xa5, sizeof(packet));
	assert_int_equal(tunnel_packet_parse(bytes, length, true, &packet), PACKET_IS_NOT_TCP);
	assert_ptr_equal(packet.ip, bytes + VNET_HEADER_SIZE);
	assert_int_equal(packet.length, length - VNET_HEADER_SIZE);
	free(bytes);
}

static void a_vnet_header_cut_short(void **state)
{
	static const uint8_t nothing[VNET_HEADER_SIZE];

	(void)state;
	for (size_t length = 0; length <= VNET_HEADER_SIZE; length++) {
		uint8_t *bytes = exact_copy(nothing, length);
		struct tunnel_packet packet;

		assert_int_equal(tunnel_packet_parse(bytes, length, true, &packet),
				 length < VNET_HEADER_SIZE ? PACKET_HAS_BAD_LENGTH
							   : PACKET_IS_NOT_IPV4);
		free(bytes);
	}
}

static void t1_version(void **state)
{
	size_t length;
	uint8_t *bytes = valid_packet(__func__, &length);

	(void)state;
	for (unsigned version = 0; version < 16; version++) {
		bytes[0] = (uint8_t)(version << 4 | 5);
		assert_int_equal(verdict_of(bytes, length),
				 version == 4 ? PACKET_IS_TCP : PACKET_IS_NOT_IPV4);
	}
	/* nothing: not even the first byte may be looked at */
	assert_int_equal(
		tunnel_packet_parse(bytes + length, 0, false, &(struct tunnel_packet){.ip = NULL}),
		PACKET_IS_NOT_IPV4);
	free(bytes);
}

static void t1_header_length(void **state)
{
	size_t length;
	uint8_t *bytes = valid_packet(__func__, &length);

	(void)state;
	for (unsigned words = 0; words < 16; words++) {
		enum packet_verdict expected = PACKET_HAS_IP_OPTIONS;

		if (words < 5)
			expected = PACKET_HAS_BAD_LENGTH;
		if (words == 5)
			expected = PACKET_IS_TCP;
		bytes[0] = (uint8_t)(0x40 | words);
		assert_int_equal(verdict_of(bytes, length), expected);
	}
	free(bytes);
}

static void t1_protocol(void **state)
{
	size_t length;
	uint8_t *bytes = valid_packet(__func__, &length);

	(void)state;
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		bytes[9] = (uint8_t)protocol;
		assert_int_equal(verdict_of(bytes, length),
				 protocol == 6 ? PACKET_IS_TCP : PACKET_IS_NOT_TCP);
	}
	/* a ping, the smallest of its kind */
	bytes[3] = 28;
	bytes[9] = 1;
	assert_int_equal(verdict_of(bytes, 28), PACKET_IS_NOT_TCP);
	free(bytes);
}

static void t1_fragments(void **state)
{
	size_t length;
	uint8_t *bytes = valid_packet(__func__, &length);

	(void)state;
	for (unsigned field = 0; field < 65536; field++) {
		/* more fragments, or an offset */
		bool is_fragment = (field & 0x2000) != 0 || field % 0x2000 != 0;

		bytes[6] = (uint8_t)(field >> 8);
		bytes[7] = (uint8_t)field;
		/* not through exact_copy(): 65,536 times */
		assert_int_equal(tunnel_packet_parse(bytes, length, false,
						     &(struct tunnel_packet){.ip = NULL}),
				 is_fragment ? PACKET_IS_FRAGMENT : PACKET_IS_TCP);
	}
	free(bytes);
}

static void t1_packets_cut_short_or_padded(void **state)
{
	size_t length;
	uint8_t *bytes = valid_packet(__func__, &length);
	uint8_t *padded = calloc(1, length + 50);

	(void)state;
	assert_non_null(padded);
	memcpy(padded, bytes, length);
	for (size_t cut = 1; cut < length + 50; cut++)
		assert_int_equal(verdict_of(padded, cut),
				 cut == length ? PACKET_IS_TCP : PACKET_HAS_BAD_LENGTH);
	free(padded);
	free(bytes);
}

/* Shorter than an IPv4 header, though the length is the one that it states, whatever it carries. */
static void t1_headers_cut_short(void **state)
{
	size_t valid_length;
	uint8_t *bytes = valid_packet(__func__, &valid_length);

	(void)state;
	for (size_t length = 1; length < 20; length++) {
		bytes[3] = (uint8_t)length;
		bytes[9] = 6;
		assert_int_equal(verdict_of(bytes, length), PACKET_HAS_BAD_LENGTH);
		bytes[9] = 17;
		assert_int_equal(verdict_of(bytes, length), PACKET_HAS_BAD_LENGTH);
	}
	free(bytes);
}

static void t1_total_length(void **state)
{
	size_t length;
	uint8_t *bytes = valid_packet(__func__, &length);

	(void)state;
	for (unsigned total = 0; total < 65536; total++) {
		bytes[2] = (uint8_t)(total >> 8);
		bytes[3] = (uint8_t)total;
		assert_int_equal(tunnel_packet_parse(bytes, length, false,
						     &(struct tunnel_packet){.ip = NULL}),
				 total == length ? PACKET_IS_TCP : PACKET_HAS_BAD_LENGTH);
	}
	free(bytes);
}

static void t1_every_small_length_and_data_offset(void **state)
{
	size_t valid_length;
	uint8_t *bytes = valid_packet(__func__, &valid_length);

	(void)state;
	for (size_t tcp_length = 0; tcp_length <= 80; tcp_length++) {
		for (unsigned words = 0; words < 16; words++) {
			enum packet_verdict expected = PACKET_IS_TCP;

			bytes[3] = (uint8_t)(20 + tcp_length);
			bytes[20 + 12] = (uint8_t)(words << 4 | 0xf);
			if (words < 5 || (size_t)words * 4 > tcp_length)
				expected = PACKET_HAS_BAD_TCP_HEADER;
			if (tcp_length < 20)
				expected = PACKET_HAS_BAD_LENGTH;
			assert_int_equal(verdict_of(bytes, 20 + tcp_length), expected);
		}
	}
	free(bytes);
}

/* Whatever is read, only what obeys all of T1 is accepted, and nothing past its end is touched. */
static void t1_random_headers(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 100000; round++) {
		uint8_t bytes[100];
		size_t length = dice_below(&dice, sizeof(bytes));
		bool is_fine;

		dice_fill(&dice, bytes, sizeof(bytes));
		if (!dice_once_in(&dice, 8))
			bytes[0] = 0x45;
		if (!dice_once_in(&dice, 8)) {
			bytes[2] = 0;
			bytes[3] = (uint8_t)length;
		}
		if (!dice_once_in(&dice, 8))
			bytes[6] = bytes[7] = 0;
		if (!dice_once_in(&dice, 8))
			bytes[9] = 6;
		is_fine = length >= 40 && bytes[0] == 0x45 && bytes[2] == 0 && bytes[3] == length &&
			  bytes[6] % 0x40 == 0 && bytes[7] == 0 && bytes[9] == 6 &&
			  bytes[32] / 16 >= 5 && 20u + bytes[32] / 16 * 4u <= length;
		assert_int_equal(verdict_of(bytes, length) == PACKET_IS_TCP, is_fine);
	}
}

static void super_packets_have_as_many_segments_as_needed(void **state)
{
	static const struct {
		size_t data_length;
		uint16_t gso_size;
		uint32_t segments, segment_data;
	} cases[] = {
		{0, 0, 1, 0},          {0, 1448, 1, 0},          {1, 1448, 1, 1},
		{1447, 1448, 1, 1447}, {1448, 1448, 1, 1448},    {1449, 1448, 2, 1448},
		{2896, 1448, 2, 1448}, {2897, 1448, 3, 1448},    {100, 1, 100, 1},
		{65495, 1, 65495, 1},  {65495, 1448, 46, 1448},  {65495, 65494, 2, 65494},
		{65495, 0, 1, 65495},  {65495, 65535, 1, 65495},
	};
	struct dice dice = dice_for(__func__);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct source_packet source = sized_packet(&dice, cases[i].data_length,
							   cases[i].gso_size, any_route());

		assert_int_equal(source.parsed.segments, cases[i].segments);
		assert_int_equal(source.parsed.segment_data, cases[i].segment_data);
		assert_int_equal(source.segments.count, cases[i].segments);
		assert_int_equal(tunnel_packet_segment_size(&source.parsed),
				 20 + cases[i].segment_data);
		source_packet_free(&source);
	}
}

/* Segments */

static void a_plain_packet_is_one_segment(void **state)
{
	struct dice dice = dice_for(__func__);
	struct source_packet source = sized_packet(&dice, 1000, 0, any_route());

	(void)state;
	encapsulate_all(&source);
	assert_int_equal(batch.message_count, 1);
	assert_int_equal(batch.segment_count, 1);
	assert_int_equal(batch.iov_count, 1);
	/* sent from where it lies */
	assert_ptr_equal(batch.iov[0].iov_base, source.bytes + 20);
	assert_true(same_route(&batch.messages[0].route, any_route()));
	assert_segment(0, &source, 0);
	assert_batch_is_well_formed();
	source_packet_free(&source);
}

static void no_data_is_copied(void **state)
{
	struct dice dice = dice_for(__func__);
	struct source_packet source = sized_packet(&dice, 14480, 1448, any_route());

	(void)state;
	encapsulate_all(&source);
	assert_int_equal(batch.segment_count, 10);
	assert_ptr_equal(batch.iov[0].iov_base, source.bytes + 20);
	for (size_t i = 1; i < 10; i++) {
		const struct iovec *data = &batch.iov[batch.segments[i].first_iov + 1];

		assert_ptr_equal(data->iov_base, source.bytes + 40 + i * 1448);
	}
	source_packet_free(&source);
}

/* Every combination of flags, in super-packets of one to three segments. */
static void flags_of_segments(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		for (size_t segments = 1; segments <= 3; segments++) {
			struct tcp_packet fields = random_tcp_packet(&dice);
			struct source_packet source;

			fields.flags = (uint8_t)flags;
			fields.data = noise;
			fields.data_length = segments * 100;
			source = source_packet(&fields, 100, any_route());
			outbound_batch_clear(&batch, batch.max_message_segments);
			encapsulate_all(&source);
			for (size_t i = 0; i < segments; i++) {
				unsigned expected = flags;
				size_t length;
				uint8_t *bytes = segment_bytes(i, &length);

				if (i > 0)
					expected &= ~(unsigned)CWR;
				if (i + 1 < segments)
					expected &= ~(unsigned)(FIN | PSH);
				assert_int_equal(bytes[13], expected);
				free(bytes);
				assert_segment(i, &source, i);
			}
			source_packet_free(&source);
		}
	}
}

static void sequence_numbers_wrap(void **state)
{
	struct dice dice = dice_for(__func__);
	struct tcp_packet fields = random_tcp_packet(&dice);
	struct source_packet source;

	(void)state;
	fields.sequence = 0xffffff00;
	fields.data = noise;
	fields.data_length = 1000;
	source = source_packet(&fields, 100, any_route());
	encapsulate_all(&source);
	for (size_t i = 0; i < 10; i++) {
		size_t length;
		uint8_t *bytes = segment_bytes(i, &length);
		const uint32_t expected = 0xffffff00u + (uint32_t)i * 100;
		const uint8_t in_order[4] = {(uint8_t)(expected >> 24), (uint8_t)(expected >> 16),
					     (uint8_t)(expected >> 8), (uint8_t)expected};

		assert_memory_equal(bytes + 4, in_order, 4);
		free(bytes);
	}
	source_packet_free(&source);
}

/* Messages */

/* Puts packets of these sizes (TCP header and data) in one batch; 0 ends the list. */
static void send_sizes(struct dice *dice, const uint16_t *sizes)
{
	outbound_batch_clear(&batch, batch.max_message_segments);
	for (; *sizes != 0; sizes++) {
		struct source_packet source = sized_packet(dice, *sizes - 20u, 0, any_route());

		encapsulate_all(&source);
		source_packet_free(&source);
	}
	assert_messages_are_well_formed();
	assert_no_message_is_split_for_nothing();
}

static void assert_message_segments(const uint16_t *expected)
{
	size_t i;

	for (i = 0; expected[i] != 0; i++) {
		assert_true(i < batch.message_count);
		assert_int_equal(batch.messages[i].segments, expected[i]);
	}
	assert_int_equal(batch.message_count, i);
}

#define SIZES(...) ((const uint16_t[]){__VA_ARGS__, 0})

static void only_the_last_segment_of_a_message_is_shorter(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	send_sizes(&dice, SIZES(32, 32, 32, 32));
	assert_message_segments(SIZES(4));
	send_sizes(&dice, SIZES(52, 52, 32, 32, 32));
	assert_message_segments(SIZES(3, 2));
	send_sizes(&dice, SIZES(52, 32, 52, 32));
	assert_message_segments(SIZES(2, 2));
	send_sizes(&dice, SIZES(32, 52, 52));
	assert_message_segments(SIZES(1, 2));
	send_sizes(&dice, SIZES(21, 22, 23, 24));
	assert_message_segments(SIZES(1, 1, 1, 1));
	send_sizes(&dice, SIZES(24, 23, 22, 21));
	assert_message_segments(SIZES(2, 2));
	send_sizes(&dice, SIZES(40, 40, 39, 40, 40, 41));
	assert_message_segments(SIZES(3, 2, 1));
}

static void a_super_packet_and_what_follows_it(void **state)
{
	struct dice dice = dice_for(__func__);
	/* three whole segments: more of that size may follow in the same message */
	struct source_packet whole = sized_packet(&dice, 3000, 1000, any_route());
	struct source_packet plain = sized_packet(&dice, 1000, 0, any_route());
	/* its last segment is shorter: it ends the message */
	struct source_packet ragged = sized_packet(&dice, 2500, 1000, any_route());

	(void)state;
	encapsulate_all(&whole);
	encapsulate_all(&plain);
	encapsulate_all(&ragged);
	encapsulate_all(&plain);
	assert_message_segments(SIZES(7, 1));
	for (size_t i = 0; i < 3; i++)
		assert_segment(i, &whole, i);
	assert_segment(3, &plain, 0);
	for (size_t i = 0; i < 3; i++)
		assert_segment(4 + i, &ragged, i);
	assert_segment(7, &plain, 0);
	assert_batch_is_well_formed();
	source_packet_free(&whole);
	source_packet_free(&plain);
	source_packet_free(&ragged);
}

static void messages_have_one_route(void **state)
{
	struct dice dice = dice_for(__func__);
	const struct datagram_route base = {
		.destination = peer_of(0xc0000201, 12345).remote,
		.source = ipv4_address(0xc0000202),
		.tos = 0x28,
	};
	struct datagram_route routes[7];

	(void)state;
	for (size_t i = 0; i < 7; i++)
		routes[i] = base;
	routes[1].destination.address = ipv4_address(0xc0000203);
	routes[2].destination = peer_of(0xc0000201, 12346).remote;
	routes[3].source = ipv4_address(0xc0000204);
	routes[4].tos = 0x29;
	routes[5].destination.address.bytes[0] = 1; /* IPv6 is next */
	routes[6].may_fragment = true;
	for (size_t i = 1; i < 7; i++) {
		struct source_packet first = sized_packet(&dice, 100, 0, &base);
		struct source_packet second = sized_packet(&dice, 100, 0, &routes[i]);

		outbound_batch_clear(&batch, batch.max_message_segments);
		encapsulate_all(&first);
		encapsulate_all(&second);
		encapsulate_all(&second);
		encapsulate_all(&first);
		assert_message_segments(SIZES(1, 2, 1));
		assert_true(same_route(&batch.messages[0].route, &base));
		assert_true(same_route(&batch.messages[1].route, &routes[i]));
		assert_true(same_route(&batch.messages[2].route, &base));
		source_packet_free(&first);
		source_packet_free(&second);
	}
}

static void at_most_64_segments(void **state)
{
	struct dice dice = dice_for(__func__);
	struct source_packet source = sized_packet(&dice, 1500, 10, any_route());

	(void)state;
	encapsulate_all(&source);
	assert_message_segments(SIZES(64, 64, 22));
	assert_batch_is_well_formed();
	source_packet_free(&source);
}

/* 65,507 is 13 times 5,039: a message that is exactly full, and one that misses by a byte. */
static void at_most_65507_bytes(void **state)
{
	struct dice dice = dice_for(__func__);
	uint16_t sizes[28] = {0};

	(void)state;
	for (size_t i = 0; i < 27; i++)
		sizes[i] = 5039;
	send_sizes(&dice, sizes);
	assert_message_segments(SIZES(13, 13, 1));
	assert_int_equal(batch.messages[0].bytes, LARGEST_UDP_PAYLOAD);

	for (size_t i = 0; i < 27; i++)
		sizes[i] = 5040;
	send_sizes(&dice, sizes);
	assert_message_segments(SIZES(12, 12, 3));

	/* the shorter last one, exactly filling and one byte too long */
	send_sizes(&dice, SIZES(60000, 5507, 5507));
	assert_message_segments(SIZES(2, 1));
	send_sizes(&dice, SIZES(60000, 5508, 5507));
	assert_message_segments(SIZES(1, 2));
}

static void without_segmentation_offload(void **state)
{
	struct dice dice = dice_for(__func__);
	struct source_packet source = sized_packet(&dice, 10000, 1000, any_route());

	(void)state;
	outbound_batch_clear(&batch, 1);
	encapsulate_all(&source);
	assert_int_equal(batch.message_count, 10);
	for (size_t i = 0; i < 10; i++) {
		assert_int_equal(batch.messages[i].segments, 1);
		assert_segment(i, &source, i);
	}
	assert_batch_is_well_formed();
	source_packet_free(&source);
}

/* One peer's segments go singly, those around them as they did. */
static void a_route_on_which_segments_go_singly(void **state)
{
	struct dice dice = dice_for(__func__);
	const struct datagram_route usual = route_to(0xc0000201, 1);
	struct datagram_route singly = usual;
	struct source_packet whole = sized_packet(&dice, 3000, 1000, &usual);
	struct source_packet small = sized_packet(&dice, 0, 0, &usual);
	struct source_packet single = sized_packet(&dice, 2500, 1000, &singly);

	(void)state;
	singly.goes_singly = true;
	single.route = singly;
	small.route = singly;
	encapsulate_all(&whole);
	encapsulate_all(&single);
	encapsulate_all(&small);
	encapsulate_all(&small);
	encapsulate_all(&whole);
	assert_message_segments(SIZES(3, 1, 1, 1, 1, 1, 3));
	assert_segment(5, &single, 2);
	assert_batch_is_well_formed();
	source_packet_free(&whole);
	source_packet_free(&small);
	source_packet_free(&single);
}

/* Too large for any datagram, as an interface with an MTU of 65,535 lets it in: it stays alone. */
static void a_packet_too_large_for_udp_stands_alone(void **state)
{
	struct dice dice = dice_for(__func__);
	struct source_packet small = sized_packet(&dice, 0, 0, any_route());
	struct source_packet large = sized_packet(&dice, LARGEST_TCP_DATA, 0, any_route());

	(void)state;
	encapsulate_all(&small);
	encapsulate_all(&large);
	encapsulate_all(&small);
	assert_message_segments(SIZES(1, 1, 1));
	assert_int_equal(batch.messages[1].bytes, 65515);
	source_packet_free(&small);
	source_packet_free(&large);
}

/* Batches that are full */

static void a_batch_full_of_segments(void **state)
{
	struct dice dice = dice_for(__func__);
	struct source_packet source = sized_packet(&dice, 2000, 1, any_route());
	size_t done = 0;

	(void)state;
	while (done < 2000) {
		size_t added = encapsulate(&batch, &source.parsed, done, &source.route);
		size_t expected = 2000 - done < OUTBOUND_MAX_SEGMENTS ? 2000 - done
								      : OUTBOUND_MAX_SEGMENTS;

		assert_int_equal(added, expected);
		assert_int_equal(batch.segment_count, added);
		assert_batch_is_well_formed();
		for (size_t i = 0; i < added; i++)
			assert_segment(i, &source, done + i);
		done += added;
		if (done < 2000) {
			assert_int_equal(encapsulate(&batch, &source.parsed, done, &source.route),
					 0);
			assert_int_equal(batch.segment_count, added);
		}
		outbound_batch_clear(&batch, batch.max_message_segments);
		assert_int_equal(batch.message_count, 0);
		assert_int_equal(batch.segment_count, 0);
	}
	source_packet_free(&source);
}

static void a_batch_full_of_messages(void **state)
{
	struct dice dice = dice_for(__func__);
	struct source_packet source = sized_packet(&dice, 300, 1, any_route());

	(void)state;
	outbound_batch_clear(&batch, 1);
	assert_int_equal(encapsulate(&batch, &source.parsed, 0, &source.route),
			 OUTBOUND_MAX_MESSAGES);
	assert_int_equal(batch.message_count, OUTBOUND_MAX_MESSAGES);
	assert_batch_is_well_formed();
	assert_int_equal(encapsulate(&batch, &source.parsed, OUTBOUND_MAX_MESSAGES, &source.route),
			 0);
	assert_int_equal(batch.message_count, OUTBOUND_MAX_MESSAGES);
	assert_int_equal(batch.segment_count, OUTBOUND_MAX_MESSAGES);
	outbound_batch_clear(&batch, batch.max_message_segments);
	assert_int_equal(encapsulate(&batch, &source.parsed, OUTBOUND_MAX_MESSAGES, &source.route),
			 300 - OUTBOUND_MAX_MESSAGES);
	for (size_t i = 0; i < 300 - OUTBOUND_MAX_MESSAGES; i++)
		assert_segment(i, &source, OUTBOUND_MAX_MESSAGES + i);
	source_packet_free(&source);
}

/* The last message has room though no further one has: what fits in it still goes in. */
static void a_full_batch_still_fills_its_last_message(void **state)
{
	struct dice dice = dice_for(__func__);
	struct source_packet source = sized_packet(&dice, 10, 0, any_route());
	struct source_packet other = sized_packet(&dice, 11, 0, any_route());
	size_t messages = OUTBOUND_MAX_MESSAGES;

	(void)state;
	for (size_t i = 0; i < messages; i++) {
		source.route = route_to(0x0a000000 + (uint32_t)i, 1);
		encapsulate_all(&source);
	}
	assert_int_equal(batch.message_count, messages);
	encapsulate_all(&source);
	assert_int_equal(batch.message_count, messages);
	assert_int_equal(batch.messages[messages - 1].segments, 2);
	other.route = source.route;
	assert_int_equal(encapsulate(&batch, &other.parsed, 0, &other.route), 0);
	assert_int_equal(batch.segment_count, messages + 1);
	assert_batch_is_well_formed();
	source_packet_free(&source);
	source_packet_free(&other);
}

/* Random packets */

enum {
	RANDOM_PACKETS = 60,
};

static struct source_packet random_source(struct dice *dice)
{
	static const uint16_t usual_sizes[] = {1448, 1460, 1388, 536, 1, 20, 8948};
	struct tcp_packet fields = random_tcp_packet(dice);
	struct datagram_route route = {
		.destination = peer_of(0xc0000200 + dice_below(dice, 2), 12345).remote,
		.source = ipv4_address(0xc6336400 + dice_below(dice, 2)),
		.tos = dice_once_in(dice, 4) ? 3 : 2,
	};
	uint16_t gso_size = usual_sizes[dice_below(dice, 7)];

	fields.flags = (uint8_t)dice_roll(dice);
	fields.data_length = (size_t)dice_below(dice, 4) * gso_size;
	if (dice_once_in(dice, 3))
		fields.data_length = dice_below(dice, LARGEST_TCP_DATA - 40);
	if (fields.data_length > (size_t)gso_size * 3000)
		fields.data_length = (size_t)gso_size * 3000;
	if (fields.data_length > LARGEST_TCP_DATA - 40)
		fields.data_length = LARGEST_TCP_DATA - 40;
	if (dice_once_in(dice, 4))
		gso_size = (uint16_t)dice_between(dice, 100, 9000);
	if (dice_once_in(dice, 3))
		fields.option_length = 12;
	fields.data = noise + dice_below(dice, (uint32_t)(sizeof(noise) - fields.data_length));
	return source_packet(&fields, gso_size, &route);
}

/* Empties the batch; what it held goes to the end of `sent`. */
static void send_batch(struct byte_strings *sent)
{
	assert_batch_is_well_formed();
	for (size_t i = 0; i < batch.segment_count; i++) {
		size_t length;
		uint8_t *bytes = segment_bytes(i, &length);

		byte_strings_add(sent, bytes, length);
		free(bytes);
	}
	outbound_batch_clear(&batch, batch.max_message_segments);
}

static void random_packets_come_out_in_order(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 25; round++) {
		struct source_packet sources[RANDOM_PACKETS];
		struct byte_strings expected = {0}, sent = {0};

		outbound_batch_clear(&batch,
				     dice_once_in(&dice, 3) ? dice_between(&dice, 1, 64) : 64);
		for (size_t i = 0; i < RANDOM_PACKETS; i++) {
			struct source_packet *source = &sources[i];
			size_t done = 0;

			*source = random_source(&dice);
			for (size_t k = 0; k < source->segments.count; k++)
				byte_strings_add(&expected, source->segments.items[k],
						 source->segments.lengths[k]);
			while ((done += encapsulate(&batch, &source->parsed, done,
						    &source->route)) < source->segments.count)
				send_batch(&sent);
			if (dice_once_in(&dice, 20))
				send_batch(&sent);
		}
		send_batch(&sent);
		assert_same_segments(&sent, &expected);
		for (size_t i = 0; i < RANDOM_PACKETS; i++)
			source_packet_free(&sources[i]);
		byte_strings_free(&expected);
		byte_strings_free(&sent);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(t1_accepts_tcp, start),
		cmocka_unit_test_setup(t7_one_wrong_bit, start),
		cmocka_unit_test_setup(t7_any_length, start),
		cmocka_unit_test_setup(t7_what_the_kernel_vouches_for, start),
		cmocka_unit_test_setup(the_vnet_header_comes_first, start),
		cmocka_unit_test_setup(a_vnet_header_cut_short, start),
		cmocka_unit_test_setup(t1_version, start),
		cmocka_unit_test_setup(t1_header_length, start),
		cmocka_unit_test_setup(t1_protocol, start),
		cmocka_unit_test_setup(t1_fragments, start),
		cmocka_unit_test_setup(t1_packets_cut_short_or_padded, start),
		cmocka_unit_test_setup(t1_headers_cut_short, start),
		cmocka_unit_test_setup(t1_total_length, start),
		cmocka_unit_test_setup(t1_every_small_length_and_data_offset, start),
		cmocka_unit_test_setup(t1_random_headers, start),
		cmocka_unit_test_setup(super_packets_have_as_many_segments_as_needed, start),
		cmocka_unit_test_setup(a_plain_packet_is_one_segment, start),
		cmocka_unit_test_setup(no_data_is_copied, start),
		cmocka_unit_test_setup(flags_of_segments, start),
		cmocka_unit_test_setup(sequence_numbers_wrap, start),
		cmocka_unit_test_setup(only_the_last_segment_of_a_message_is_shorter, start),
		cmocka_unit_test_setup(a_super_packet_and_what_follows_it, start),
		cmocka_unit_test_setup(messages_have_one_route, start),
		cmocka_unit_test_setup(at_most_64_segments, start),
		cmocka_unit_test_setup(at_most_65507_bytes, start),
		cmocka_unit_test_setup(without_segmentation_offload, start),
		cmocka_unit_test_setup(a_route_on_which_segments_go_singly, start),
		cmocka_unit_test_setup(a_packet_too_large_for_udp_stands_alone, start),
		cmocka_unit_test_setup(a_batch_full_of_segments, start),
		cmocka_unit_test_setup(a_batch_full_of_messages, start),
		cmocka_unit_test_setup(a_full_batch_still_fills_its_last_message, start),
		cmocka_unit_test_setup(random_packets_come_out_in_order, start),
	};

	return report_seed(cmocka_run_group_tests_name("encapsulate", tests, NULL, NULL));
}
