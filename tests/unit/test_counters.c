/* Counters: their names, which scripts rely on, and one writer beside a reader. */
#include "base/counters.h"

#include "random_traffic.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A path from the top of the tree, where make runs the unit tests. */
#define PROMISED_NAMES "tests/counter-names.txt"

enum {
	MAX_PROMISED = 256,
};

static char promised[MAX_PROMISED][64];
static int promised_count;

static int read_promised_names(void **state)
{
	FILE *file = fopen(PROMISED_NAMES, "r");

	(void)state;
	if (file == NULL) {
		fprintf(stderr, "no %s here: run it from the top of the tree\n", PROMISED_NAMES);
		return -1;
	}
	for (char line[128]; promised_count < MAX_PROMISED && fgets(line, sizeof(line), file);) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '#')
			snprintf(promised[promised_count++], sizeof(promised[0]), "%.63s", line);
	}
	fclose(file);
	return 0;
}

static int times_promised(const char *name)
{
	int times = 0;

	for (int i = 0; i < promised_count; i++)
		times += strcmp(promised[i], name) == 0;
	return times;
}

static bool is_counter(const char *name)
{
	for (int i = 0; i < COUNTER_COUNT; i++) {
		if (strcmp(counter_name((enum counter)i), name) == 0)
			return true;
	}
	return false;
}

static void the_counters_are_those_that_are_promised(void **state)
{
	(void)state;
	for (int i = 0; i < COUNTER_COUNT; i++) {
		const char *name = counter_name((enum counter)i);

		if (times_promised(name) != 1)
			fail_msg("%s stands %d times in %s", name, times_promised(name),
				 PROMISED_NAMES);
	}
	for (int i = 0; i < promised_count; i++) {
		/* these are printed beside the counters: the end-to-end tests see them */
		if (strcmp(promised[i], "connections") != 0 &&
		    strcmp(promised[i], "connections_provisional") != 0 && !is_counter(promised[i]))
			fail_msg("%s is promised, and no counter has this name", promised[i]);
	}
}

/* Names are words that need no quoting; each has a meaning of its own. */
static void names_and_meanings(void **state)
{
	(void)state;
	for (int i = 0; i < COUNTER_COUNT; i++) {
		const char *name = counter_name((enum counter)i);

		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"),
				 strlen(name));
		assert_true(strlen(name) > 0);
		assert_true(strlen(counter_meaning((enum counter)i)) > 0);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(name, counter_name((enum counter)k));
	}
	assert_string_equal(counter_name(COUNTER_in_calls), "in_calls");
	assert_string_equal(counter_name(COUNTER_discard_out_send_error), "discard_out_send_error");
}

static void counters_do_not_touch_each_other(void **state)
{
	static struct counters counters;

	(void)state;
	for (int i = 0; i < COUNTER_COUNT; i++)
		counter_add(&counters, (enum counter)i, (uint64_t)i + 1);
	for (int i = 0; i < COUNTER_COUNT; i++)
		counter_add(&counters, (enum counter)i, UINT32_MAX);
	for (int i = 0; i < COUNTER_COUNT; i++)
		assert_true(counter_read(&counters, (enum counter)i) ==
			    (uint64_t)i + 1 + UINT32_MAX);
}

/* Workers write blocks of their own: no two may share a cache line. */
static void blocks_do_not_share_a_cache_line(void **state)
{
	static struct counters blocks[2];

	(void)state;
	assert_int_equal((uintptr_t)&blocks[0] % 64, 0);
	assert_int_equal((uintptr_t)&blocks[1] % 64, 0);
}

enum {
	ADDITIONS = 1000000,
};

static void *add(void *argument)
{
	for (int i = 0; i < ADDITIONS; i++)
		counter_add(argument, COUNTER_in_bytes, 3);
	return NULL;
}

static void a_reader_sees_a_counter_only_grow(void **state)
{
	static struct counters counters;
	uint64_t previous = 0;
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, add, &counters), 0);
	while (previous < (uint64_t)3 * ADDITIONS) {
		uint64_t now = counter_read(&counters, COUNTER_in_bytes);

		if (now < previous || now % 3 != 0)
			break;
		previous = now;
	}
	pthread_join(writer, NULL);
	assert_true(previous == (uint64_t)3 * ADDITIONS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_counters_are_those_that_are_promised),
		cmocka_unit_test(names_and_meanings),
		cmocka_unit_test(counters_do_not_touch_each_other),
		cmocka_unit_test(blocks_do_not_share_a_cache_line),
		cmocka_unit_test(a_reader_sees_a_counter_only_grow),
	};

	return report_seed(
		cmocka_run_group_tests_name("counters", tests, read_promised_names, NULL));
}
