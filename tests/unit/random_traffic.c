/* Random traffic and the slow reading of the standards; see random_traffic.h. */
#include "random_traffic.h"

#include <linux/virtio_net.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	TCP_CHECKSUM_AT = 16,
	SMALLEST_TCP_HEADER = 20,
};

static const uint64_t default_seed = 20210907;

static uint64_t seed(void)
{
	const char *text = getenv("UNIT_SEED");

	return text == NULL ? default_seed : strtoull(text, NULL, 0);
}

struct dice dice_for(const char *test)
{
	struct dice dice = {.state = seed()};

	/* FNV-1a (Fowler, Noll and Vo) */
	for (; *test != '\0'; test++)
		dice.state = (dice.state ^ (uint8_t)*test) * 0x100000001b3u;
	return dice;
}

/* splitmix64 (Steele, Lea and Flood 2014) */
uint64_t dice_roll(struct dice *dice)
{
	uint64_t value = dice->state += 0x9e3779b97f4a7c15u;

	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

uint32_t dice_below(struct dice *dice, uint32_t limit)
{
	return (uint32_t)(dice_roll(dice) % limit);
}

uint32_t dice_between(struct dice *dice, uint32_t low, uint32_t high)
{
	return low + (uint32_t)(dice_roll(dice) % ((uint64_t)high - low + 1));
}

bool dice_once_in(struct dice *dice, uint32_t times)
{
	return dice_below(dice, times) == 0;
}

void dice_fill(struct dice *dice, void *bytes, size_t length)
{
	uint8_t *at = bytes;

	while (length > 0) {
		uint64_t value = dice_roll(dice);
		size_t step = length < sizeof(value) ? length : sizeof(value);

		memcpy(at, &value, step);
		at += step;
		length -= step;
	}
}

int report_seed(int failed_tests)
{
	if (failed_tests != 0)
		fprintf(stderr, "UNIT_SEED=%llu repeats this run\n", (unsigned long long)seed());
	return failed_tests == 0 ? 0 : 1;
}

struct ip_address ipv4_address(uint32_t host_order)
{
	struct ip_address address = {{0}};

	address.bytes[10] = 0xff;
	address.bytes[11] = 0xff;
	for (size_t i = 0; i < 4; i++)
		address.bytes[12 + i] = (uint8_t)(host_order >> (24 - 8 * i));
	return address;
}

struct peer peer_of(uint32_t ipv4, uint16_t port)
{
	struct peer peer = {.remote.address = ipv4_address(ipv4)};
	const uint8_t bytes[2] = {(uint8_t)(port >> 8), (uint8_t)port};

	memcpy(&peer.remote.port, bytes, sizeof(bytes));
	return peer;
}

struct peer numbered_peer(uint32_t number)
{
	struct peer peer = peer_of(0xcb007100 + number / 60000, (uint16_t)(1024 + number % 60000));

	peer.own_address = ipv4_address(0xc0000200 + number % 8);
	return peer;
}

uint32_t host_order(const struct ip_address *address)
{
	const uint8_t *at = address->bytes + 12;

	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

uint32_t network_order(uint32_t value)
{
	const struct ip_address address = ipv4_address(value);
	uint32_t stored;

	memcpy(&stored, address.bytes + 12, sizeof(stored));
	return stored;
}

struct peer random_peer(struct dice *dice)
{
	return peer_of((uint32_t)dice_roll(dice), (uint16_t)dice_roll(dice));
}

struct tcp_packet random_tcp_packet(struct dice *dice)
{
	struct tcp_packet packet = {
		.tos = (uint8_t)dice_roll(dice),
		.identification = (uint16_t)dice_roll(dice),
		.fragment = 0x4000,
		.ttl = (uint8_t)dice_between(dice, 1, 255),
		.source = (uint32_t)dice_roll(dice),
		.destination = (uint32_t)dice_roll(dice),
		.source_port = (uint16_t)dice_roll(dice),
		.destination_port = (uint16_t)dice_roll(dice),
		.sequence = (uint32_t)dice_roll(dice),
		.acknowledgment = (uint32_t)dice_roll(dice),
		.flags = ACK,
		.window = (uint16_t)dice_roll(dice),
		.checksum = (uint16_t)dice_roll(dice),
		.option_length = (size_t)4 * dice_below(dice, 11),
	};

	dice_fill(dice, packet.options, packet.option_length);
	return packet;
}

static uint8_t *put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value / 256);
	at[1] = (uint8_t)(value % 256);
	return at + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	return put16(put16(at, (uint16_t)(value / 65536)), (uint16_t)(value % 65536));
}

static uint32_t get32(const uint8_t *at)
{
	return ((uint32_t)at[0] * 256 + at[1]) * 65536 + (uint32_t)at[2] * 256 + at[3];
}

static void *allocate(size_t size)
{
	void *block = malloc(size > 0 ? size : 1);

	assert_non_null(block);
	return block;
}

static void put_tcp(const struct tcp_packet *packet, uint8_t *at)
{
	size_t header_words = (SMALLEST_TCP_HEADER + packet->option_length) / 4;

	at = put16(at, packet->source_port);
	at = put16(at, packet->destination_port);
	at = put32(at, packet->sequence);
	at = put32(at, packet->acknowledgment);
	*at++ = (uint8_t)(header_words * 16 + packet->reserved);
	*at++ = packet->flags;
	at = put16(at, packet->window);
	at = put16(at, packet->checksum);
	at = put16(at, packet->urgent);
	memcpy(at, packet->options, packet->option_length);
	if (packet->data_length > 0)
		memcpy(at + packet->option_length, packet->data, packet->data_length);
}

uint8_t *make_tcp(const struct tcp_packet *packet, size_t *length)
{
	uint8_t *bytes;

	*length = SMALLEST_TCP_HEADER + packet->option_length + packet->data_length;
	bytes = allocate(*length);
	put_tcp(packet, bytes);
	return bytes;
}

uint8_t *make_ipv4(const struct tcp_packet *packet, size_t *length)
{
	uint8_t *bytes, *at;

	*length = 20 + SMALLEST_TCP_HEADER + packet->option_length + packet->data_length;
	bytes = at = allocate(*length);
	*at++ = 0x45;
	*at++ = packet->tos;
	at = put16(at, (uint16_t)*length);
	at = put16(at, packet->identification);
	at = put16(at, packet->fragment);
	*at++ = packet->ttl;
	*at++ = 6;
	at = put16(at, 0);
	at = put32(at, packet->source);
	at = put32(at, packet->destination);
	put16(bytes + 10, (uint16_t)(0xffff - slow_sum(0, bytes, 20)));
	put_tcp(packet, at);
	return bytes;
}

uint8_t *make_read_packet(const struct tcp_packet *packet, uint16_t gso_size, size_t *length)
{
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = gso_size > 0 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_NONE,
		.gso_size = gso_size,
	};
	uint8_t *ipv4 = make_ipv4(packet, length);
	uint8_t *bytes = malloc(sizeof(vnet) + *length);

	assert_non_null(bytes);
	memcpy(bytes, &vnet, sizeof(vnet));
	memcpy(bytes + sizeof(vnet), ipv4, *length);
	*length += sizeof(vnet);
	free(ipv4);
	return bytes;
}

uint8_t *exact_copy(const void *bytes, size_t length)
{
	uint8_t *copy = allocate(length);

	if (length > 0)
		memcpy(copy, bytes, length);
	return copy;
}

uint8_t *gather(const struct iovec *pieces, size_t count, size_t *length)
{
	uint8_t *bytes, *at;

	*length = 0;
	for (size_t i = 0; i < count; i++)
		*length += pieces[i].iov_len;
	bytes = at = allocate(*length);
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].iov_len > 0)
			memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
		at += pieces[i].iov_len;
	}
	return bytes;
}

uint16_t slow_sum(uint32_t start, const uint8_t *bytes, size_t length)
{
	uint32_t sum = start;

	for (size_t i = 0; i < length; i += 2) {
		sum += (uint32_t)bytes[i] * 256 + (i + 1 < length ? bytes[i + 1] : 0);
		while (sum > 0xffff)
			sum = sum % 65536 + sum / 65536;
	}
	return (uint16_t)sum;
}

uint16_t slow_tcp_sum(uint32_t source, uint32_t destination, const uint8_t *tcp, size_t length)
{
	uint8_t pseudo_header[12];
	uint8_t *at = pseudo_header;

	at = put32(at, source);
	at = put32(at, destination);
	*at++ = 0;
	*at++ = 6;
	put16(at, (uint16_t)length);
	return slow_sum(slow_sum(0, pseudo_header, sizeof(pseudo_header)), tcp, length);
}

void byte_strings_add(struct byte_strings *list, const uint8_t *bytes, size_t length)
{
	if (list->count == list->room) {
		list->room = 2 * list->room + 16;
		list->items = realloc(list->items, list->room * sizeof(*list->items));
		list->lengths = realloc(list->lengths, list->room * sizeof(*list->lengths));
		assert_non_null(list->items);
		assert_non_null(list->lengths);
	}
	list->items[list->count] = exact_copy(bytes, length);
	list->lengths[list->count] = length;
	list->count++;
}

void byte_strings_free(struct byte_strings *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	free(list->lengths);
	memset(list, 0, sizeof(*list));
}

void slow_segmentation(struct byte_strings *list, const uint8_t *tcp, size_t length, size_t mss)
{
	size_t header = (size_t)(tcp[12] / 16) * 4;
	size_t done = 0;

	do {
		size_t rest = length - header - done;
		size_t data = mss > 0 && rest > mss ? mss : rest;
		uint8_t *segment = allocate(header + data);

		memcpy(segment, tcp, header);
		memcpy(segment + header, tcp + header + done, data);
		put32(segment + 4, get32(tcp + 4) + (uint32_t)done);
		if (done > 0)
			segment[13] &= (uint8_t)~CWR;
		if (data < rest)
			segment[13] &= (uint8_t) ~(FIN | PSH);
		byte_strings_add(list, segment, header + data);
		free(segment);
		done += data;
	} while (done < length - header);
}

void assert_same_segment(const uint8_t *got, size_t got_length, const uint8_t *expected,
			 size_t expected_length)
{
	size_t shorter = got_length < expected_length ? got_length : expected_length;

	for (size_t i = 0; i < shorter; i++) {
		if (i != TCP_CHECKSUM_AT && i != TCP_CHECKSUM_AT + 1 && got[i] != expected[i])
			fail_msg("byte %zu of a segment of %zu is 0x%02x instead of 0x%02x", i,
				 expected_length, got[i], expected[i]);
	}
	if (got_length != expected_length)
		fail_msg("a segment has %zu bytes instead of %zu", got_length, expected_length);
}

void assert_same_segments(const struct byte_strings *got, const struct byte_strings *expected)
{
	for (size_t i = 0; i < got->count && i < expected->count; i++)
		assert_same_segment(got->items[i], got->lengths[i], expected->items[i],
				    expected->lengths[i]);
	if (got->count != expected->count)
		fail_msg("%zu segments instead of %zu", got->count, expected->count);
}
