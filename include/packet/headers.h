/*
 * Offsets and bits of the two headers that this program reads and writes. The headers come from the
 * network at any alignment, so they are read byte-wise through these and never through a struct.
 */
#ifndef UDP_ENCAP_TUN_HEADERS_H
#define UDP_ENCAP_TUN_HEADERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* IPv4, RFC 791 section 3.1 */
enum {
	IPV4_HEADER_SIZE = 20, /* without options: all this program carries */
	IPV4_VERSION_IHL = 0,
	IPV4_TOS = 1,
	IPV4_TOTAL_LENGTH = 2,
	IPV4_FRAGMENT = 6,
	IPV4_TTL = 8,
	IPV4_PROTOCOL = 9,
	IPV4_CHECKSUM = 10,
	IPV4_SOURCE = 12,
	IPV4_DESTINATION = 16,
	IPV4_MAX_TOTAL_LENGTH = 65535,

	IPV4_DONT_FRAGMENT = 0x4000,
	IPV4_ECN = 0x03, /* in the TOS byte, RFC 3168 */
	IPV4_ECN_CE = 0x03,
	IPV4_MORE_FRAGMENTS = 0x2000,
	IPV4_FRAGMENT_OFFSET = 0x1fff,
};

/* TCP, RFC 9293 section 3.1 */
enum {
	TCP_MIN_HEADER_SIZE = 20,
	TCP_MAX_HEADER_SIZE = 60,
	TCP_PORTS = 0,
	TCP_SEQUENCE = 4,
	TCP_ACKNOWLEDGMENT = 8,
	TCP_DATA_OFFSET = 12,
	TCP_FLAGS = 13,
	TCP_CHECKSUM = 16,
	TCP_OPTIONS = 20,

	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_URG = 0x20,
	TCP_CWR = 0x80,
};

enum {
	UDP_HEADER_SIZE = 8,
	UDP_MAX_PAYLOAD = 65507, /* IPv4: 65,535 less both headers */
};

/** Length in bytes that a TCP header states for itself: 0 to 60. */
static inline size_t tcp_header_length(const uint8_t *tcp)
{
	return (size_t)(tcp[TCP_DATA_OFFSET] >> 4) * 4;
}

/** Big-endian loads and stores at any alignment. */
static inline uint16_t load_be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t load_be32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void store_be16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void store_be32(uint8_t *at, uint32_t value)
{
	store_be16(at, (uint16_t)(value >> 16));
	store_be16(at + 2, (uint16_t)value);
}

/** Loads and stores that leave the byte order as it is (addresses, checksums). */
static inline uint32_t load_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline void store_u32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void store_u16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

#endif
