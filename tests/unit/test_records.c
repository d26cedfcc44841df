/* Records: a control datagram's facts arrive, and no more of its bytes than there is room for. */
#include "exchange/records.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LEFTOVER = 0xa5 };

/* A record in a block of exactly its size, with what an earlier one left in it. */
static struct control_record *used_record(void)
{
	struct control_record *record = malloc(sizeof(*record));

	assert_non_null(record);
	memset(record, LEFTOVER, sizeof(*record));
	return record;
}

static void every_fact_arrives(void **state)
{
	struct dice dice = dice_for(__func__);
	struct transport_address source = random_peer(&dice).remote;
	struct ip_address own_address = ipv4_address(0xc0000201);
	struct control_record *record = used_record();
	const uint8_t payload[20] = {0x55, 0x45, 1};

	(void)state;
	control_record_fill(record, payload, sizeof(payload), &source, &own_address, 0x1234, 0xfedc,
			    UINT64_MAX - 1);
	assert_true(transport_address_equal(&record->source, &source));
	assert_true(ip_address_equal(&record->own_address, &own_address));
	assert_int_equal(record->own_port, 0x1234);
	assert_int_equal(record->worker, 0xfedc);
	assert_true(record->nanoseconds == UINT64_MAX - 1);
	assert_int_equal(record->length, 20);
	assert_memory_equal(record->bytes, payload, sizeof(payload));
	free(record);
}

static void check_length(struct dice *dice, const uint8_t *payload, size_t length)
{
	size_t there = length < 256 ? length : 256;
	struct transport_address source = random_peer(dice).remote;
	struct control_record *record = used_record();
	/* a block that ends where the payload does, or where reading must */
	uint8_t *exact = exact_copy(payload, there);

	control_record_fill(record, exact, length, &source, &source.address, 1, 2, 3);
	assert_int_equal(record->length, length);
	assert_int_equal(control_record_available(record), there);
	assert_memory_equal(record->bytes, payload, there);
	for (size_t i = there; i < sizeof(record->bytes); i++)
		assert_int_equal(record->bytes[i], LEFTOVER);
	free(exact);
	free(record);
}

static void no_more_than_256_bytes_are_read(void **state)
{
	struct dice dice = dice_for(__func__);
	uint8_t payload[256];

	(void)state;
	dice_fill(&dice, payload, sizeof(payload));
	for (size_t length = 1; length <= 600; length++)
		check_length(&dice, payload, length);
	check_length(&dice, payload, 1472);
	check_length(&dice, payload, 65507);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_fact_arrives),
		cmocka_unit_test(no_more_than_256_bytes_are_read),
	};

	return report_seed(cmocka_run_group_tests_name("records", tests, NULL, NULL));
}
