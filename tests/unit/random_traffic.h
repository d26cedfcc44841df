/*
 * Random traffic for the unit tests, and the slow and obvious reading of RFC 791, 1071, 5681 and
 * 9293 that results are judged by. Nothing in here calls the code under test, or shares a constant
 * with it.
 *
 * Everything random follows from one seed. It is the same in every run unless the environment
 * variable UNIT_SEED gives another one; a run that fails names it.
 */
#ifndef UDP_ENCAP_TUN_RANDOM_TRAFFIC_H
#define UDP_ENCAP_TUN_RANDOM_TRAFFIC_H

#include "peers/peer.h"

#include <sys/uio.h>

/** A source of random numbers. */
struct dice {
	uint64_t state;
};

/** Dice that depend on the seed and on the name of the test, but not on the tests before it. */
struct dice dice_for(const char *test);

uint64_t dice_roll(struct dice *dice);

/** 0 to limit - 1. */
uint32_t dice_below(struct dice *dice, uint32_t limit);

/** low to high, both included. */
uint32_t dice_between(struct dice *dice, uint32_t low, uint32_t high);

/** True once in `times`. */
bool dice_once_in(struct dice *dice, uint32_t times);

void dice_fill(struct dice *dice, void *bytes, size_t length);

/** Names the seed on standard error if tests failed. Returns the exit status of the program. */
int report_seed(int failed_tests);

/** Any peer with an IPv4 address. */
struct peer random_peer(struct dice *dice);

/** The peer with this address and port, both in host byte order. */
struct peer peer_of(uint32_t ipv4, uint16_t port);

/** Peers that differ from each other, 60,000 behind each address; they talk to an own address each
 * of eight, the same number to the same one always. */
struct peer numbered_peer(uint32_t number);

/** An IPv4 address as the program holds it. */
struct ip_address ipv4_address(uint32_t host_order);

/** The last 32 bits of an address as a number. */
uint32_t host_order(const struct ip_address *address);

/** A number that lies in memory as it does on the wire. */
uint32_t network_order(uint32_t value);

/* Flags of a TCP header */
enum {
	FIN = 0x01,
	SYN = 0x02,
	RST = 0x04,
	PSH = 0x08,
	ACK = 0x10,
	URG = 0x20,
	ECE = 0x40,
	CWR = 0x80,
};

/** A TCP packet, field by field; numbers in host byte order. */
struct tcp_packet {
	uint8_t tos;
	uint16_t identification;
	uint16_t fragment; /* flags and offset */
	uint8_t ttl;
	uint32_t source;
	uint32_t destination;
	uint16_t source_port;
	uint16_t destination_port;
	uint32_t sequence;
	uint32_t acknowledgment;
	uint8_t reserved; /* the four bits behind the data offset */
	uint8_t flags;
	uint16_t window;
	uint16_t checksum;
	uint16_t urgent;
	uint8_t options[40];
	size_t option_length; /* a multiple of four */
	const uint8_t *data;
	size_t data_length;
};

/** A packet of a random connection: an ACK with random options and without data. */
struct tcp_packet random_tcp_packet(struct dice *dice);

/** Writes the TCP header and the data. Returns a block of exactly that size, to be freed. */
uint8_t *make_tcp(const struct tcp_packet *packet, size_t *length);

/** Writes IPv4 header, TCP header and data. Returns a block of exactly that size, to be freed. */
uint8_t *make_ipv4(const struct tcp_packet *packet, size_t *length);

/**
 * Writes what make_ipv4() does behind a virtio_net header, as a packet is read from the tunnel
 * interface; its checksum is the kernel's business. Returns a block of exactly that size, to be
 * freed.
 * @gso_size: 0: none
 */
uint8_t *make_read_packet(const struct tcp_packet *packet, uint16_t gso_size, size_t *length);

/** A copy in a block of exactly its size, to be freed. */
uint8_t *exact_copy(const void *bytes, size_t length);

/** Puts pieces together. Returns a block of exactly their size, to be freed. */
uint8_t *gather(const struct iovec *pieces, size_t count, size_t *length);

/** The 16-bit one's complement sum, two bytes at a time, as RFC 1071 describes it first. */
uint16_t slow_sum(uint32_t start, const uint8_t *bytes, size_t length);

/** The sum over a TCP segment and its pseudo-header: 0xffff when its checksum is right. */
uint16_t slow_tcp_sum(uint32_t source, uint32_t destination, const uint8_t *tcp, size_t length);

/** Byte strings in order. */
struct byte_strings {
	uint8_t **items;
	size_t *lengths;
	size_t count;
	size_t room;
};

void byte_strings_add(struct byte_strings *list, const uint8_t *bytes, size_t length);
void byte_strings_free(struct byte_strings *list);

/**
 * Cuts a TCP super-packet into segments with `mss` bytes of data, each a copy of its own: each with
 * its sequence number, FIN and PSH on the last only, CWR on the first only. An mss of 0 cuts
 * nothing.
 */
void slow_segmentation(struct byte_strings *list, const uint8_t *tcp, size_t length, size_t mss);

/** Fails unless both hold the same TCP segments in the same order, their checksums apart. */
void assert_same_segments(const struct byte_strings *got, const struct byte_strings *expected);

/** Fails unless this is the same TCP segment, its checksum apart. */
void assert_same_segment(const uint8_t *got, size_t got_length, const uint8_t *expected,
			 size_t expected_length);

#endif
