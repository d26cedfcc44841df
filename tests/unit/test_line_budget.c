/* The budget of lines: a burst, and then as many a second as it fills up by. */
#include "control/line_budget.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static unsigned take_all(struct line_budget *budget, uint64_t now)
{
	unsigned taken = 0;

	while (line_budget_take(budget, now))
		taken++;
	return taken;
}

static void a_burst_and_no_more(void **state)
{
	struct line_budget budget = {0};

	(void)state;
	assert_int_equal(take_all(&budget, 1000000), LINE_BUDGET_BURST);
	assert_int_equal(take_all(&budget, 1000000), 0);
}

static void it_fills_up_slowly(void **state)
{
	struct line_budget budget = {0};
	uint64_t now = 1000000;
	unsigned taken = 0;

	(void)state;
	(void)take_all(&budget, now);
	for (unsigned i = 0; i < 10000; i++)
		taken += take_all(&budget, ++now);
	assert_int_equal(taken, 10 * LINE_BUDGET_PER_SECOND);
}

static void it_is_never_more_than_full(void **state)
{
	struct line_budget budget = {0};

	(void)state;
	(void)take_all(&budget, 1000000);
	assert_int_equal(take_all(&budget, 900000000), LINE_BUDGET_BURST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_and_no_more),
		cmocka_unit_test(it_fills_up_slowly),
		cmocka_unit_test(it_is_never_more_than_full),
	};

	return report_seed(cmocka_run_group_tests_name("line_budget", tests, NULL, NULL));
}
