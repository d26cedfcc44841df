/* When coalesced packets are given up, and when they are tried again. */
#include "worker/coalescing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MINUTE = 60000 };

static struct coalescing given_up_at(uint64_t now)
{
	struct coalescing coalescing = {0};

	for (int refusals = 0; refusals < 3; refusals++)
		assert_false(coalescing_refused(&coalescing, now));
	assert_true(coalescing_refused(&coalescing, now));
	return coalescing;
}

static void more_than_three_refusals_in_a_row(void **state)
{
	struct coalescing coalescing = {0};

	(void)state;
	for (int refusals = 0; refusals < 3; refusals++) {
		assert_true(coalescing_may_try(&coalescing, 1000));
		assert_false(coalescing_refused(&coalescing, 1000));
	}
	assert_true(coalescing_may_try(&coalescing, 1000));
	assert_true(coalescing_refused(&coalescing, 1000));
	assert_false(coalescing_may_try(&coalescing, 1000));
}

static void one_that_is_taken_starts_the_count_anew(void **state)
{
	struct coalescing coalescing = {0};

	(void)state;
	for (int round = 0; round < 10; round++) {
		for (int refusals = 0; refusals < 3; refusals++)
			assert_false(coalescing_refused(&coalescing, 1000));
		coalescing_taken(&coalescing);
	}
	assert_true(coalescing_may_try(&coalescing, 1000));
}

static void tried_again_after_a_minute(void **state)
{
	struct coalescing coalescing = given_up_at(5000);

	(void)state;
	assert_false(coalescing_may_try(&coalescing, 5000 + MINUTE - 1));
	assert_true(coalescing_may_try(&coalescing, 5000 + MINUTE));
	coalescing_taken(&coalescing);
	assert_true(coalescing_may_try(&coalescing, 5000 + MINUTE));
	/* and all of its patience is back */
	assert_false(coalescing_refused(&coalescing, 5000 + MINUTE));
	assert_true(coalescing_may_try(&coalescing, 5000 + MINUTE));
}

/* The one that tried is enough, and nobody has to be told again. */
static void given_up_again_at_once(void **state)
{
	struct coalescing coalescing = given_up_at(5000);
	uint64_t now = 5000;

	(void)state;
	for (int minute = 0; minute < 5; minute++) {
		now += MINUTE;
		assert_true(coalescing_may_try(&coalescing, now));
		assert_false(coalescing_refused(&coalescing, now));
		assert_false(coalescing_may_try(&coalescing, now));
		assert_false(coalescing_may_try(&coalescing, now + MINUTE - 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_than_three_refusals_in_a_row),
		cmocka_unit_test(one_that_is_taken_starts_the_count_anew),
		cmocka_unit_test(tried_again_after_a_minute),
		cmocka_unit_test(given_up_again_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
