/*
 * The header that all control datagrams share (rule W8). Pure: no descriptor, no clock.
 *
 * Theory of operation. The fixed part is 20 bytes, all numbers big-endian. Its zero where TCP has
 * the data offset is what makes a program that knows no control datagrams take it for no TCP. What
 * follows the header is as its type says. A version is judged before everything that it may give
 * another meaning.
 */
#ifndef UDP_ENCAP_TUN_CONTROL_DATAGRAM_H
#define UDP_ENCAP_TUN_CONTROL_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
	CONTROL_HEADER_SIZE = 20,
	CONTROL_MAGIC = 0, /* two bytes */
	CONTROL_VERSION = 2,
	CONTROL_TYPE = 3,
	CONTROL_SPECIFIC = 4,      /* eight bytes of the type's own */
	CONTROL_ZERO = 12,         /* two bytes; TCP_DATA_OFFSET is the first of them */
	CONTROL_TOTAL_LENGTH = 14, /* of the datagram's payload, header included */
	CONTROL_RESERVED = 16,     /* four bytes, zero in version 1 */

	CONTROL_SPECIFIC_SIZE = 8,
	CONTROL_MAGIC_VALUE = 0x5545,
	CONTROL_VERSION_VALUE = 1,
};

/** What differs between the headers of two datagrams. */
struct control_header {
	uint8_t type;
	uint8_t specific[CONTROL_SPECIFIC_SIZE]; /* as on the wire: their meaning is the type's */
	uint16_t total_length;                   /* bytes, header included; host byte order */
};

/** What is wrong with a header, in the order in which it is looked at. */
enum control_header_verdict {
	CONTROL_HEADER_OK,
	CONTROL_HEADER_TOO_SHORT, /* less than a header */
	CONTROL_HEADER_BAD_MAGIC,
	CONTROL_HEADER_UNKNOWN_VERSION,
	CONTROL_HEADER_NOT_ZERO,   /* a byte that is zero in this version */
	CONTROL_HEADER_BAD_LENGTH, /* states another length than the datagram's */
};

/**
 * Reads a control datagram's header. Any type is fine here. Any thread.
 * @bytes: the payload's first ones, at any alignment
 * @available: how many of them are there; no others are read
 * @total_length: of the payload as it was received, in bytes; less may be available
 * @header: filled when the answer is CONTROL_HEADER_OK, else left as it is
 */
enum control_header_verdict control_header_parse(const uint8_t *bytes, size_t available,
						 size_t total_length,
						 struct control_header *header);

/**
 * Writes a control datagram's header. Any thread.
 * @header: its total_length is CONTROL_HEADER_SIZE at least
 * @bytes: room for CONTROL_HEADER_SIZE bytes, all of which are written
 */
void control_header_build(const struct control_header *header, uint8_t *bytes);

#endif
