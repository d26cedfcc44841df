/*
 * What the pure transforms cost, alone: encapsulation and decapsulation of one segment, in batches
 * as a worker makes them, without any system call.
 *
 *     transforms [--seconds S]      prints one line of JSON: nanoseconds per segment of each case,
 *                                   the median of three repetitions of S seconds each
 *     transforms --once CASE N      does exactly N segments of one case, for callgrind: all of it
 *                                   happens in the function named as the case is
 *
 * Bulk: super-packets and coalesced messages as large as the kernel makes them, one flow, 1,428
 * bytes of data and time stamps in each segment. Small: one byte of data, each packet of another
 * flow and peer than the one before. The same packets are taken again in each batch, so their
 * headers are in the cache, as they are when a worker has just read them. Checked: packets of one
 * full segment each, whose TCP checksum the kernel does not vouch for.
 */
#include "packet/checksum.h"
#include "packet/decapsulate.h"
#include "packet/encapsulate.h"
#include "stopwatch.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>

enum {
	MSS = 1428,
	TCP_HEADER_SIZE = 32, /* with the time stamps option, RFC 7323 */
	SEGMENT_SIZE = TCP_HEADER_SIZE + MSS,
	SMALL_SEGMENT_SIZE = TCP_HEADER_SIZE + 1,
	FLOWS = 32,
	FLAG_ACK = 0x10,
	WINDOW_AT = 14, /* in the TCP header */

	/* What a worker's arena holds of super-packets, and what it reads of small packets. */
	SUPER_PACKETS = 5,
	SUPER_PACKET_SEGMENTS = (IPV4_MAX_TOTAL_LENGTH - IPV4_HEADER_SIZE - TCP_HEADER_SIZE) / MSS,
	/* What it offers buffers for. */
	COALESCED_MESSAGES = 4,
	COALESCED_SEGMENTS = UDP_MAX_PAYLOAD / SEGMENT_SIZE,
	SMALL_PACKETS = 64,

	ROOM = 65536 + 3 * 64, /* for one packet or message, off the others' cache sets */
	BLOCK = 100000,        /* segments between two looks at the clock */
};

/* One packet of the tunnel interface, or one message with datagrams of one size. */
struct unit {
	uint8_t *bytes;
	size_t segments;
	/* of a packet */
	size_t length; /* virtio_net header included */
	struct datagram_route route;
	/* of a message */
	size_t segment_size;
	struct inbound_origin origin;
};

/* What a worker takes in at a time. */
struct batch {
	size_t count;
	struct unit units[SMALL_PACKETS];
};

static struct batch super_packets, small_packets, checked_packets, coalesced_messages,
	small_messages;
static struct outbound_batch outbound;
static struct inbound_batch inbound;

static void encapsulate_packet(const struct unit *unit, size_t segments)
{
	struct tunnel_packet packet;
	size_t next;

	if (tunnel_packet_parse(unit->bytes, unit->length, true, &packet) != PACKET_IS_TCP)
		errx(1, "a packet was not taken for TCP");
	next = packet.segments - segments;
	while ((next += encapsulate(&outbound, &packet, next, &unit->route)) < packet.segments)
		outbound_batch_clear(&outbound, MESSAGE_MAX_SEGMENTS);
}

/* The last packet may be taken up in its middle, so that it is exactly so many segments. */
static void encapsulate_batches(const struct batch *batch, size_t segments)
{
	while (segments > 0) {
		for (size_t i = 0; i < batch->count && segments > 0; i++) {
			const struct unit *unit = &batch->units[i];
			size_t count = segments < unit->segments ? segments : unit->segments;

			encapsulate_packet(unit, count);
			segments -= count;
		}
		outbound_batch_clear(&outbound, MESSAGE_MAX_SEGMENTS);
	}
}

static void finish_packets(void)
{
	for (size_t i = 0; i < inbound.packet_count; i++) {
		struct iovec iov[INBOUND_MAX_COALESCED + 1];

		(void)inbound_packet_finish(&inbound, i, iov);
	}
	inbound_batch_clear(&inbound);
}

static void decapsulate_message(const struct unit *unit, size_t segments)
{
	const uint8_t *payload = unit->bytes;
	size_t origin = inbound_batch_origin(&inbound, &unit->origin);

	for (size_t i = 0; i < segments; i++, payload += unit->segment_size) {
		if (payload_classify(payload, unit->segment_size) != PAYLOAD_IS_TCP)
			errx(1, "a payload was not taken for TCP");
		if (decapsulate(&inbound, payload, unit->segment_size, origin))
			continue;
		finish_packets();
		(void)decapsulate(&inbound, payload, unit->segment_size, origin);
	}
}

static void decapsulate_batches(const struct batch *batch, size_t segments)
{
	while (segments > 0) {
		for (size_t i = 0; i < batch->count && segments > 0; i++) {
			const struct unit *unit = &batch->units[i];
			size_t count = segments < unit->segments ? segments : unit->segments;

			decapsulate_message(unit, count);
			segments -= count;
		}
		finish_packets();
	}
}

/* The functions that callgrind counts in: each keeps its name and is called as a function. */
__attribute__((noinline)) static void encapsulate_bulk(size_t segments)
{
	encapsulate_batches(&super_packets, segments);
}

__attribute__((noinline)) static void encapsulate_small(size_t segments)
{
	encapsulate_batches(&small_packets, segments);
}

__attribute__((noinline)) static void encapsulate_checked(size_t segments)
{
	encapsulate_batches(&checked_packets, segments);
}

__attribute__((noinline)) static void decapsulate_bulk(size_t segments)
{
	decapsulate_batches(&coalesced_messages, segments);
}

__attribute__((noinline)) static void decapsulate_small(size_t segments)
{
	decapsulate_batches(&small_messages, segments);
}

static const struct transform_case {
	const char *name;
	void (*run)(size_t segments);
} cases[] = {
	{"encapsulate_bulk", encapsulate_bulk},       {"encapsulate_small", encapsulate_small},
	{"encapsulate_checked", encapsulate_checked}, {"decapsulate_bulk", decapsulate_bulk},
	{"decapsulate_small", decapsulate_small},
};

enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static uint8_t *make_room(void)
{
	uint8_t *bytes = calloc(1, ROOM);

	if (bytes == NULL)
		errx(1, "no memory for packets");
	return bytes;
}

static void write_tcp_header(uint8_t *tcp, size_t flow, uint32_t sequence, uint8_t flags)
{
	static const uint8_t time_stamps[] = {1, 1, 8, 10, 0, 1, 2, 3, 0, 4, 5, 6};

	store_be16(tcp + TCP_PORTS, (uint16_t)(32768 + 3 * flow));
	store_be16(tcp + TCP_PORTS + 2, 443);
	store_be32(tcp + TCP_SEQUENCE, sequence);
	store_be32(tcp + TCP_ACKNOWLEDGMENT, 1);
	tcp[TCP_DATA_OFFSET] = TCP_HEADER_SIZE / 4 << 4;
	tcp[TCP_FLAGS] = FLAG_ACK | flags;
	store_be16(tcp + WINDOW_AT, 501);
	memcpy(tcp + TCP_OPTIONS, time_stamps, sizeof(time_stamps));
}

/* A packet of the tunnel interface with so many bytes of data. */
static void add_packet(struct batch *batch, size_t flow, size_t data_length, uint8_t flags)
{
	struct unit *unit = &batch->units[batch->count++];
	size_t length = IPV4_HEADER_SIZE + TCP_HEADER_SIZE + data_length;
	const struct virtio_net_hdr vnet = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					    .gso_size = MSS};
	uint8_t *bytes = make_room();
	uint8_t *ip = bytes + VNET_HEADER_SIZE;

	memcpy(bytes, &vnet, sizeof(vnet));
	ip[IPV4_VERSION_IHL] = 0x45;
	store_be16(ip + IPV4_TOTAL_LENGTH, (uint16_t)length);
	store_be16(ip + IPV4_FRAGMENT, IPV4_DONT_FRAGMENT);
	ip[IPV4_TTL] = 64;
	ip[IPV4_PROTOCOL] = IPPROTO_TCP;
	store_be32(ip + IPV4_SOURCE, 0x0a000001);
	store_be32(ip + IPV4_DESTINATION, 0x0a000100 + (uint32_t)flow);
	write_tcp_header(ip + IPV4_HEADER_SIZE, flow, 1, flags);
	*unit = (struct unit){
		.bytes = bytes,
		.length = VNET_HEADER_SIZE + length,
		.segments = (data_length + MSS - 1) / MSS,
		.route = {.destination = {.address = ip_address_from_ipv4(
						  htonl(0xc0000200 + (uint32_t)flow)),
					  .port = htons((uint16_t)(40000 + flow))},
			  .source = ip_address_from_ipv4(htonl(0xc6336401))},
	};
}

/* One segment with the checksum that it has to have, for which nobody vouches. */
static void add_checked_packet(struct batch *batch, size_t data_length)
{
	const struct virtio_net_hdr vnet = {.gso_type = VIRTIO_NET_HDR_GSO_NONE};
	uint32_t tcp_length = (uint32_t)(TCP_HEADER_SIZE + data_length);
	uint8_t *bytes, *ip, *tcp;
	uint64_t sum;

	add_packet(batch, 0, data_length, 0);
	bytes = batch->units[batch->count - 1].bytes;
	memcpy(bytes, &vnet, sizeof(vnet));
	ip = bytes + VNET_HEADER_SIZE;
	tcp = ip + IPV4_HEADER_SIZE;
	sum = checksum_tcp_pseudo_header(load_u32(ip + IPV4_SOURCE),
					 load_u32(ip + IPV4_DESTINATION), tcp_length);
	store_u16(tcp + TCP_CHECKSUM, (uint16_t)~checksum_fold(checksum_add(sum, tcp, tcp_length)));
}

/* A message of one flow with so many datagrams; the n-th one that is added follows the others. */
static void add_message(struct batch *batch, size_t flow, size_t segments, size_t segment_size,
			uint8_t flags)
{
	struct unit *unit = &batch->units[batch->count];
	size_t data = segment_size - TCP_HEADER_SIZE;
	uint32_t sequence = (uint32_t)(batch->count++ * segments * data);
	uint8_t *bytes = make_room();

	for (size_t i = 0; i < segments; i++)
		write_tcp_header(bytes + i * segment_size, flow, sequence + (uint32_t)(i * data),
				 flags);
	*unit = (struct unit){
		.bytes = bytes,
		.segments = segments,
		.segment_size = segment_size,
		.origin = {.source = ip_address_from_ipv4(htonl(0x0a000100 + (uint32_t)flow)),
			   .destination = ip_address_from_ipv4(htonl(0x0a000001)),
			   .udp_port = htons((uint16_t)(40000 + flow))},
	};
}

static void set_up(void)
{
	for (size_t i = 0; i < SUPER_PACKETS; i++)
		add_packet(&super_packets, 0, (size_t)SUPER_PACKET_SEGMENTS * MSS, 0);
	for (size_t i = 0; i < COALESCED_MESSAGES; i++)
		add_message(&coalesced_messages, 0, COALESCED_SEGMENTS, SEGMENT_SIZE, 0);
	for (size_t i = 0; i < SMALL_PACKETS; i++) {
		add_packet(&small_packets, i % FLOWS, 1, TCP_PSH);
		add_checked_packet(&checked_packets, MSS);
		add_message(&small_messages, i % FLOWS, 1, SMALL_SEGMENT_SIZE, TCP_PSH);
	}
	outbound_batch_clear(&outbound, MESSAGE_MAX_SEGMENTS);
	inbound_batch_init(&inbound, true);
}

static void tear_down(void)
{
	struct batch *batches[] = {&super_packets, &small_packets, &checked_packets,
				   &coalesced_messages, &small_messages};

	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		for (size_t k = 0; k < batches[i]->count; k++)
			free(batches[i]->units[k].bytes);
	}
}

/* Nanoseconds per segment. */
static double time_case(const struct transform_case *transform, double seconds)
{
	double began = stopwatch_now();
	double passed, blocks = 0;

	do {
		transform->run(BLOCK);
		blocks++;
		passed = stopwatch_now() - began;
	} while (passed < seconds);
	return passed * 1e9 / (blocks * BLOCK);
}

static double median_of_case(const struct transform_case *transform, double seconds)
{
	double times[REPETITIONS];

	(void)time_case(transform, seconds / 4); /* warm-up */
	for (size_t i = 0; i < REPETITIONS; i++)
		times[i] = time_case(transform, seconds);
	return median_of(times);
}

static void time_all(double seconds)
{
	for (size_t i = 0; i < CASES; i++)
		printf("%s\"%s_ns\": %.2f", i == 0 ? "{" : ", ", cases[i].name,
		       median_of_case(&cases[i], seconds));
	printf("}\n");
}

static void run_once(const char *name, const char *count)
{
	char *end;
	unsigned long segments = strtoul(count, &end, 10);

	if (count[0] < '0' || count[0] > '9' || *end != '\0' || segments < 1)
		errx(2, "--once takes a case and a number of segments, not '%s'", count);
	for (size_t i = 0; i < CASES; i++) {
		if (strcmp(cases[i].name, name) == 0) {
			cases[i].run(segments);
			return;
		}
	}
	errx(2,
	     "--once takes encapsulate_bulk, encapsulate_small, encapsulate_checked, "
	     "decapsulate_bulk or decapsulate_small, not '%s'",
	     name);
}

static _Noreturn void print_usage_and_exit(void)
{
	errx(2, "usage: transforms [--seconds S] | transforms --once CASE N");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seconds", required_argument, NULL, 's'},
		{"once", required_argument, NULL, 'o'},
		{NULL, 0, NULL, 0},
	};
	const char *once = NULL;
	double seconds = 1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			seconds = seconds_from_text(optarg);
		else if (option == 'o')
			once = optarg;
		else
			print_usage_and_exit();
	}
	if (argc - optind != (once != NULL ? 1 : 0))
		print_usage_and_exit();
	set_up();
	if (once != NULL)
		run_once(once, argv[optind]);
	else
		time_all(seconds);
	tear_down();
	return 0;
}
