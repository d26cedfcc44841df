/* Counters: their names, which scripts rely on, and one writer beside a reader. */
#include "base/counters.h"

#include "random_traffic.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* What is printed is read by scripts: a name may be added, none may vanish. */
static const char *const promised_names[] = {
	"in_calls",
	"in_messages",
	"in_gro_messages",
	"in_segments",
	"in_bytes",
	"in_packets",
	"in_super_packets",
	"in_keepalives",
	"out_packets",
	"out_super_packets",
	"out_segments",
	"out_bytes",
	"out_messages",
	"out_gso_messages",
	"out_calls",
	"keepalives_sent",
	"connections_made",
	"connections_expired",
	"connections_refused",
	"connections_dropped",
	"quarantine_cut_short",
	"backpressure_udp",
	"backpressure_tun",
	"gso_fallbacks",
	"icmp_sent",
	"icmp_suppressed",
	"discard_in_malformed",
	"discard_in_control",
	"discard_in_no_address",
	"discard_in_refused",
	"discard_in_unsolicited",
	"discard_in_truncated",
	"discard_in_tunnel_down",
	"discard_in_write_error",
	"discard_out_not_ipv4",
	"discard_out_not_tcp",
	"discard_out_ip_options",
	"discard_out_fragment",
	"discard_out_length",
	"discard_out_malformed_tcp",
	"discard_out_no_address",
	"discard_out_unknown_destination",
	"discard_out_not_remembered",
	"discard_out_too_big",
	"discard_out_unreachable",
	"discard_out_refused_locally",
	"discard_out_send_error",
};

static void every_promised_name_is_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(promised_names) / sizeof(promised_names[0]); i++) {
		int found = 0;

		for (int counter = 0; counter < COUNTER_COUNT; counter++)
			found += strcmp(counter_name((enum counter)counter), promised_names[i]) ==
				 0;
		if (found != 1)
			fail_msg("there are %d counters called %s", found, promised_names[i]);
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
		cmocka_unit_test(every_promised_name_is_there),
		cmocka_unit_test(names_and_meanings),
		cmocka_unit_test(counters_do_not_touch_each_other),
		cmocka_unit_test(blocks_do_not_share_a_cache_line),
		cmocka_unit_test(a_reader_sees_a_counter_only_grow),
	};

	return report_seed(cmocka_run_group_tests_name("counters", tests, NULL, NULL));
}
