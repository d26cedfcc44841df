/* Monotonic seconds: never "never", and differences that no order of readings turns upside down. */
#include "base/clock.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void now_goes_with_the_clock_and_is_never_zero(void **state)
{
	struct timespec before, after;
	uint32_t now;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &before);
	now = monotonic_seconds();
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(now > 0);
	/* the coarse clock may be a tick behind; zero stands for "never", so all is one later */
	assert_in_range(now, (uint64_t)before.tv_sec, (uint64_t)after.tv_sec + 1);
}

static void differences(void **state)
{
	(void)state;
	assert_int_equal(seconds_since(100, 100), 0);
	assert_int_equal(seconds_since(100, 101), 1);
	assert_int_equal(seconds_since(100, 400), 300);
	/* another thread read the clock a moment later */
	assert_int_equal(seconds_since(101, 100), 0);
	assert_int_equal(seconds_since(UINT32_MAX, 0), 1);
	assert_int_equal(seconds_since(UINT32_MAX - 10, 9), 20);
	assert_int_equal(seconds_since(0, INT32_MAX), INT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(now_goes_with_the_clock_and_is_never_zero),
		cmocka_unit_test(differences),
	};

	return report_seed(cmocka_run_group_tests_name("monotonic", tests, NULL, NULL));
}
