/*
 * Addresses, with and without a port, and prefixes.
 *
 * An address is always 16 bytes in network byte order; IPv4 is held as its IPv4-mapped IPv6 form
 * (::ffff:a.b.c.d, RFC 4291 section 2.5.5.2), so that nothing which stores or compares addresses
 * has to know the family.
 */
#ifndef UDP_ENCAP_TUN_ADDRESS_H
#define UDP_ENCAP_TUN_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** An IPv4 (mapped) or IPv6 address, network byte order. All zero: no address. */
struct ip_address {
	uint8_t bytes[16];
};

/** One end of UDP: an address and a port (RFC 8489 section 4 calls the pair so). */
struct transport_address {
	struct ip_address address;
	uint16_t port; /* network byte order */
};

/** An address with the length of its network part, in bits of the 128-bit form (IPv4: 96 to 128).
 */
struct ip_prefix {
	struct ip_address address;
	uint8_t length;
};

enum {
	IP_ADDRESS_TEXT_SIZE = 46, /* INET6_ADDRSTRLEN */
	TRANSPORT_ADDRESS_TEXT_SIZE = IP_ADDRESS_TEXT_SIZE + 8,
	IPV4_MAPPED_BITS = 96, /* prefix length of ::ffff:0:0 */
};

/**
 * Makes an address of an IPv4 one.
 * @ipv4: network byte order
 */
static inline struct ip_address ip_address_from_ipv4(uint32_t ipv4)
{
	struct ip_address address = {.bytes = {[10] = 0xff, [11] = 0xff}};

	memcpy(&address.bytes[12], &ipv4, sizeof(ipv4));
	return address;
}

/** True for an IPv4 address, held in its mapped form. */
static inline bool ip_address_is_ipv4(const struct ip_address *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

/** The IPv4 address inside, network byte order; meaningless for one that is not IPv4. */
static inline uint32_t ip_address_ipv4(const struct ip_address *address)
{
	uint32_t ipv4;

	memcpy(&ipv4, &address->bytes[12], sizeof(ipv4));
	return ipv4;
}

/** The last 32 bits as a number: the IPv4 address in host byte order. */
static inline uint32_t ip_address_last_bits(const struct ip_address *address)
{
	const uint8_t *at = &address->bytes[12];

	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline bool ip_address_equal(const struct ip_address *a, const struct ip_address *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/** True when there is no address: all zero. */
static inline bool ip_address_is_none(const struct ip_address *address)
{
	static const struct ip_address none;

	return ip_address_equal(address, &none);
}

static inline bool transport_address_equal(const struct transport_address *a,
					   const struct transport_address *b)
{
	return ip_address_equal(&a->address, &b->address) && a->port == b->port;
}

/** True when the address lies in the prefix's network. Any thread. */
bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_address *address);

/** True when every address of `inner` lies in `outer`. Any thread. */
bool ip_prefix_covers(const struct ip_prefix *outer, const struct ip_prefix *inner);

/** The network of a prefix: its first address, without the host part. Any thread. */
struct ip_address ip_prefix_network(const struct ip_prefix *prefix);

/**
 * Reads an IPv4 prefix in CIDR notation ("10.0.0.1/24"); the host part is kept.
 * Returns false when the text is no such prefix. Any thread.
 */
bool ip_prefix_parse(const char *text, struct ip_prefix *prefix);

/** Writes an address as text ("192.0.2.1") into a buffer of IP_ADDRESS_TEXT_SIZE and returns it. */
const char *ip_address_text(const struct ip_address *address, char *text);

/** Writes address and port as text ("192.0.2.1:12345", "[2001:db8::1]:12345") into a buffer of
 * TRANSPORT_ADDRESS_TEXT_SIZE and returns it. */
const char *transport_address_text(const struct transport_address *address, char *text);

#endif
