/*
 * The internet checksum (RFC 1071). Sums are kept unfolded in 64 bits, in the byte order of the
 * memory they were read from: adding and folding are independent of the machine's byte order.
 */
#ifndef UDP_ENCAP_TUN_CHECKSUM_H
#define UDP_ENCAP_TUN_CHECKSUM_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Adds bytes to a sum. Only the last piece of a message may have an odd length.
 * @sum: what checksum_add() returned for the pieces before, 0 for the first
 */
uint64_t checksum_add(uint64_t sum, const void *bytes, size_t length);

/** Folds a sum to 16 bits, not complemented, ready to be stored as it is. */
static inline uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/**
 * The sum of the TCP pseudo-header (RFC 9293 section 3.1) over IPv4.
 * @source, @destination: network byte order
 * @tcp_length: TCP header and data in bytes
 */
static inline uint64_t checksum_tcp_pseudo_header(uint32_t source, uint32_t destination,
						  uint32_t tcp_length)
{
	return (uint64_t)source + destination + htonl(IPPROTO_TCP) + htonl(tcp_length);
}

#endif
