/* Which newcomers are remembered as turned away, and how long. */
#include "peers/turned_away.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct turned_away table;

static int open_table(void **state)
{
	(void)state;
	return turned_away_open(&table) ? 0 : -1;
}

static int close_table(void **state)
{
	(void)state;
	turned_away_close(&table);
	return 0;
}

static bool comes(uint64_t hash, uint64_t milliseconds)
{
	return turned_away_comes_again(&table, hash, milliseconds);
}

/* Also where the time in a word goes round, after 65.536 s. */
static void half_a_second_to_eight(void **state)
{
	struct dice dice = dice_for("half_a_second_to_eight");

	(void)state;
	for (uint64_t begin = 1; begin < 200000; begin += 777) {
		uint64_t hash = dice_roll(&dice);

		assert_false(comes(hash, begin));
		assert_false(comes(hash, begin));
		assert_false(comes(hash, begin + 490));
		assert_true(comes(hash, begin + 580));
		assert_true(comes(hash, begin + 1000));
		assert_true(comes(hash, begin + 7930));
		assert_false(comes(hash, begin + 8100));
		/* and that counts as the first time */
		assert_false(comes(hash, begin + 8200));
		assert_true(comes(hash, begin + 8800));
	}
}

static void others_do_not_matter(void **state)
{
	struct dice dice = dice_for("others_do_not_matter");

	(void)state;
	for (int i = 0; i < 100000; i++)
		assert_false(comes(dice_roll(&dice), 1000));
	for (int i = 0; i < 100000; i++)
		assert_false(comes(dice_roll(&dice), 2000));
}

/* As TCP's second SYN does after a second, while 100,000 others a second are turned away. */
static void who_comes_in_a_flood_is_remembered(void **state)
{
	enum { WAITING = 1000, A_MILLISECOND = 100 };

	struct dice dice = dice_for("who_comes_in_a_flood_is_remembered");
	uint64_t waiting[WAITING];
	uint32_t forgotten = 0;

	(void)state;
	for (uint64_t now = 5000; now < 8000; now++) {
		for (int i = 0; i < A_MILLISECOND; i++)
			assert_false(comes(dice_roll(&dice), now));
		if (now >= 6000 && now < 7000) {
			waiting[now - 6000] = dice_roll(&dice);
			assert_false(comes(waiting[now - 6000], now));
		} else if (now >= 7000) {
			forgotten += !comes(waiting[now - 7000], now);
		}
	}
	assert_in_range(forgotten, 0, WAITING / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(half_a_second_to_eight, open_table, close_table),
		cmocka_unit_test_setup_teardown(others_do_not_matter, open_table, close_table),
		cmocka_unit_test_setup_teardown(who_comes_in_a_flood_is_remembered, open_table,
						close_table),
	};

	return report_seed(cmocka_run_group_tests(tests, NULL, NULL));
}
