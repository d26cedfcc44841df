/*
 * Encapsulation and decapsulation against each other: super-packets of many connections go into one
 * end as a tunnel interface reads them and come out of the other as a tunnel interface is given
 * them. Cut into segments the slow way, what came out of each connection must be what went in: in
 * order, byte for byte and with the same TOS, TCP checksums apart, which are verified by completing
 * them.
 */
#include "packet/decapsulate.h"
#include "packet/encapsulate.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	MAX_FLOWS = 100,
	MAX_PEERS = 6,
	PACKETS_IN_A_ROUND = 120,
	MAX_WIRE = 1 << 17,
};

/* What of a flow stays the same, and how far it got. */
struct flow {
	struct tcp_packet next; /* the next packet, but for data */
	size_t peer;
	uint16_t mss;
	struct byte_strings sent; /* segments, with their TOS behind them */
	struct byte_strings received;
};

/* A datagram under way. */
struct datagram {
	uint8_t *payload;
	size_t length;
	size_t peer;
	uint8_t tos;
};

/* One round: the two ends, what is between them, and the connections through them. */
static struct {
	struct outbound_batch outbound;
	struct inbound_batch inbound;
	struct iovec pieces[INBOUND_MAX_COALESCED + 1];
	struct flow flows[MAX_FLOWS];
	size_t flow_count;
	struct datagram wire[MAX_WIRE];
	size_t wire_count;
	size_t written; /* packets given to the receiving interface */
	/* the receiving interface refuses packets of several segments; in the end all that the
	 * kernel would have to complete too */
	bool is_refusing;
	uint8_t noise[65536 * 2];
} scene;

static const uint32_t tunnel_destination = 0x0a000001;

/* Three peers share an address, as behind a NAT; others share a port. */
static struct peer peer_number(size_t number)
{
	return peer_of(0xcb007100 + (uint32_t)(number % 3), (uint16_t)(1024 + number / 2));
}

static uint32_t tunnel_address_of(size_t peer)
{
	return 0x0a000010 + (uint32_t)peer;
}

/* Cuts a packet into segments the slow way and puts its TOS behind each. */
static void remember(struct byte_strings *list, const uint8_t *ip, size_t ip_length, size_t mss)
{
	struct byte_strings segments = {0};

	slow_segmentation(&segments, ip + 20, ip_length - 20, mss);
	for (size_t i = 0; i < segments.count; i++) {
		size_t length = segments.lengths[i];

		segments.items[i] = realloc(segments.items[i], length + 1);
		assert_non_null(segments.items[i]);
		segments.items[i][length] = ip[1];
		byte_strings_add(list, segments.items[i], length + 1);
	}
	byte_strings_free(&segments);
}

static void start_flows(struct dice *dice)
{
	static const uint16_t usual_mss[] = {1448, 1460, 1388, 1440, 536, 64, 8948, 1};
	static const uint8_t usual_options[] = {0, 12, 12, 12, 20, 40};

	scene.flow_count = dice_once_in(dice, 4) ? dice_between(dice, 60, MAX_FLOWS)
						 : dice_between(dice, 1, 8);
	for (size_t i = 0; i < scene.flow_count; i++) {
		struct flow *flow = &scene.flows[i];

		memset(flow, 0, sizeof(*flow));
		flow->next = random_tcp_packet(dice);
		flow->next.option_length = usual_options[dice_below(dice, 6)];
		dice_fill(dice, flow->next.options, 40);
		/* what tells flows apart: the peer and the ports */
		flow->next.source_port = (uint16_t)(1000 + i);
		flow->next.destination_port = dice_once_in(dice, 2) ? 443 : 5201;
		flow->peer = dice_below(dice, MAX_PEERS);
		flow->mss = usual_mss[dice_below(dice, 8)];
		if (dice_once_in(dice, 4))
			flow->mss = (uint16_t)dice_between(dice, 100, 1460);
	}
}

/* What a TCP changes from packet to packet, more often than a real one does. */
static void vary(struct dice *dice, struct tcp_packet *packet)
{
	packet->flags = ACK;
	packet->identification++;
	packet->checksum = (uint16_t)dice_roll(dice);
	packet->urgent = 0;
	if (dice_once_in(dice, 3))
		packet->flags |= PSH;
	if (dice_once_in(dice, 12))
		packet->flags |= CWR;
	if (dice_once_in(dice, 12))
		packet->flags |= ECE;
	if (dice_once_in(dice, 25))
		packet->flags |= FIN;
	if (dice_once_in(dice, 40))
		packet->flags = (uint8_t)dice_roll(dice);
	if (packet->flags & URG)
		packet->urgent = (uint16_t)dice_roll(dice);
	if (dice_once_in(dice, 8))
		packet->acknowledgment += dice_below(dice, 3000);
	if (dice_once_in(dice, 12))
		packet->window = (uint16_t)dice_roll(dice);
	if (dice_once_in(dice, 8))
		dice_fill(dice, packet->options, 40);
	if (dice_once_in(dice, 20))
		packet->tos ^= 1;
	if (dice_once_in(dice, 20))
		packet->reserved ^= (uint8_t)dice_below(dice, 16);
	/* a retransmission, a loss before the tunnel */
	if (dice_once_in(dice, 15))
		packet->sequence += 5000 - dice_below(dice, 10000);
}

static size_t random_data_length(struct dice *dice, const struct flow *flow)
{
	const size_t most = 65535 - 40 - flow->next.option_length;
	size_t length;

	switch (dice_below(dice, 5)) {
	case 0:
		length = 0; /* an acknowledgment */
		break;
	case 1:
		length = dice_between(dice, 1, flow->mss);
		break;
	case 2:
		length = (size_t)flow->mss * dice_between(dice, 1, 45);
		break;
	case 3:
		length = flow->mss;
		break;
	default:
		length = dice_below(dice, (uint32_t)most + 1);
	}
	if (length > (size_t)flow->mss * 1500)
		length = (size_t)flow->mss * 1500;
	return length > most ? most : length;
}

/* The address that a peer last sent to, as the server remembers it. */
static struct ip_address local_address_for(size_t peer)
{
	struct ip_address unknown = {{0}};

	if (peer == 0)
		return unknown;
	return ipv4_address(0xc6336400 + (uint32_t)peer);
}

static struct datagram_route route_of(const struct flow *flow)
{
	return (struct datagram_route){
		.destination = peer_number(flow->peer).remote,
		.source = local_address_for(flow->peer),
		.tos = flow->next.tos,
	};
}

static size_t peer_at(const struct transport_address *peer)
{
	for (size_t i = 0; i < MAX_PEERS; i++) {
		struct peer known = peer_number(i);

		if (memcmp(peer->address.bytes, known.remote.address.bytes, 16) == 0 &&
		    peer->port == known.remote.port)
			return i;
	}
	fail_msg("a datagram goes to nobody");
	return 0;
}

/* Does what the kernel does with a message and its UDP_SEGMENT: cuts it into datagrams of that
 * size. */
static void send_message(const struct outbound_message *message)
{
	size_t first_iov = scene.outbound.segments[message->first_segment].first_iov;
	size_t end = (size_t)message->first_segment + message->segments;
	size_t peer = peer_at(&message->route.destination);
	struct ip_address local = local_address_for(peer);
	size_t length;
	uint8_t *bytes = gather(&scene.outbound.iov[first_iov],
				scene.outbound.segments[end].first_iov - first_iov, &length);

	assert_memory_equal(&message->route.source, &local, sizeof(local));
	assert_in_range(length, 20, 65507);
	assert_int_equal(length, message->bytes);
	assert_in_range(message->segments, 1, scene.outbound.max_message_segments);
	assert_int_equal((length + message->segment_size - 1) / message->segment_size,
			 message->segments);
	for (size_t done = 0; done < length; done += message->segment_size) {
		struct datagram *datagram = &scene.wire[scene.wire_count++];

		assert_true(scene.wire_count < MAX_WIRE);
		datagram->length = length - done < message->segment_size ? length - done
									 : message->segment_size;
		datagram->payload = exact_copy(bytes + done, datagram->length);
		datagram->peer = peer;
		datagram->tos = message->route.tos;
	}
	free(bytes);
}

static void send_batch(void)
{
	for (size_t i = 0; i < scene.outbound.message_count; i++)
		send_message(&scene.outbound.messages[i]);
	outbound_batch_clear(&scene.outbound, scene.outbound.max_message_segments);
}

/* Hands one packet to the sending end, in as many calls as it takes. */
static uint8_t *send_packet(struct dice *dice, struct flow *flow)
{
	struct datagram_route route;
	struct tunnel_packet packet;
	size_t length, done = 0;
	uint8_t *bytes;
	uint16_t gso_size;

	vary(dice, &flow->next);
	flow->next.data_length = random_data_length(dice, flow);
	flow->next.data = scene.noise + dice_below(dice, (uint32_t)(sizeof(scene.noise) -
								    flow->next.data_length));
	/* without data to cut the kernel may or may not say how */
	gso_size = flow->next.data_length > flow->mss || dice_once_in(dice, 2) ? flow->mss : 0;
	bytes = make_read_packet(&flow->next, gso_size, &length);
	remember(&flow->sent, bytes + VNET_HEADER_SIZE, length - VNET_HEADER_SIZE, gso_size);
	flow->next.sequence += (uint32_t)flow->next.data_length;

	assert_int_equal(tunnel_packet_parse(bytes, length, true, &packet), PACKET_IS_TCP);
	route = route_of(flow);
	while ((done += encapsulate(&scene.outbound, &packet, done, &route)) < packet.segments)
		send_batch();
	return bytes;
}

static void send_packets(struct dice *dice)
{
	static uint8_t *packets[PACKETS_IN_A_ROUND];
	size_t flow = 0;

	for (size_t i = 0; i < PACKETS_IN_A_ROUND; i++) {
		/* one connection goes on for a while, or all take turns */
		if (dice_once_in(dice, 2))
			flow = dice_below(dice, (uint32_t)scene.flow_count);
		packets[i] = send_packet(dice, &scene.flows[flow]);
		if (dice_once_in(dice, 30))
			send_batch();
	}
	send_batch();
	for (size_t i = 0; i < PACKETS_IN_A_ROUND; i++)
		free(packets[i]);
}

static uint16_t native16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* The flow that an IPv4 packet of the receiving end belongs to. */
static struct flow *flow_at(const uint8_t *ip)
{
	uint32_t source = ((uint32_t)ip[12] << 24) + (uint32_t)(ip[13] << 16) +
			  (uint32_t)(ip[14] << 8) + ip[15];

	for (size_t i = 0; i < scene.flow_count; i++) {
		struct flow *flow = &scene.flows[i];

		if (source == tunnel_address_of(flow->peer) &&
		    ip[20] * 256 + ip[21] == flow->next.source_port &&
		    ip[22] * 256 + ip[23] == flow->next.destination_port)
			return flow;
	}
	fail_msg("a packet belongs to no flow");
	return NULL;
}

/* Checks one packet as it is written to the interface, and cuts it as the kernel would. */
static void take_written_packet(uint8_t *bytes, size_t length)
{
	size_t vnet_size = scene.inbound.with_vnet_header ? 10 : 0;
	uint8_t *ip = bytes + vnet_size;
	size_t ip_length = length - vnet_size;
	uint16_t gso_size = 0;
	struct flow *flow;

	assert_in_range(length, vnet_size + 40, vnet_size + 65535);
	assert_int_equal(slow_sum(0, ip, 20), 0xffff);
	assert_int_equal(ip[2] * 256 + ip[3], ip_length);
	if (scene.inbound.with_vnet_header && bytes[0] == 0) {
		for (size_t at = 0; at < vnet_size; at++)
			assert_int_equal(bytes[at], 0); /* nothing is left to the kernel */
	} else if (scene.inbound.with_vnet_header) {
		size_t start = native16(bytes + 6);
		uint8_t *field = ip + start + native16(bytes + 8);
		uint16_t sum = slow_sum(0, ip + start, ip_length - start);
		bool is_super = bytes[1] != VIRTIO_NET_HDR_GSO_NONE;

		field[0] = (uint8_t)((0xffff - sum) >> 8);
		field[1] = (uint8_t)(0xffff - sum);
		gso_size = native16(bytes + 4);
		assert_int_equal(gso_size > 0, is_super);
		assert_int_equal((bytes[1] & VIRTIO_NET_HDR_GSO_ECN) != 0,
				 is_super && (ip[33] & CWR));
	}
	assert_int_equal(slow_tcp_sum((uint32_t)ip[12] << 24 | (uint32_t)ip[13] << 16 |
					      (uint32_t)ip[14] << 8 | ip[15],
				      tunnel_destination, ip + 20, ip_length - 20),
			 0xffff);
	flow = flow_at(ip);
	remember(&flow->received, ip, ip_length, gso_size);
	scene.written++;
}

/* Writes a packet's segments one by one, the way in which they were refused before. */
static void write_singles(size_t index)
{
	struct inbound_single single;

	inbound_single_first(&scene.inbound, index, &single);
	do {
		bool with_checksum = scene.written % 3 == 0;
		size_t length, count;
		uint8_t *bytes;

		memset(single.header, 0xa5, sizeof(single.header));
		(void)inbound_single_finish(&scene.inbound, index, &single, !with_checksum,
					    scene.pieces);
		count = inbound_single_finish(&scene.inbound, index, &single, with_checksum,
					      scene.pieces);
		assert_in_range(count, 1, 2);
		bytes = gather(scene.pieces, count, &length);
		assert_int_equal(bytes[0], with_checksum ? 0 : VIRTIO_NET_HDR_F_NEEDS_CSUM);
		assert_int_equal(bytes[1], VIRTIO_NET_HDR_GSO_NONE);
		take_written_packet(bytes, length);
		free(bytes);
	} while (inbound_single_next(&scene.inbound, index, &single));
}

static void write_whole(size_t index)
{
	size_t count = inbound_packet_finish(&scene.inbound, index, scene.pieces);
	size_t length;
	uint8_t *bytes = gather(scene.pieces, count, &length);

	take_written_packet(bytes, length);
	free(bytes);
}

static void write_batch(void)
{
	for (size_t i = 0; i < scene.inbound.packet_count; i++) {
		if (scene.is_refusing) {
			/* as a worker does it: the whole packet was tried, or it was not */
			if (i % 2 == 0)
				(void)inbound_packet_finish(&scene.inbound, i, scene.pieces);
			write_singles(i);
		} else {
			write_whole(i);
		}
	}
	inbound_batch_clear(&scene.inbound);
}

/* Each datagram as a message of its own. Returns false when the batch is full. */
static bool receive_datagram(const struct datagram *datagram)
{
	const struct inbound_origin origin = {
		.source = ipv4_address(tunnel_address_of(datagram->peer)),
		.destination = ipv4_address(tunnel_destination),
		.udp_port = peer_number(datagram->peer).remote.port,
		.tos = datagram->tos,
	};

	return decapsulate(&scene.inbound, datagram->payload, datagram->length,
			   inbound_batch_origin(&scene.inbound, &origin));
}

static void receive_datagrams(struct dice *dice)
{
	for (size_t i = 0; i < scene.wire_count; i++) {
		const struct datagram *datagram = &scene.wire[i];

		assert_int_equal(payload_classify(datagram->payload, datagram->length),
				 PAYLOAD_IS_TCP);
		if (!receive_datagram(datagram)) {
			write_batch();
			assert_true(receive_datagram(datagram));
		}
		if (dice_once_in(dice, 200))
			write_batch();
	}
	write_batch();
}

static void assert_flows_arrived(void)
{
	for (size_t i = 0; i < scene.flow_count; i++)
		assert_same_segments(&scene.flows[i].received, &scene.flows[i].sent);
}

static void clean_up(void)
{
	for (size_t i = 0; i < scene.wire_count; i++)
		free(scene.wire[i].payload);
	scene.wire_count = 0;
	for (size_t i = 0; i < scene.flow_count; i++) {
		byte_strings_free(&scene.flows[i].sent);
		byte_strings_free(&scene.flows[i].received);
	}
}

static void round_trips(struct dice *dice, size_t max_message_segments, bool with_vnet_header,
			int rounds)
{
	size_t segments = 0;

	dice_fill(dice, scene.noise, sizeof(scene.noise));
	scene.written = 0;
	for (int round = 0; round < rounds; round++) {
		outbound_batch_clear(&scene.outbound, max_message_segments);
		inbound_batch_init(&scene.inbound, with_vnet_header);
		start_flows(dice);
		send_packets(dice);
		receive_datagrams(dice);
		assert_flows_arrived();
		segments += scene.wire_count;
		clean_up();
	}
	/* the coalescing that this is about did take place, or did not */
	if (with_vnet_header && !scene.is_refusing)
		assert_true(scene.written < segments / 2);
	else
		assert_int_equal(scene.written, segments);
}

static void with_both_offloads(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	round_trips(&dice, 64, true, 60);
}

static void with_segmentation_offload_only(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	round_trips(&dice, 64, false, 15);
}

static void with_coalescing_only(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	round_trips(&dice, 1, true, 15);
}

static void without_offloads(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	round_trips(&dice, 1, false, 15);
}

static void with_odd_message_limits(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (size_t limit = 2; limit < 64; limit += 13)
		round_trips(&dice, limit, true, 2);
}

/* What was coalesced comes apart again, into exactly what came in. */
static void segment_by_segment(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	scene.is_refusing = true;
	round_trips(&dice, 64, true, 30);
	scene.is_refusing = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_both_offloads),
		cmocka_unit_test(with_segmentation_offload_only),
		cmocka_unit_test(with_coalescing_only),
		cmocka_unit_test(without_offloads),
		cmocka_unit_test(with_odd_message_limits),
		cmocka_unit_test(segment_by_segment),
	};

	return report_seed(cmocka_run_group_tests_name("round trip", tests, NULL, NULL));
}
