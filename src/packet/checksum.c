/* The internet checksum, eight bytes at a time (RFC 1071 section 2 explains why that is allowed).
 */
#include "packet/checksum.h"

#include <string.h>

static uint64_t add_with_carry(uint64_t sum, uint64_t word)
{
	sum += word;
	return sum + (sum < word);
}

uint64_t checksum_add(uint64_t sum, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	uint64_t low = 0, high = 0;
	uint64_t word;

	/* Halves of a word are summed apart, so that the loop needs no carry and can be vectorised:
	 * 2^32 additions would be needed to overflow one of them. */
	for (; length >= sizeof(word); at += sizeof(word), length -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		low += word & 0xffffffff;
		high += word >> 32;
	}
	sum = add_with_carry(sum, low);
	sum = add_with_carry(sum, high);
	if (length > 0) {
		word = 0;
		memcpy(&word, at, length);
		sum = add_with_carry(sum, word);
	}
	return sum;
}
