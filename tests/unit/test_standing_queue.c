/* When a queue that never runs empty is to be told of: CoDel's law, against the slow reading of it. */
#include "standing_queue.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
	START = 5000, /* any time */
	INTERVAL = 100,
};

static void a_queue_that_is_not_full_is_left_alone(void **state)
{
	struct standing_queue queue = {0};

	(void)state;
	for (uint64_t now = START; now < START + 10000; now++) {
		standing_queue_sent(&queue);
		assert_false(standing_queue_signal(&queue, now));
		if (now % 50 == 0)
			standing_queue_emptied(&queue);
	}
}

static void the_first_signal_comes_after_an_interval(void **state)
{
	struct standing_queue queue = {0};

	(void)state;
	for (uint64_t now = START; now < START + INTERVAL; now++) {
		standing_queue_blocked(&queue, now);
		assert_false(standing_queue_signal(&queue, now));
	}
	assert_true(standing_queue_signal(&queue, START + INTERVAL));
	/* one segment, not every segment */
	assert_false(standing_queue_signal(&queue, START + INTERVAL));
}

/* RFC 8289 section 4.2: the interval over the square root of how many there were. */
static void signals_come_in_ever_shorter_intervals(void **state)
{
	struct standing_queue queue = {0};
	uint64_t now = START, expected = START + INTERVAL;

	(void)state;
	standing_queue_blocked(&queue, now);
	for (uint32_t signals = 1; signals < 400; signals++) {
		uint32_t root = 1;

		while (root * root < signals)
			root++;
		for (; now < expected; now++)
			assert_false(standing_queue_signal(&queue, now));
		assert_true(standing_queue_signal(&queue, now));
		expected = now + INTERVAL / root;
	}
}

static void a_queue_that_ran_empty_begins_anew(void **state)
{
	struct standing_queue queue = {0};

	(void)state;
	standing_queue_blocked(&queue, START);
	for (uint64_t now = START; now < START + 3000; now++)
		(void)standing_queue_signal(&queue, now);
	standing_queue_emptied(&queue);
	for (uint64_t now = START + 3000; now < START + 6000; now++)
		assert_false(standing_queue_signal(&queue, now));
	standing_queue_blocked(&queue, START + 6000);
	assert_false(standing_queue_signal(&queue, START + 6099));
	assert_true(standing_queue_signal(&queue, START + 6100));
	/* as seldom as at first */
	assert_false(standing_queue_signal(&queue, START + 6199));
	assert_true(standing_queue_signal(&queue, START + 6200));
}

static void being_full_again_does_not_put_it_off(void **state)
{
	struct standing_queue queue = {0};

	(void)state;
	standing_queue_blocked(&queue, START);
	standing_queue_blocked(&queue, START + 90);
	assert_true(standing_queue_signal(&queue, START + INTERVAL));
}

/* The queue stands because the processor is busy: the socket is hardly ever full. */
static void a_queue_whose_socket_has_room_is_left_alone(void **state)
{
	struct standing_queue queue = {0};

	(void)state;
	for (uint64_t now = START; now < START + 10000; now++) {
		if (now % 10 == 0)
			standing_queue_blocked(&queue, now);
		else
			standing_queue_sent(&queue);
		assert_true(now == START || !standing_queue_signal(&queue, now));
	}
}

/* Neither a long good time nor a long bad one makes it blind for what is now. */
static void the_balance_turns_soon(void **state)
{
	struct standing_queue queue = {0};
	bool has_signalled = false;
	uint64_t now = START;

	(void)state;
	for (int round = 0; round < 100000; round++)
		standing_queue_sent(&queue);
	for (uint64_t end = now + 1000; now < end; now++) {
		standing_queue_blocked(&queue, now);
		has_signalled = has_signalled || standing_queue_signal(&queue, now);
	}
	assert_true(has_signalled);
	for (int round = 0; round < 100000; round++)
		standing_queue_blocked(&queue, now);
	for (int round = 0; round < 100; round++)
		standing_queue_sent(&queue);
	assert_false(standing_queue_signal(&queue, now + 100000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_queue_that_is_not_full_is_left_alone),
		cmocka_unit_test(the_first_signal_comes_after_an_interval),
		cmocka_unit_test(signals_come_in_ever_shorter_intervals),
		cmocka_unit_test(a_queue_that_ran_empty_begins_anew),
		cmocka_unit_test(being_full_again_does_not_put_it_off),
		cmocka_unit_test(a_queue_whose_socket_has_room_is_left_alone),
		cmocka_unit_test(the_balance_turns_soon),
	};

	return report_seed(cmocka_run_group_tests_name("standing queue", tests, NULL, NULL));
}
