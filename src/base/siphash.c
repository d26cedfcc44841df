/* SipHash-2-4; see siphash.h. */
#include "base/siphash.h"

enum { ROUNDS_FOR_A_WORD = 2, ROUNDS_AT_THE_END = 4 };

/* Up to eight bytes, the first one lowest. */
static uint64_t little_endian(const uint8_t *bytes, size_t count)
{
	uint64_t word = 0;

	while (count-- > 0)
		word = word << 8 | bytes[count];
	return word;
}

struct siphash_key siphash_key_of(const uint8_t bytes[16])
{
	return (struct siphash_key){{little_endian(bytes, 8), little_endian(bytes + 8, 8)}};
}

uint64_t siphash_2_4(const struct siphash_key *key, const void *message, size_t length)
{
	struct siphash hash = siphash_begin(key);
	const uint8_t *bytes = message;
	size_t left = length;

	for (; left >= 8; left -= 8, bytes += 8)
		siphash_take(&hash, little_endian(bytes, 8), ROUNDS_FOR_A_WORD);
	siphash_take(&hash, (uint64_t)length << 56 | little_endian(bytes, left), ROUNDS_FOR_A_WORD);
	return siphash_end(&hash, ROUNDS_AT_THE_END);
}
