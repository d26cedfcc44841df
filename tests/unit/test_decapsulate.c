/*
 * Decapsulation: what a UDP payload is (rules W1 to W4), the headers of the packets that are made
 * of it (rules R4 to R6), and each rule by which segments are coalesced, one by one.
 */
#include "packet/decapsulate.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct inbound_batch batch;
static uint8_t noise[65536];
static struct iovec pieces[INBOUND_MAX_COALESCED + 1];

/* The payloads that a batch refers to. */
static uint8_t *payloads[100000];
static size_t payload_count;

static int start(void **state)
{
	struct dice dice = dice_for("noise");

	(void)state;
	dice_fill(&dice, noise, sizeof(noise));
	memset(&batch, 0xa5, sizeof(batch)); /* nothing may depend on what was there */
	inbound_batch_init(&batch, true);
	payload_count = 0;
	return 0;
}

static int finish(void **state)
{
	(void)state;
	while (payload_count > 0)
		free(payloads[--payload_count]);
	return 0;
}

static uint16_t network_order16(uint16_t value)
{
	return peer_of(0, value).remote.port;
}

/* An origin in short, network byte order. */
struct ipv4_origin {
	uint32_t source;
	uint32_t destination;
	uint16_t udp_port;
	uint8_t tos;
};

static size_t number_of(const struct ipv4_origin *origin)
{
	const struct inbound_origin full = {
		.source = ip_address_from_ipv4(origin->source),
		.destination = ip_address_from_ipv4(origin->destination),
		.udp_port = origin->udp_port,
		.tos = origin->tos,
	};

	return inbound_batch_origin(&batch, &full);
}

static struct ipv4_origin any_origin(void)
{
	return (struct ipv4_origin){
		.source = network_order(0x0a000011),
		.destination = network_order(0x0a000001),
		.udp_port = network_order16(12345),
		.tos = 0x2a,
	};
}

/* Hands over a message of one segment; the memory stays until the test is over. */
static bool receive(const struct tcp_packet *fields, const struct ipv4_origin *origin)
{
	size_t length;
	uint8_t *payload = make_tcp(fields, &length);

	assert_true(payload_count < sizeof(payloads) / sizeof(payloads[0]));
	payloads[payload_count++] = payload;
	assert_int_equal(payload_classify(payload, length), PAYLOAD_IS_TCP);
	return decapsulate(&batch, payload, length, number_of(origin));
}

/* Rules W1 to W4 */

static void every_length_and_data_offset(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (size_t length = 0; length <= 80; length++) {
		for (unsigned words = 0; words < 16; words++) {
			uint8_t bytes[80];
			uint8_t *payload;
			enum payload_kind expected = PAYLOAD_IS_MALFORMED; /* W4 */

			dice_fill(&dice, bytes, sizeof(bytes));
			bytes[12] = (uint8_t)(words << 4 | dice_below(&dice, 16));
			payload = exact_copy(bytes, length);
			if (length == 0)
				expected = PAYLOAD_IS_KEEPALIVE; /* W2 */
			else if (length >= 20 && words < 5)
				expected = PAYLOAD_IS_CONTROL; /* W3 */
			else if (length >= 20 && (size_t)words * 4 <= length)
				expected = PAYLOAD_IS_TCP; /* W1 */
			assert_int_equal(payload_classify(payload, length), expected);
			free(payload);
		}
	}
}

static void an_empty_payload_is_not_read(void **state)
{
	(void)state;
	assert_int_equal(payload_classify(NULL, 0), PAYLOAD_IS_KEEPALIVE);
}

static void the_largest_payload(void **state)
{
	static const uint8_t data_offset[] = {4, 5, 15};

	(void)state;
	for (size_t i = 0; i < sizeof(data_offset); i++) {
		noise[12] = (uint8_t)(data_offset[i] << 4);
		assert_int_equal(payload_classify(noise, 65507),
				 data_offset[i] < 5 ? PAYLOAD_IS_CONTROL : PAYLOAD_IS_TCP);
	}
}

/* Headers */

static uint16_t native16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* What is written to the tunnel interface, taken apart. */
struct written {
	uint8_t *bytes;
	size_t length;
	uint8_t *ip;
	uint8_t *tcp;
	size_t tcp_length;
};

static struct written written_packet(size_t index)
{
	size_t vnet_size = batch.with_vnet_header ? 10 : 0;
	size_t count = inbound_packet_finish(&batch, index, pieces);
	struct written written;

	assert_in_range(count, 1, INBOUND_MAX_COALESCED + 1);
	written.bytes = gather(pieces, count, &written.length);
	assert_true(written.length >= vnet_size + 40);
	written.ip = written.bytes + vnet_size;
	written.tcp = written.ip + 20;
	written.tcp_length = written.length - vnet_size - 20;
	return written;
}

/* Rule R4, byte by byte. */
static void assert_ipv4_header(const struct written *written, const struct ipv4_origin *origin)
{
	const uint8_t *ip = written->ip;

	assert_int_equal(ip[0], 0x45);
	assert_int_equal(ip[1], origin->tos);
	assert_int_equal(ip[2] * 256 + ip[3], 20 + written->tcp_length);
	assert_int_equal(ip[4] * 256 + ip[5], 0);
	assert_int_equal(ip[6] * 256 + ip[7], 0x4000); /* DF */
	assert_int_equal(ip[8], 64);                   /* TTL */
	assert_int_equal(ip[9], 6);                    /* TCP */
	assert_int_equal(slow_sum(0, ip, 20), 0xffff);
	assert_memory_equal(ip + 12, &origin->source, 4);
	assert_memory_equal(ip + 16, &origin->destination, 4);
}

/*
 * Rule R5: the checksum field holds the pseudo-header's sum, and the kernel sums from csum_start to
 * the end and stores the complement; then the packet must be right.
 */
static void complete_checksum(const struct written *written)
{
	uint8_t *from = written->ip + native16(written->bytes + 6);
	uint8_t *field = from + native16(written->bytes + 8);
	uint16_t sum = slow_sum(0, from, written->length - (size_t)(from - written->bytes));

	field[0] = (uint8_t)((0xffff - sum) >> 8);
	field[1] = (uint8_t)(0xffff - sum);
}

static void assert_tcp_checksum(const struct written *written, const struct ipv4_origin *origin)
{
	/* network_order() is its own inverse */
	assert_int_equal(slow_tcp_sum(network_order(origin->source),
				      network_order(origin->destination), written->tcp,
				      written->tcp_length),
			 0xffff);
}

static void assert_vnet_header(const struct written *written, uint8_t gso_type, uint16_t gso_size)
{
	const uint8_t *vnet = written->bytes;

	assert_int_equal(vnet[0], VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(vnet[1], gso_type);
	assert_int_equal(native16(vnet + 2), 20 + written->tcp[12] / 16 * 4);
	assert_int_equal(native16(vnet + 4), gso_size);
	assert_int_equal(native16(vnet + 6), 20);
	assert_int_equal(native16(vnet + 8), 16);
}

static void one_segment_with(bool vnet_header, struct dice *dice)
{
	struct tcp_packet fields = random_tcp_packet(dice);
	struct ipv4_origin origin = {
		.source = (uint32_t)dice_roll(dice),
		.destination = (uint32_t)dice_roll(dice),
		.udp_port = (uint16_t)dice_roll(dice),
		.tos = (uint8_t)dice_roll(dice),
	};
	struct written written;

	fields.flags = (uint8_t)dice_roll(dice);
	fields.reserved = (uint8_t)dice_below(dice, 16);
	fields.urgent = (uint16_t)dice_roll(dice);
	fields.data_length = dice_below(dice, dice_once_in(dice, 20) ? 65507 - 59 : 1500);
	fields.data = noise + dice_below(dice, 59);
	inbound_batch_init(&batch, vnet_header);
	assert_true(receive(&fields, &origin));
	assert_int_equal(batch.packet_count, 1);
	written = written_packet(0);
	assert_ipv4_header(&written, &origin);
	if (vnet_header) {
		assert_vnet_header(&written, VIRTIO_NET_HDR_GSO_NONE, 0);
		complete_checksum(&written);
	}
	assert_tcp_checksum(&written, &origin);
	assert_same_segment(written.tcp, written.tcp_length, payloads[payload_count - 1],
			    20 + fields.option_length + fields.data_length);
	free(written.bytes);
}

static void one_segment(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 1500; round++)
		one_segment_with(true, &dice);
}

static void one_segment_without_vnet_header(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 1500; round++)
		one_segment_with(false, &dice);
}

static void data_is_not_copied(void **state)
{
	struct dice dice = dice_for(__func__);
	struct tcp_packet fields = random_tcp_packet(&dice);
	struct ipv4_origin origin = any_origin();

	(void)state;
	fields.option_length = 12;
	fields.data = noise;
	fields.data_length = 1000;
	for (uint32_t i = 0; i < 3; i++, fields.sequence += 1000)
		assert_true(receive(&fields, &origin));
	assert_int_equal(inbound_packet_finish(&batch, 0, pieces), 4);
	for (size_t i = 0; i < 3; i++) {
		assert_ptr_equal(pieces[1 + i].iov_base, payloads[i] + 32);
		assert_int_equal(pieces[1 + i].iov_len, 1000);
	}
}

/* Rules of coalescing */

/* The second of two segments that may be coalesced, and what the tests change in either. */
struct pair {
	struct tcp_packet first;
	struct tcp_packet second;
	struct ipv4_origin first_origin;
	struct ipv4_origin second_origin;
};

static struct pair joining_pair(const char *test)
{
	struct dice dice = dice_for(test);
	struct pair pair;

	pair.first = random_tcp_packet(&dice);
	pair.first.option_length = 12;
	pair.first.data = noise;
	pair.first.data_length = 1000;
	pair.second = pair.first;
	pair.second.sequence += 1000;
	pair.second.checksum++;
	pair.second.data = noise + 1000;
	pair.first_origin = any_origin();
	pair.second_origin = pair.first_origin;
	return pair;
}

/* How many packets become of the two. Both must come out as they went in. */
static size_t packets_of(const struct pair *pair)
{
	struct byte_strings got = {0}, expected = {0};
	size_t packets;

	inbound_batch_clear(&batch);
	payload_count = 0;
	assert_true(receive(&pair->first, &pair->first_origin));
	assert_true(receive(&pair->second, &pair->second_origin));
	packets = batch.packet_count;
	for (size_t i = 0; i < packets; i++) {
		struct written written = written_packet(i);

		assert_ipv4_header(&written, i == 0 ? &pair->first_origin : &pair->second_origin);
		complete_checksum(&written);
		assert_tcp_checksum(&written, i == 0 ? &pair->first_origin : &pair->second_origin);
		slow_segmentation(&got, written.tcp, written.tcp_length,
				  native16(written.bytes + 4));
		free(written.bytes);
	}
	byte_strings_add(&expected, payloads[0],
			 20 + pair->first.option_length + pair->first.data_length);
	byte_strings_add(&expected, payloads[1],
			 20 + pair->second.option_length + pair->second.data_length);
	assert_same_segments(&got, &expected);
	byte_strings_free(&got);
	byte_strings_free(&expected);
	while (payload_count > 0)
		free(payloads[--payload_count]);
	return packets;
}

static void consecutive_segments_join(void **state)
{
	struct pair pair = joining_pair(__func__);

	(void)state;
	assert_int_equal(packets_of(&pair), 1);
}

static void a_super_packet_says_so(void **state)
{
	struct pair pair = joining_pair(__func__);
	struct written written;

	(void)state;
	assert_true(receive(&pair.first, &pair.first_origin));
	assert_true(receive(&pair.second, &pair.second_origin));
	written = written_packet(0);
	assert_vnet_header(&written, VIRTIO_NET_HDR_GSO_TCPV4, 1000);
	assert_int_equal(written.tcp_length, 32 + 2000);
	free(written.bytes);
}

static void joins_across_the_end_of_the_sequence(void **state)
{
	struct pair pair = joining_pair(__func__);

	(void)state;
	for (uint32_t behind = 0; behind <= 1000; behind += 250) {
		pair.first.sequence = 0u - behind;
		pair.second.sequence = 1000 - behind;
		assert_int_equal(packets_of(&pair), 1);
	}
}

static void ports_must_be_the_same(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 16; bit++) {
		struct pair pair = joining_pair(__func__);

		pair.second.source_port ^= (uint16_t)(1 << bit);
		assert_int_equal(packets_of(&pair), 2);
		pair = joining_pair(__func__);
		pair.second.destination_port ^= (uint16_t)(1 << bit);
		assert_int_equal(packets_of(&pair), 2);
	}
}

static void peers_must_be_the_same(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 32; bit++) {
		struct pair pair = joining_pair(__func__);

		pair.second_origin.source ^= 1u << bit;
		assert_int_equal(packets_of(&pair), 2);
		pair = joining_pair(__func__);
		pair.second_origin.destination ^= 1u << bit;
		assert_int_equal(packets_of(&pair), 2);
		if (bit >= 16)
			continue;
		pair = joining_pair(__func__);
		pair.second_origin.udp_port ^= (uint16_t)(1 << bit);
		assert_int_equal(packets_of(&pair), 2);
	}
}

/* Flows are told apart also when they share a slot of whatever finds them: so many of them must. */
static void no_other_flow_joins(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct pair pair = joining_pair(__func__);

		switch (round % 4) {
		case 0:
			pair.second.source_port += (uint16_t)dice_between(&dice, 1, 65535);
			break;
		case 1:
			pair.second.destination_port += (uint16_t)dice_between(&dice, 1, 65535);
			break;
		case 2:
			pair.second_origin.source += dice_between(&dice, 1, UINT32_MAX);
			break;
		default:
			pair.second_origin.udp_port += (uint16_t)dice_between(&dice, 1, 65535);
		}
		assert_int_equal(packets_of(&pair), 2);
	}
}

static void tos_must_be_the_same(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 8; bit++) {
		struct pair pair = joining_pair(__func__);

		pair.second_origin.tos ^= (uint8_t)(1 << bit);
		assert_int_equal(packets_of(&pair), 2);
	}
}

static void acknowledgment_and_window_must_be_the_same(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 32; bit++) {
		struct pair pair = joining_pair(__func__);

		pair.second.acknowledgment ^= 1u << bit;
		assert_int_equal(packets_of(&pair), 2);
		if (bit >= 16)
			continue;
		pair = joining_pair(__func__);
		pair.second.window ^= (uint16_t)(1 << bit);
		assert_int_equal(packets_of(&pair), 2);
	}
}

static void options_must_be_the_same(void **state)
{
	(void)state;
	for (size_t at = 0; at < 40; at++) {
		struct pair pair = joining_pair(__func__);

		pair.first.option_length = pair.second.option_length = 40;
		memcpy(pair.first.options, noise, 40);
		memcpy(pair.second.options, noise, 40);
		assert_int_equal(packets_of(&pair), 1);
		pair.second.options[at] ^= 0x10;
		assert_int_equal(packets_of(&pair), 2);
	}
	for (size_t length = 0; length <= 40; length += 4) {
		struct pair pair = joining_pair(__func__);

		/* the rest of the header looks the same */
		memset(pair.first.options, 1, sizeof(pair.first.options));
		memset(pair.second.options, 1, sizeof(pair.second.options));
		pair.second.option_length = length;
		assert_int_equal(packets_of(&pair), length == 12 ? 1 : 2);
	}
}

static void reserved_bits_must_be_the_same(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 4; bit++) {
		struct pair pair = joining_pair(__func__);

		pair.first.reserved = pair.second.reserved = 5;
		assert_int_equal(packets_of(&pair), 1);
		pair.second.reserved ^= (uint8_t)(1 << bit);
		assert_int_equal(packets_of(&pair), 2);
	}
}

static void sequence_must_be_consecutive(void **state)
{
	static const int32_t errors[] = {-1001, -1000, -1, 1, 1000, INT32_MIN};

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct pair pair = joining_pair(__func__);

		pair.second.sequence += (uint32_t)errors[i];
		assert_int_equal(packets_of(&pair), 2);
	}
}

static void size_must_not_be_larger(void **state)
{
	struct pair pair = joining_pair(__func__);

	(void)state;
	for (pair.second.data_length = 0; pair.second.data_length < 1005;
	     pair.second.data_length++) {
		/* what is empty never joins: it is an acknowledgment of its own */
		bool joins = pair.second.data_length >= 1 && pair.second.data_length <= 1000;

		assert_int_equal(packets_of(&pair), joins ? 1 : 2);
	}
	/* nor does anything join what is empty */
	pair.first.data_length = 0;
	pair.second.sequence = pair.first.sequence;
	pair.second.data_length = 0;
	assert_int_equal(packets_of(&pair), 2);
	pair.second.data_length = 1;
	assert_int_equal(packets_of(&pair), 2);
}

/* Every combination of flags in either segment. */
static void flags_of_joining_segments(void **state)
{
	struct pair pair = joining_pair(__func__);

	(void)state;
	pair.first.data_length = 8;
	pair.second.data_length = 8;
	pair.second.sequence = pair.first.sequence + 8;
	for (unsigned first = 0; first < 256; first++) {
		for (unsigned second = 0; second < 256; second++) {
			/* these end what they are in */
			bool joins = (first & (FIN | SYN | RST | PSH | URG)) == 0;

			/* congestion was signalled to the one or to the other */
			if (second & CWR)
				joins = false;
			/* FIN and PSH may be on the last; all others must be the same */
			if ((first & (SYN | RST | ACK | URG | ECE)) !=
			    (second & (SYN | RST | ACK | URG | ECE)))
				joins = false;
			pair.first.flags = (uint8_t)first;
			pair.second.flags = (uint8_t)second;
			assert_int_equal(packets_of(&pair), joins ? 1 : 2);
		}
	}
}

static void congestion_window_reduced_is_told_to_the_kernel(void **state)
{
	struct pair pair = joining_pair(__func__);
	struct written written;

	(void)state;
	pair.first.flags = ACK | CWR;
	assert_true(receive(&pair.first, &pair.first_origin));
	assert_true(receive(&pair.second, &pair.second_origin));
	assert_int_equal(batch.packet_count, 1);
	written = written_packet(0);
	assert_vnet_header(&written, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 1000);
	assert_int_equal(written.tcp[13], ACK | CWR);
	free(written.bytes);

	/* a packet that is none of several needs no segmentation, so no word about it */
	inbound_batch_clear(&batch);
	assert_true(receive(&pair.first, &pair.first_origin));
	written = written_packet(0);
	assert_vnet_header(&written, VIRTIO_NET_HDR_GSO_NONE, 0);
	free(written.bytes);
}

/* Receives segments with these flags and sizes, one behind the other. Returns the packets made. */
struct step {
	uint8_t flags;
	size_t data_length;
};

static size_t packets_of_steps(const struct step *steps, size_t count)
{
	struct pair pair = joining_pair(__func__);
	struct ipv4_origin origin = any_origin();

	inbound_batch_clear(&batch);
	for (size_t i = 0; i < count; i++) {
		pair.first.flags = steps[i].flags;
		pair.first.data_length = steps[i].data_length;
		assert_true(receive(&pair.first, &origin));
		pair.first.sequence += (uint32_t)steps[i].data_length;
	}
	return batch.packet_count;
}

#define PACKETS_OF(...)                                                                            \
	packets_of_steps((const struct step[]){__VA_ARGS__},                                       \
			 sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))

static void what_ends_a_packet(void **state)
{
	(void)state;
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK, 100}, {ACK, 100}), 1);
	/* a shorter one was the last */
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK, 99}, {ACK, 99}), 2);
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK, 1}, {ACK, 100}), 2);
	/* PSH and FIN as well */
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK | PSH, 100}, {ACK, 100}), 2);
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK | FIN, 100}, {ACK, 100}), 2);
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK | PSH | FIN, 50}), 1);
	/* in what follows, coalescing begins anew */
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK | PSH, 100}, {ACK, 100}, {ACK, 100}), 2);
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK, 200}, {ACK, 200}), 2);
	assert_int_equal(PACKETS_OF({ACK, 0}, {ACK, 100}, {ACK, 100}, {ACK, 0}), 3);
	assert_int_equal(PACKETS_OF({SYN, 0}, {ACK, 0}, {ACK | PSH, 100}), 3);
	assert_int_equal(PACKETS_OF({ACK | CWR, 100}, {ACK, 100}, {ACK | CWR, 100}, {ACK, 100}), 2);
}

static void nothing_joins_without_vnet_header(void **state)
{
	(void)state;
	inbound_batch_init(&batch, false);
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK, 100}, {ACK, 100}), 3);
}

/* Without coalescing the kernel still completes checksums. */
static void nothing_joins_while_it_is_switched_off(void **state)
{
	struct written written;

	(void)state;
	inbound_batch_coalesce(&batch, false);
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK, 100}, {ACK, 100}), 3);
	written = written_packet(1);
	assert_vnet_header(&written, VIRTIO_NET_HDR_GSO_NONE, 0);
	free(written.bytes);
	inbound_batch_clear(&batch);
	inbound_batch_coalesce(&batch, true);
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK, 100}, {ACK, 100}), 1);

	inbound_batch_init(&batch, false);
	inbound_batch_coalesce(&batch, true);
	assert_int_equal(PACKETS_OF({ACK, 100}, {ACK, 100}, {ACK, 100}), 3);
}

/* Singles */

static struct written written_single(struct inbound_single *single, bool with_checksum)
{
	size_t count = inbound_single_finish(&batch, 0, single, with_checksum, pieces);
	struct written written;

	written.bytes = gather(pieces, count, &written.length);
	written.ip = written.bytes + 10;
	written.tcp = written.ip + 20;
	written.tcp_length = written.length - 30;
	return written;
}

/* Byte for byte what came in as segment `nth`, in either form. */
static void assert_single(struct inbound_single *single, size_t nth)
{
	static const uint8_t nothing[10];
	const struct ipv4_origin origin = any_origin();

	for (int with_checksum = 0; with_checksum < 2; with_checksum++) {
		struct written written = written_single(single, with_checksum);
		size_t length = written.tcp_length;

		assert_ipv4_header(&written, &origin);
		if (with_checksum) {
			assert_memory_equal(written.bytes, nothing, sizeof(nothing));
		} else {
			assert_vnet_header(&written, VIRTIO_NET_HDR_GSO_NONE, 0);
			complete_checksum(&written);
		}
		assert_tcp_checksum(&written, &origin);
		assert_same_segment(written.tcp, length, payloads[nth], length);
		assert_int_equal(written.tcp[13], payloads[nth][13]);
		free(written.bytes);
	}
}

static void a_packet_comes_apart_into_what_came_in(void **state)
{
	/* the first one's CWR, the last one's FIN and PSH and its shorter data, in between nothing;
	 * and packets of one segment, with all of them and with none */
	static const struct {
		struct step steps[5];
		size_t segments;
	} packets[] = {
		{{{ACK | CWR | ECE, 900}, {ACK | ECE, 900}, {ACK | ECE | FIN | PSH, 1}}, 3},
		{{{ACK, 100}, {ACK, 100}, {ACK, 100}, {ACK, 100}, {ACK | PSH, 100}}, 5},
		{{{ACK | CWR | PSH | FIN, 77}}, 1},
		{{{SYN, 0}}, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		struct inbound_single single;
		size_t nth = 0;

		payload_count = 0;
		assert_int_equal(packets_of_steps(packets[i].steps, packets[i].segments), 1);
		inbound_single_first(&batch, 0, &single);
		do
			assert_single(&single, nth++);
		while (inbound_single_next(&batch, 0, &single));
		assert_int_equal(nth, packets[i].segments);
		assert_false(inbound_single_next(&batch, 0, &single));
		finish(state);
	}
}

static void at_most_so_many_segments(void **state)
{
	struct pair pair = joining_pair(__func__);
	struct ipv4_origin origin = any_origin();

	(void)state;
	pair.first.data_length = 10;
	for (size_t i = 0; i < 2 * INBOUND_MAX_COALESCED + 1; i++) {
		assert_true(receive(&pair.first, &origin));
		pair.first.sequence += 10;
		assert_int_equal(batch.packet_count, i / INBOUND_MAX_COALESCED + 1);
	}
	assert_int_equal(inbound_packet_finish(&batch, 0, pieces), INBOUND_MAX_COALESCED + 1);
	assert_int_equal(inbound_packet_finish(&batch, 2, pieces), 2);
}

/* 65,495 bytes are what fits behind headers of 40: five times 13,099. */
static void at_most_65535_bytes(void **state)
{
	struct pair pair = joining_pair(__func__);
	struct ipv4_origin origin = any_origin();
	struct written written;

	(void)state;
	pair.first.option_length = 0;
	pair.first.data_length = 13099;
	for (size_t i = 0; i < 6; i++) {
		assert_true(receive(&pair.first, &origin));
		pair.first.sequence += 13099;
		assert_int_equal(batch.packet_count, i < 5 ? 1 : 2);
	}
	written = written_packet(0);
	assert_int_equal(written.ip[2] * 256 + written.ip[3], 65535);
	assert_ipv4_header(&written, &origin);
	complete_checksum(&written);
	assert_tcp_checksum(&written, &origin);
	free(written.bytes);

	/* four more bytes of options, and the fifth does not fit */
	inbound_batch_clear(&batch);
	pair.first.option_length = 4;
	for (size_t i = 0; i < 6; i++) {
		assert_true(receive(&pair.first, &origin));
		pair.first.sequence += 13099;
		assert_int_equal(batch.packet_count, i < 4 ? 1 : 2);
	}
}

static void options_count_towards_the_size(void **state)
{
	struct pair pair = joining_pair(__func__);
	struct ipv4_origin origin = any_origin();

	(void)state;
	pair.first.option_length = 40;
	for (size_t last = 5454; last <= 5456; last++) {
		inbound_batch_clear(&batch);
		pair.first.data_length = 30000;
		for (size_t i = 0; i < 3; i++) {
			if (i == 2)
				pair.first.data_length = last;
			assert_true(receive(&pair.first, &origin));
			pair.first.sequence += (uint32_t)pair.first.data_length;
		}
		/* 20 + 60 + 60,000 + 5,455 is 65,535 */
		assert_int_equal(batch.packet_count, last <= 5455 ? 1 : 2);
	}
}

/* Order and interleaving */

static void the_newest_packet_of_a_flow_is_the_only_one_that_grows(void **state)
{
	struct pair pair = joining_pair(__func__);
	struct ipv4_origin origin = any_origin();
	const uint32_t first = pair.first.sequence;
	/* the second of three comes late */
	const uint32_t order[] = {0, 2, 1, 3};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		pair.first.sequence = first + 1000 * order[i];
		assert_true(receive(&pair.first, &origin));
	}
	assert_int_equal(batch.packet_count, 4);
	for (size_t i = 0; i < 4; i++) {
		struct written written = written_packet(i);

		assert_same_segment(written.tcp, written.tcp_length, payloads[i], 1032);
		free(written.bytes);
	}
}

/* Three connections take turns, 20 segments each. Returns how many packets become of them. */
static size_t packets_of_three_flows(struct dice *dice)
{
	struct byte_strings got[3] = {{0}}, expected[3] = {{0}};
	struct tcp_packet flows[3];
	struct ipv4_origin origin = any_origin();

	for (size_t k = 0; k < 3; k++) {
		flows[k] = random_tcp_packet(dice);
		flows[k].data = noise + k;
		flows[k].data_length = 100;
	}
	inbound_batch_clear(&batch);
	for (size_t i = 0; i < 60; i++) {
		struct tcp_packet *flow = &flows[i % 3];

		assert_true(receive(flow, &origin));
		byte_strings_add(&expected[i % 3], payloads[payload_count - 1],
				 120 + flow->option_length);
		flow->sequence += 100;
	}
	for (size_t i = 0; i < batch.packet_count; i++) {
		struct written written = written_packet(i);
		size_t k = 0;

		while (written.tcp[0] * 256 + written.tcp[1] != flows[k].source_port)
			assert_true(++k < 3);
		slow_segmentation(&got[k], written.tcp, written.tcp_length,
				  native16(written.bytes + 4));
		free(written.bytes);
	}
	for (size_t k = 0; k < 3; k++) {
		assert_same_segments(&got[k], &expected[k]);
		byte_strings_free(&got[k]);
		byte_strings_free(&expected[k]);
	}
	return batch.packet_count;
}

/*
 * GRO mixes the connections of a peer. There are to be as many packets as connections, not as
 * segments, unless two of them happen to share a slot.
 */
static void flows_that_take_turns_are_coalesced_apart(void **state)
{
	struct dice dice = dice_for(__func__);
	int coalesced = 0;

	(void)state;
	for (int round = 0; round < 100; round++)
		coalesced += packets_of_three_flows(&dice) == 3;
	assert_in_range(coalesced, 80, 100);
}

/* Numbers of origins */

static void equal_origins_have_one_number(void **state)
{
	struct ipv4_origin origins[5];
	size_t numbers[5];

	(void)state;
	for (size_t i = 0; i < 5; i++)
		origins[i] = any_origin();
	origins[1].source ^= network_order(1);
	origins[2].destination ^= network_order(1);
	origins[3].udp_port ^= network_order16(1);
	origins[4].tos ^= 1;
	for (size_t i = 0; i < 5; i++) {
		numbers[i] = number_of(&origins[i]);
		assert_int_equal(number_of(&origins[i]), numbers[i]);
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(numbers[k], numbers[i]);
	}
}

/* Messages of two peers take turns: each goes on where it was. */
static void messages_of_one_origin_are_coalesced(void **state)
{
	struct pair pair = joining_pair(__func__);
	struct ipv4_origin other = any_origin();
	struct tcp_packet others = pair.first;

	(void)state;
	other.source ^= network_order(2);
	for (int message = 0; message < 10; message++) {
		assert_true(receive(&pair.first, &pair.first_origin));
		pair.first.sequence += 1000;
		assert_true(receive(&others, &other));
		others.sequence += 1000;
	}
	assert_int_equal(batch.packet_count, 2);
	assert_int_equal(batch.packets[0].segments, 10);
	assert_int_equal(batch.packets[1].segments, 10);
}

/* As a worker has them: dozens of segments, and one number. */
static void segments_of_one_message_share_a_number(void **state)
{
	struct pair pair = joining_pair(__func__);
	size_t number = number_of(&pair.first_origin);

	(void)state;
	for (size_t i = 0; i < 20; i++) {
		size_t length;
		uint8_t *payload = make_tcp(&pair.first, &length);

		payloads[payload_count++] = payload;
		assert_true(decapsulate(&batch, payload, length, number));
		pair.first.sequence += 1000;
	}
	assert_int_equal(batch.packet_count, 1);
	assert_int_equal(batch.packets[0].segments, 20);
}

enum {
	MANY_FLOWS = 50,
	MANY_STEPS = 20000,
};

/* A flow of its own peer, and what went in and came out of it: segments with their TOS behind. */
struct own_flow {
	struct tcp_packet next;
	struct ipv4_origin origin;
	struct byte_strings sent, received;
};

static void remember(struct byte_strings *list, const uint8_t *tcp, size_t length, size_t mss,
		     uint8_t tos)
{
	struct byte_strings segments = {0};

	slow_segmentation(&segments, tcp, length, mss);
	for (size_t i = 0; i < segments.count; i++) {
		uint8_t bytes[1000];

		assert_true(segments.lengths[i] < sizeof(bytes));
		memcpy(bytes, segments.items[i], segments.lengths[i]);
		bytes[segments.lengths[i]] = tos;
		byte_strings_add(list, bytes, segments.lengths[i] + 1);
	}
	byte_strings_free(&segments);
}

static void write_flows(struct own_flow *flows)
{
	for (size_t i = 0; i < batch.packet_count; i++) {
		struct written written = written_packet(i);
		struct own_flow *flow = flows;

		while (memcmp(written.ip + 12, &flow->origin.source, 4) != 0)
			assert_true(++flow < flows + MANY_FLOWS);
		complete_checksum(&written);
		assert_tcp_checksum(&written, &flow->origin);
		assert_int_equal(slow_sum(0, written.ip, 20), 0xffff);
		remember(&flow->received, written.tcp, written.tcp_length,
			 native16(written.bytes + 4), written.ip[1]);
		free(written.bytes);
	}
	inbound_batch_clear(&batch);
}

/* Data, acknowledgments and retransmissions under another TOS each time, ECN's way. */
static void next_segment(struct dice *dice, struct own_flow *flow)
{
	flow->origin.tos = (uint8_t)dice_below(dice, 4);
	flow->next.data_length = dice_once_in(dice, 4) ? 0 : 10;
	if (dice_once_in(dice, 6))
		flow->next.sequence -= 10;
}

/*
 * There are more origins than are remembered, so most are forgotten and come again: nothing is lost
 * and nothing overtakes anything within a flow, also where the TOS changes.
 */
static void more_origins_than_are_remembered(void **state)
{
	static struct own_flow flows[MANY_FLOWS];
	struct dice dice = dice_for(__func__);
	size_t segments = 0, packets = 0;

	(void)state;
	for (size_t k = 0; k < MANY_FLOWS; k++) {
		flows[k] = (struct own_flow){.next = random_tcp_packet(&dice),
					     .origin = any_origin()};
		flows[k].origin.source = network_order(0x0a000100 + (uint32_t)k);
		flows[k].next.data = noise + k;
	}
	for (size_t step = 0; step < MANY_STEPS; step++) {
		struct own_flow *flow = &flows[dice_below(&dice, MANY_FLOWS)];

		next_segment(&dice, flow);
		for (size_t run = dice_between(&dice, 1, 3); run > 0; run--) {
			if (!receive(&flow->next, &flow->origin)) {
				packets += batch.packet_count;
				write_flows(flows);
				assert_true(receive(&flow->next, &flow->origin));
			}
			remember(&flow->sent, payloads[payload_count - 1],
				 20 + flow->next.option_length + flow->next.data_length, 0,
				 flow->origin.tos);
			flow->next.sequence += (uint32_t)flow->next.data_length;
			segments++;
		}
	}
	packets += batch.packet_count;
	write_flows(flows);
	assert_true(packets < segments);
	for (size_t k = 0; k < MANY_FLOWS; k++) {
		assert_same_segments(&flows[k].received, &flows[k].sent);
		byte_strings_free(&flows[k].received);
		byte_strings_free(&flows[k].sent);
	}
}

/* All numbers are used up amid a flow: its packet stays as it is, and another one is begun. */
static void when_numbers_run_out_no_packet_goes_on(void **state)
{
	struct pair pair = joining_pair(__func__);
	struct ipv4_origin other = any_origin();
	struct written written;

	(void)state;
	assert_true(receive(&pair.first, &pair.first_origin));
	for (uint32_t i = 1; i <= INBOUND_MAX_ORIGINS; i++) {
		other.destination = network_order(0x0a000100 + i);
		assert_in_range(number_of(&other), 0, INBOUND_MAX_ORIGINS - 1);
	}
	assert_true(receive(&pair.second, &pair.second_origin));
	assert_int_equal(batch.packet_count, 2);
	for (size_t i = 0; i < 2; i++) {
		written = written_packet(i);
		assert_ipv4_header(&written, &pair.first_origin);
		assert_same_segment(written.tcp, written.tcp_length, payloads[i], 1032);
		free(written.bytes);
	}
}

/* Full batches */

static struct tcp_packet lonely_segment(struct dice *dice)
{
	struct tcp_packet fields = random_tcp_packet(dice);

	fields.data = noise;
	fields.data_length = 10;
	fields.flags = ACK | PSH;
	return fields;
}

static void a_batch_full_of_packets(void **state)
{
	struct dice dice = dice_for(__func__);
	struct ipv4_origin origin = any_origin();
	struct tcp_packet open = random_tcp_packet(&dice);

	(void)state;
	open.data = noise;
	open.data_length = 10;
	for (size_t i = 0; i < INBOUND_MAX_PACKETS - 1; i++) {
		struct tcp_packet fields = lonely_segment(&dice);

		assert_true(receive(&fields, &origin));
	}
	assert_true(receive(&open, &origin));
	assert_int_equal(batch.packet_count, INBOUND_MAX_PACKETS);
	for (int again = 0; again < 3; again++) {
		struct tcp_packet fields = lonely_segment(&dice);

		assert_false(receive(&fields, &origin));
		assert_int_equal(batch.packet_count, INBOUND_MAX_PACKETS);
		assert_int_equal(batch.segment_count, INBOUND_MAX_PACKETS + again);
		/* what joins the last packet still does: a refusal changed nothing */
		open.sequence += 10;
		assert_true(receive(&open, &origin));
		assert_int_equal(batch.packets[INBOUND_MAX_PACKETS - 1].segments, again + 2);
	}
	for (size_t i = 0; i < INBOUND_MAX_PACKETS; i++) {
		struct written written = written_packet(i);

		assert_ipv4_header(&written, &origin);
		complete_checksum(&written);
		assert_tcp_checksum(&written, &origin);
		free(written.bytes);
	}
	inbound_batch_clear(&batch);
	assert_int_equal(batch.packet_count, 0);
	open.sequence += 10;
	assert_true(receive(&open, &origin));
	assert_int_equal(batch.packet_count, 1);
	assert_int_equal(batch.packets[0].segments, 1);
}

static void a_batch_full_of_segments(void **state)
{
	struct dice dice = dice_for(__func__);
	struct ipv4_origin origin = any_origin();
	struct tcp_packet fields = random_tcp_packet(&dice);
	struct byte_strings got = {0}, expected = {0};

	(void)state;
	fields.data = noise;
	fields.data_length = 10;
	for (size_t i = 0; i < INBOUND_MAX_SEGMENTS; i++) {
		assert_true(receive(&fields, &origin));
		byte_strings_add(&expected, payloads[i], 30 + fields.option_length);
		fields.sequence += 10;
	}
	assert_int_equal(batch.segment_count, INBOUND_MAX_SEGMENTS);
	assert_false(receive(&fields, &origin));
	assert_int_equal(batch.segment_count, INBOUND_MAX_SEGMENTS);
	fields = lonely_segment(&dice);
	assert_false(receive(&fields, &origin));
	for (size_t i = 0; i < batch.packet_count; i++) {
		struct written written = written_packet(i);

		slow_segmentation(&got, written.tcp, written.tcp_length,
				  native16(written.bytes + 4));
		free(written.bytes);
	}
	assert_same_segments(&got, &expected);
	byte_strings_free(&got);
	byte_strings_free(&expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_length_and_data_offset, start, finish),
		cmocka_unit_test_setup_teardown(an_empty_payload_is_not_read, start, finish),
		cmocka_unit_test_setup_teardown(the_largest_payload, start, finish),
		cmocka_unit_test_setup_teardown(one_segment, start, finish),
		cmocka_unit_test_setup_teardown(one_segment_without_vnet_header, start, finish),
		cmocka_unit_test_setup_teardown(data_is_not_copied, start, finish),
		cmocka_unit_test_setup_teardown(consecutive_segments_join, start, finish),
		cmocka_unit_test_setup_teardown(a_super_packet_says_so, start, finish),
		cmocka_unit_test_setup_teardown(joins_across_the_end_of_the_sequence, start,
						finish),
		cmocka_unit_test_setup_teardown(ports_must_be_the_same, start, finish),
		cmocka_unit_test_setup_teardown(peers_must_be_the_same, start, finish),
		cmocka_unit_test_setup_teardown(no_other_flow_joins, start, finish),
		cmocka_unit_test_setup_teardown(tos_must_be_the_same, start, finish),
		cmocka_unit_test_setup_teardown(acknowledgment_and_window_must_be_the_same, start,
						finish),
		cmocka_unit_test_setup_teardown(options_must_be_the_same, start, finish),
		cmocka_unit_test_setup_teardown(reserved_bits_must_be_the_same, start, finish),
		cmocka_unit_test_setup_teardown(sequence_must_be_consecutive, start, finish),
		cmocka_unit_test_setup_teardown(size_must_not_be_larger, start, finish),
		cmocka_unit_test_setup_teardown(flags_of_joining_segments, start, finish),
		cmocka_unit_test_setup_teardown(congestion_window_reduced_is_told_to_the_kernel,
						start, finish),
		cmocka_unit_test_setup_teardown(what_ends_a_packet, start, finish),
		cmocka_unit_test_setup_teardown(nothing_joins_without_vnet_header, start, finish),
		cmocka_unit_test_setup_teardown(nothing_joins_while_it_is_switched_off, start,
						finish),
		cmocka_unit_test_setup_teardown(a_packet_comes_apart_into_what_came_in, start,
						finish),
		cmocka_unit_test_setup_teardown(at_most_so_many_segments, start, finish),
		cmocka_unit_test_setup_teardown(at_most_65535_bytes, start, finish),
		cmocka_unit_test_setup_teardown(options_count_towards_the_size, start, finish),
		cmocka_unit_test_setup_teardown(
			the_newest_packet_of_a_flow_is_the_only_one_that_grows, start, finish),
		cmocka_unit_test_setup_teardown(flows_that_take_turns_are_coalesced_apart, start,
						finish),
		cmocka_unit_test_setup_teardown(equal_origins_have_one_number, start, finish),
		cmocka_unit_test_setup_teardown(messages_of_one_origin_are_coalesced, start,
						finish),
		cmocka_unit_test_setup_teardown(segments_of_one_message_share_a_number, start,
						finish),
		cmocka_unit_test_setup_teardown(more_origins_than_are_remembered, start, finish),
		cmocka_unit_test_setup_teardown(when_numbers_run_out_no_packet_goes_on, start,
						finish),
		cmocka_unit_test_setup_teardown(a_batch_full_of_packets, start, finish),
		cmocka_unit_test_setup_teardown(a_batch_full_of_segments, start, finish),
	};

	return report_seed(cmocka_run_group_tests_name("decapsulate", tests, NULL, NULL));
}
