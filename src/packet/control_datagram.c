/* Control datagrams: see control_datagram.h. */
#include "packet/control_datagram.h"

#include "packet/headers.h"

_Static_assert((int)CONTROL_HEADER_SIZE >= (int)TCP_MIN_HEADER_SIZE &&
		       (int)CONTROL_ZERO == (int)TCP_DATA_OFFSET,
	       "a control datagram is told from TCP by its data offset");

enum control_header_verdict control_header_parse(const uint8_t *bytes, size_t available,
						 size_t total_length, struct control_header *header)
{
	if (available < CONTROL_HEADER_SIZE || total_length < CONTROL_HEADER_SIZE)
		return CONTROL_HEADER_TOO_SHORT;
	if (load_be16(bytes + CONTROL_MAGIC) != CONTROL_MAGIC_VALUE)
		return CONTROL_HEADER_BAD_MAGIC;
	if (bytes[CONTROL_VERSION] != CONTROL_VERSION_VALUE)
		return CONTROL_HEADER_UNKNOWN_VERSION;
	if (load_be16(bytes + CONTROL_ZERO) != 0 || load_be32(bytes + CONTROL_RESERVED) != 0)
		return CONTROL_HEADER_NOT_ZERO;
	if (load_be16(bytes + CONTROL_TOTAL_LENGTH) != total_length)
		return CONTROL_HEADER_BAD_LENGTH;
	header->type = bytes[CONTROL_TYPE];
	memcpy(header->specific, bytes + CONTROL_SPECIFIC, CONTROL_SPECIFIC_SIZE);
	header->total_length = (uint16_t)total_length;
	return CONTROL_HEADER_OK;
}

void control_header_build(const struct control_header *header, uint8_t *bytes)
{
	memset(bytes, 0, CONTROL_HEADER_SIZE);
	store_be16(bytes + CONTROL_MAGIC, CONTROL_MAGIC_VALUE);
	bytes[CONTROL_VERSION] = CONTROL_VERSION_VALUE;
	bytes[CONTROL_TYPE] = header->type;
	memcpy(bytes + CONTROL_SPECIFIC, header->specific, CONTROL_SPECIFIC_SIZE);
	store_be16(bytes + CONTROL_TOTAL_LENGTH, header->total_length);
}
