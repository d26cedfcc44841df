/* The internet checksum against the slow one, and against sums worked out by hand. */
#include "packet/checksum.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* The sum as a number: the bytes are stored and read as the network sees them. */
static uint16_t as_stored(uint64_t sum)
{
	uint16_t folded = checksum_fold(sum);
	uint8_t bytes[2];

	memcpy(bytes, &folded, sizeof(bytes));
	return (uint16_t)(bytes[0] * 256 + bytes[1]);
}

static void the_example_of_rfc_1071(void **state)
{
	const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

	(void)state;
	assert_int_equal(as_stored(checksum_add(0, bytes, sizeof(bytes))), 0xddf2);
}

static void an_odd_last_byte_is_the_high_one(void **state)
{
	const uint8_t bytes[] = {0x12, 0x34, 0x56};

	(void)state;
	assert_int_equal(as_stored(checksum_add(0, bytes, 3)), 0x6834);
	assert_int_equal(as_stored(checksum_add(0, bytes, 1)), 0x1200);
}

static void nothing_adds_nothing(void **state)
{
	const uint8_t byte = 0xff;

	(void)state;
	assert_int_equal(checksum_fold(checksum_add(0, &byte, 0)), 0);
	assert_true(checksum_add(12345, &byte, 0) == 12345);
}

static void every_length_and_alignment(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (size_t length = 0; length <= 200; length++) {
		for (size_t shift = 0; shift < 8; shift++) {
			uint8_t bytes[208];
			uint8_t *copy;

			dice_fill(&dice, bytes, sizeof(bytes));
			/* a block that ends with the bytes: reading past them is noticed */
			copy = exact_copy(bytes, shift + length);
			assert_int_equal(as_stored(checksum_add(0, copy + shift, length)),
					 slow_sum(0, bytes + shift, length));
			free(copy);
		}
	}
}

static void pieces_of_even_length_add_up(void **state)
{
	struct dice dice = dice_for(__func__);
	uint8_t bytes[3000];

	(void)state;
	for (int round = 0; round < 2000; round++) {
		size_t length = dice_between(&dice, 0, sizeof(bytes));
		size_t done = 0;
		uint64_t sum = 0;

		dice_fill(&dice, bytes, length);
		while (done < length) {
			size_t piece = 2 * (size_t)dice_below(&dice, 200);

			if (piece > length - done)
				piece = length - done;
			sum = checksum_add(sum, bytes + done, piece);
			done += piece;
		}
		assert_int_equal(as_stored(sum), slow_sum(0, bytes, length));
	}
}

static void carries_are_not_lost(void **state)
{
	static const uint8_t fills[] = {0x00, 0x01, 0x80, 0xfe, 0xff};
	static uint8_t bytes[65535];

	(void)state;
	for (size_t i = 0; i < sizeof(fills); i++) {
		memset(bytes, fills[i], sizeof(bytes));
		for (size_t length = sizeof(bytes); length > sizeof(bytes) - 9; length--)
			assert_int_equal(as_stored(checksum_add(0, bytes, length)),
					 slow_sum(0, bytes, length));
	}
}

/* A sum near the top of its 64 bits goes round, and what goes round is added at the bottom. */
static void a_sum_that_overflows_is_carried_around(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 1000; round++) {
		uint8_t bytes[64];
		uint64_t start = UINT64_MAX - dice_below(&dice, 5);
		size_t length = dice_between(&dice, 1, sizeof(bytes));
		uint8_t start_bytes[8];

		dice_fill(&dice, bytes, sizeof(bytes));
		memcpy(start_bytes, &start, sizeof(start));
		assert_int_equal(as_stored(checksum_add(start, bytes, length)),
				 slow_sum(slow_sum(0, start_bytes, 8), bytes, length));
	}
}

/* Each byte alone makes the sum go round, so a carry lost anywhere is missed. */
static void every_byte_can_carry(void **state)
{
	const uint64_t start = UINT64_MAX;
	const uint8_t start_bytes[8] = {255, 255, 255, 255, 255, 255, 255, 255};

	(void)state;
	for (size_t at = 0; at < 24; at++) {
		for (size_t length = at + 1; length <= 24; length++) {
			uint8_t bytes[24] = {[0] = 0};

			bytes[at] = 3;
			assert_int_equal(as_stored(checksum_add(start, bytes, length)),
					 slow_sum(slow_sum(0, start_bytes, 8), bytes, length));
		}
	}
}

/* In one's complement arithmetic 65,535 is a second zero: only a sum of 0 folds to 0. */
static uint64_t slow_fold(uint64_t sum)
{
	return sum == 0 ? 0 : (sum - 1) % 0xffff + 1;
}

static void folding_carries_over_and_over(void **state)
{
	static const uint64_t words[] = {0, 1, 2, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff};

	(void)state;
	for (size_t i = 0; i < (size_t)8 * 8 * 8 * 8; i++) {
		uint64_t sum = words[i % 8] | words[i / 8 % 8] << 16 | words[i / 64 % 8] << 32 |
			       words[i / 512] << 48;

		assert_int_equal(checksum_fold(sum), slow_fold(sum));
	}
}

static void folding(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	assert_int_equal(checksum_fold(0), 0);
	assert_int_equal(checksum_fold(1), 1);
	assert_int_equal(checksum_fold(0xffff), 0xffff);
	assert_int_equal(checksum_fold(0x10000), 1);
	assert_int_equal(checksum_fold(0x1fffe), 0xffff);
	assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
	for (int round = 0; round < 100000; round++) {
		uint64_t sum = dice_roll(&dice) >> dice_below(&dice, 64);

		assert_int_equal(checksum_fold(sum), slow_fold(sum));
	}
}

static void pseudo_headers(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 10000; round++) {
		uint32_t source = (uint32_t)dice_roll(&dice);
		uint32_t destination = (uint32_t)dice_roll(&dice);
		uint32_t length = dice_below(&dice, 65536);
		const uint8_t none = 0;
		uint64_t sum = checksum_tcp_pseudo_header(network_order(source),
							  network_order(destination), length);
		/* slow_tcp_sum() takes the length from the segment, which is to be empty here */
		uint16_t addresses = slow_tcp_sum(source, destination, &none, 0);

		assert_int_equal(
			as_stored(sum),
			slow_sum(addresses,
				 (const uint8_t[]){(uint8_t)(length >> 8), (uint8_t)length}, 2));
	}
}

/* A SYN from 192.0.2.1:40000 to 198.51.100.2:80, its checksum worked out apart from this program.
 */
static void a_whole_segment(void **state)
{
	const uint8_t tcp[] = {0x9c, 0x40, 0x00, 0x50, 0x01, 0x02, 0x03, 0x04,
			       0x00, 0x00, 0x00, 0x00, 0x60, 0x02, 0xfa, 0xf0,
			       0x00, 0x00, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4};
	uint64_t sum = checksum_tcp_pseudo_header(network_order(0xc0000201),
						  network_order(0xc6336402), sizeof(tcp));

	(void)state;
	assert_int_equal(0xffff - as_stored(checksum_add(sum, tcp, sizeof(tcp))), 0x1068);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_rfc_1071),
		cmocka_unit_test(an_odd_last_byte_is_the_high_one),
		cmocka_unit_test(nothing_adds_nothing),
		cmocka_unit_test(every_length_and_alignment),
		cmocka_unit_test(pieces_of_even_length_add_up),
		cmocka_unit_test(carries_are_not_lost),
		cmocka_unit_test(a_sum_that_overflows_is_carried_around),
		cmocka_unit_test(every_byte_can_carry),
		cmocka_unit_test(folding),
		cmocka_unit_test(folding_carries_over_and_over),
		cmocka_unit_test(pseudo_headers),
		cmocka_unit_test(a_whole_segment),
	};

	return report_seed(cmocka_run_group_tests_name("checksum", tests, NULL, NULL));
}
