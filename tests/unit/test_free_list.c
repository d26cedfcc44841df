/* The list of free places: each is one thread's at a time, and none is lost. */
#include "peers/free_list.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum {
	PLACES = 6,
	THREADS = 3,
	HELD = 3, /* by each thread: more than there are at times */
	MILLISECONDS = 300,
};

static struct {
	uint64_t before;
	_Atomic uint32_t link;
	_Atomic bool is_taken;
} places[PLACES];

static struct free_list list;
static _Atomic bool is_over;
static _Atomic uint32_t taken_twice;

static int start(void **state)
{
	(void)state;
	memset(places, 0, sizeof(places));
	free_list_init(&list, &places[0].link, sizeof(places[0]), PLACES);
	return 0;
}

static void take_all(void)
{
	bool is_taken[PLACES] = {false};

	for (uint32_t i = 0; i < PLACES; i++) {
		uint32_t place = free_list_take(&list);

		assert_in_range(place, 0, PLACES - 1);
		assert_false(is_taken[place]);
		is_taken[place] = true;
	}
	assert_int_equal(free_list_take(&list), FREE_LIST_IS_EMPTY);
}

static void places_are_touched_in_order_and_used_again(void **state)
{
	(void)state;
	assert_int_equal(free_list_touched(&list), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(free_list_take(&list), i);
	free_list_give(&list, 1);
	free_list_give(&list, 0);
	assert_int_equal(free_list_take(&list), 0);
	assert_int_equal(free_list_take(&list), 1);
	assert_int_equal(free_list_touched(&list), 3);
	for (uint32_t i = 0; i < 3; i++)
		free_list_give(&list, i);
	take_all();
	for (uint32_t i = 0; i < PLACES; i++)
		free_list_give(&list, i);
	take_all();
}

static void *take_and_give(void *argument)
{
	while (!atomic_load(&is_over)) {
		uint32_t held[HELD];

		for (size_t i = 0; i < HELD; i++) {
			held[i] = free_list_take(&list);
			if (held[i] != FREE_LIST_IS_EMPTY &&
			    atomic_exchange(&places[held[i]].is_taken, true))
				atomic_fetch_add(&taken_twice, 1);
		}
		/* in the order of taking: what was the head is the head again, over another one */
		for (size_t i = HELD; i-- > 0;) {
			uint32_t place = held[i == 0 ? HELD - 1 : i - 1];

			if (place == FREE_LIST_IS_EMPTY)
				continue;
			atomic_store(&places[place].is_taken, false);
			free_list_give(&list, place);
		}
	}
	return argument;
}

static void a_place_is_one_threads_at_a_time(void **state)
{
	const struct timespec wait = {.tv_nsec = MILLISECONDS * 1000000L};
	pthread_t threads[THREADS];

	(void)state;
	atomic_store(&is_over, false);
	atomic_store(&taken_twice, 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, NULL), 0);
	nanosleep(&wait, NULL);
	atomic_store(&is_over, true);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(taken_twice, 0);
	take_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(places_are_touched_in_order_and_used_again, start),
		cmocka_unit_test_setup(a_place_is_one_threads_at_a_time, start),
	};

	return cmocka_run_group_tests_name("free_list", tests, NULL, NULL);
}
