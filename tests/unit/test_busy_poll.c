/* Whether a worker polls before it sleeps: when that pays, and when it must not. */
#include "worker/busy_poll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LIMIT = 100000 };

static struct busy_poll after_waits(unsigned count, uint64_t wait)
{
	struct busy_poll busy_poll;

	busy_poll_init(&busy_poll, LIMIT);
	while (count-- > 0)
		busy_poll_waited(&busy_poll, wait);
	return busy_poll;
}

static void not_before_it_has_waited_for_moments(void **state)
{
	struct busy_poll busy_poll = after_waits(0, 0);

	(void)state;
	assert_false(busy_poll_pays(&busy_poll));
	busy_poll = after_waits(1, LIMIT / 2);
	assert_false(busy_poll_pays(&busy_poll));
	busy_poll = after_waits(100, LIMIT / 2);
	assert_true(busy_poll_pays(&busy_poll));
	busy_poll = after_waits(100, LIMIT);
	assert_false(busy_poll_pays(&busy_poll));
}

/* Whoever has nothing to do is asleep: one long wait, however long, is polled through once. */
static void one_long_wait_ends_it(void **state)
{
	static const uint64_t waits[] = {8 * (uint64_t)LIMIT, 1000000000, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		struct busy_poll busy_poll = after_waits(100, LIMIT / 10);

		assert_true(busy_poll_pays(&busy_poll));
		busy_poll_waited(&busy_poll, waits[i]);
		assert_false(busy_poll_pays(&busy_poll));
		/* and it is forgotten after a few moments */
		for (int round = 0; round < 2 * BUSY_POLL_MEMORY; round++)
			busy_poll_waited(&busy_poll, LIMIT / 10);
		assert_true(busy_poll_pays(&busy_poll));
	}
}

static void carry(struct busy_poll *busy_poll, unsigned rounds, uint64_t size, uint64_t segments)
{
	while (rounds-- > 0)
		busy_poll_carried(busy_poll, size * segments, segments);
}

/* Bulk data is bulk data at any rate, and between its acknowledgments. */
static void not_during_bulk_transfers(void **state)
{
	(void)state;
	for (uint64_t segments = 1; segments <= 100; segments += 33) {
		struct busy_poll busy_poll = after_waits(100, 0);

		carry(&busy_poll, 100, 33, segments);
		assert_true(busy_poll_pays(&busy_poll));
		carry(&busy_poll, 10, 1472, segments);
		assert_false(busy_poll_pays(&busy_poll));
		for (int round = 0; round < 100; round++) {
			carry(&busy_poll, 1, 32, (segments + 1) / 2);
			carry(&busy_poll, 1, 1472, segments);
			assert_false(busy_poll_pays(&busy_poll));
		}
		carry(&busy_poll, 40, 132, segments);
		assert_true(busy_poll_pays(&busy_poll));
	}
}

static void never_when_switched_off(void **state)
{
	struct busy_poll busy_poll;

	(void)state;
	busy_poll_init(&busy_poll, 0);
	for (int round = 0; round < 100; round++) {
		busy_poll_waited(&busy_poll, 0);
		assert_false(busy_poll_pays(&busy_poll));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(not_before_it_has_waited_for_moments),
		cmocka_unit_test(one_long_wait_ends_it),
		cmocka_unit_test(not_during_bulk_transfers),
		cmocka_unit_test(never_when_switched_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
