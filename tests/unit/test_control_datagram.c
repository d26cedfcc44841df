/* The header of control datagrams, byte by byte (rule W8). */
#include "packet/control_datagram.h"

#include "packet/decapsulate.h"
#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	HEADER = 20,
	TOTAL = 0x0123, /* both bytes count */
};

/* Written out by hand: type 7, the eight bytes 0xa0 to 0xa7, TOTAL bytes in all. */
static const uint8_t example[HEADER] = {0x55, 0x45, 1,    7,    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5,
					0xa6, 0xa7, 0x00, 0x00, 0x01, 0x23, 0x00, 0x00, 0x00, 0x00};

static const struct control_header example_fields = {
	.type = 7,
	.specific = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7},
	.total_length = TOTAL,
};

static void assert_same_fields(const struct control_header *got,
			       const struct control_header *expected)
{
	assert_int_equal(got->type, expected->type);
	assert_memory_equal(got->specific, expected->specific, sizeof(expected->specific));
	assert_int_equal(got->total_length, expected->total_length);
}

/* Parses a block that ends where the available bytes do. A header that is refused fills nothing. */
static enum control_header_verdict parse(const uint8_t *bytes, size_t available, size_t total,
					 struct control_header *header)
{
	uint8_t *exact = exact_copy(bytes, available);
	const struct control_header untouched = {0xee, {0xee}, 0xeeee};
	enum control_header_verdict verdict;

	*header = untouched;
	verdict = control_header_parse(exact, available, total, header);
	if (verdict != CONTROL_HEADER_OK)
		assert_same_fields(header, &untouched);
	free(exact);
	return verdict;
}

static void the_example(void **state)
{
	struct control_header header;
	uint8_t *bytes = malloc(HEADER);

	(void)state;
	assert_non_null(bytes);
	assert_int_equal(parse(example, HEADER, TOTAL, &header), CONTROL_HEADER_OK);
	assert_same_fields(&header, &example_fields);
	memset(bytes, 0xff, HEADER);
	control_header_build(&example_fields, bytes);
	assert_memory_equal(bytes, example, HEADER);
	free(bytes);
}

/* What a byte is there for when it is not the example's. */
static enum control_header_verdict verdict_for(size_t at)
{
	if (at < 2)
		return CONTROL_HEADER_BAD_MAGIC;
	if (at == 2)
		return CONTROL_HEADER_UNKNOWN_VERSION;
	if (at < 12)
		return CONTROL_HEADER_OK;
	if (at == 14 || at == 15)
		return CONTROL_HEADER_BAD_LENGTH;
	return CONTROL_HEADER_NOT_ZERO;
}

static void every_byte_varied(void **state)
{
	(void)state;
	for (size_t at = 0; at < HEADER; at++) {
		for (unsigned value = 0; value < 256; value++) {
			struct control_header expected = example_fields, header;
			enum control_header_verdict verdict = verdict_for(at);
			uint8_t bytes[HEADER];

			memcpy(bytes, example, HEADER);
			bytes[at] = (uint8_t)value;
			if (value == example[at])
				verdict = CONTROL_HEADER_OK;
			assert_int_equal(parse(bytes, HEADER, TOTAL, &header), verdict);
			if (verdict != CONTROL_HEADER_OK)
				continue;
			if (at == 3)
				expected.type = (uint8_t)value;
			else if (at >= 4 && at < 12)
				expected.specific[at - 4] = (uint8_t)value;
			assert_same_fields(&header, &expected);
		}
	}
}

/* Of several faults the one that is told: a version may give all that follows another meaning. */
static void the_first_fault_is_told(void **state)
{
	static const size_t faults[] = {0, 2, 12, 14}; /* in the order of the verdicts */
	struct control_header header;

	(void)state;
	for (unsigned chosen = 1; chosen < 16; chosen++) {
		size_t first = (size_t)__builtin_ctz(chosen);
		uint8_t bytes[HEADER];

		memcpy(bytes, example, HEADER);
		for (size_t i = 0; i < 4; i++)
			if (chosen & 1u << i)
				bytes[faults[i]] ^= 0x40;
		assert_int_equal(parse(bytes, HEADER, TOTAL, &header), verdict_for(faults[first]));
		assert_int_equal(parse(bytes, HEADER - 1, TOTAL, &header),
				 CONTROL_HEADER_TOO_SHORT);
	}
}

static void every_length(void **state)
{
	uint8_t bytes[256] = {0};

	(void)state;
	memset(bytes + HEADER, 0xff, sizeof(bytes) - HEADER);
	memcpy(bytes, example, HEADER);
	for (size_t total = 1; total <= 70000; total++) {
		size_t available = total < 256 ? total : 256;
		enum control_header_verdict stated = total < HEADER    ? CONTROL_HEADER_TOO_SHORT
						     : total <= 0xffff ? CONTROL_HEADER_OK
								       : CONTROL_HEADER_BAD_LENGTH;
		struct control_header header;

		bytes[14] = (uint8_t)(total >> 8);
		bytes[15] = (uint8_t)total;
		assert_int_equal(parse(bytes, available, total, &header), stated);
		if (stated != CONTROL_HEADER_OK)
			continue;
		assert_int_equal(header.total_length, total);
		if (total > HEADER)
			assert_int_equal(parse(bytes, available - 1, total - 1, &header),
					 CONTROL_HEADER_BAD_LENGTH);
		assert_int_equal(parse(bytes, available, total + 1, &header),
				 CONTROL_HEADER_BAD_LENGTH);
		assert_int_equal(parse(bytes, available, total + 0x10000, &header),
				 CONTROL_HEADER_BAD_LENGTH);
	}
}

/* Neither number alone lets anything be read that is not there. */
static void less_than_a_header(void **state)
{
	struct control_header header;

	(void)state;
	for (size_t length = 1; length < HEADER; length++) {
		assert_int_equal(parse(example, length, TOTAL, &header), CONTROL_HEADER_TOO_SHORT);
		assert_int_equal(parse(example, HEADER, length, &header), CONTROL_HEADER_TOO_SHORT);
	}
	assert_int_equal(control_header_parse(NULL, 0, 0, &header), CONTROL_HEADER_TOO_SHORT);
	assert_int_equal(control_header_parse(NULL, 0, TOTAL, &header), CONTROL_HEADER_TOO_SHORT);
}

static void round_trips(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 100000; round++) {
		struct control_header fields = {
			.type = (uint8_t)dice_roll(&dice),
			.total_length = (uint16_t)dice_between(&dice, HEADER, 0xffff),
		};
		struct control_header header;
		uint8_t bytes[HEADER];

		dice_fill(&dice, fields.specific, sizeof(fields.specific));
		dice_fill(&dice, bytes, sizeof(bytes));
		control_header_build(&fields, bytes);
		/* rule W3: the worker tells it from TCP before anybody looks at its header */
		assert_int_equal(payload_classify(bytes, fields.total_length), PAYLOAD_IS_CONTROL);
		assert_int_equal(parse(bytes, HEADER, fields.total_length, &header),
				 CONTROL_HEADER_OK);
		assert_same_fields(&header, &fields);
	}
}

/* Random bytes with a good beginning now and then: what is taken is what would be built. */
static void what_is_taken_is_what_is_built(void **state)
{
	struct dice dice = dice_for(__func__);
	unsigned taken = 0;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		struct control_header header;
		uint8_t bytes[HEADER], built[HEADER];
		size_t total = dice_once_in(&dice, 2) ? TOTAL : dice_below(&dice, 1500);

		memcpy(bytes, example, HEADER);
		for (uint32_t flips = dice_below(&dice, 4); flips > 0; flips--)
			bytes[dice_below(&dice, HEADER)] = (uint8_t)dice_roll(&dice);
		if (parse(bytes, HEADER, total, &header) != CONTROL_HEADER_OK)
			continue;
		control_header_build(&header, built);
		assert_memory_equal(built, bytes, HEADER);
		taken++;
	}
	assert_true(taken > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example),
		cmocka_unit_test(every_byte_varied),
		cmocka_unit_test(the_first_fault_is_told),
		cmocka_unit_test(every_length),
		cmocka_unit_test(less_than_a_header),
		cmocka_unit_test(round_trips),
		cmocka_unit_test(what_is_taken_is_what_is_built),
	};

	return report_seed(cmocka_run_group_tests_name("control datagram", tests, NULL, NULL));
}
