/* The signal to TCP that a queue stands: when it comes, how often, and when it must not. */
#include "worker/standing_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { BEGIN = 1000 };

static void no_signal_while_the_socket_takes_everything(void **state)
{
	struct standing_queue queue = {0};

	(void)state;
	for (uint64_t now = BEGIN; now < BEGIN + 1000; now++) {
		standing_queue_sent(&queue);
		assert_false(standing_queue_signal(&queue, now));
	}
}

static void signal_after_an_interval_that_never_saw_the_queue_empty(void **state)
{
	struct standing_queue queue = {0};
	uint64_t now;

	(void)state;
	for (now = BEGIN; now < BEGIN + STANDING_QUEUE_INTERVAL; now++) {
		standing_queue_blocked(&queue, now);
		assert_false(standing_queue_signal(&queue, now));
	}
	assert_true(standing_queue_signal(&queue, now));
	assert_false(standing_queue_signal(&queue, now));
}

static void an_empty_queue_begins_a_new_interval(void **state)
{
	struct standing_queue queue = {0};

	(void)state;
	standing_queue_blocked(&queue, BEGIN);
	standing_queue_emptied(&queue);
	assert_false(standing_queue_signal(&queue, BEGIN + 10 * STANDING_QUEUE_INTERVAL));
	standing_queue_blocked(&queue, BEGIN + 10 * STANDING_QUEUE_INTERVAL);
	assert_false(standing_queue_signal(&queue, BEGIN + 11 * STANDING_QUEUE_INTERVAL - 1));
	assert_true(standing_queue_signal(&queue, BEGIN + 11 * STANDING_QUEUE_INTERVAL));
}

/* The times between signals follow interval / sqrt(n), rounded to the whole root above. */
static void signals_come_faster_the_longer_it_stands(void **state)
{
	static const uint64_t waits[] = {100, 50, 50, 50, 33, 33, 33, 33, 33, 25};
	struct standing_queue queue = {0};
	uint64_t last = 0, now = BEGIN;

	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); now++) {
		standing_queue_blocked(&queue, now);
		if (!standing_queue_signal(&queue, now))
			continue;
		if (last != 0)
			assert_int_equal(now - last, waits[i++]);
		last = now;
	}
}

static void a_busy_processor_is_not_a_slow_link(void **state)
{
	struct standing_queue queue = {0};
	uint64_t now = BEGIN;

	(void)state;
	for (int round = 0; round < 10000; round++, now++) {
		if (round % 4 == 0)
			standing_queue_blocked(&queue, now);
		else
			standing_queue_sent(&queue);
		assert_true(round < 8 || !standing_queue_signal(&queue, now));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_signal_while_the_socket_takes_everything),
		cmocka_unit_test(signal_after_an_interval_that_never_saw_the_queue_empty),
		cmocka_unit_test(an_empty_queue_begins_a_new_interval),
		cmocka_unit_test(signals_come_faster_the_longer_it_stands),
		cmocka_unit_test(a_busy_processor_is_not_a_slow_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
