/* The log: one line for each event, its level in front, nothing below the threshold. */
#include "base/log.h"

#include "capture.h"
#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static struct capture written;

static void one_line_with_its_level(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_DEBUG);
	capture_begin(&written);
	log_error("port %d is taken", 12345);
	log_warning("careful");
	log_info("ready: %s", "tun0");
	log_debug("100 %%");
	capture_end(&written);
	assert_string_equal(written.output, "");
	assert_string_equal(written.errors, "udp-encap-tun: error: port 12345 is taken\n"
					    "udp-encap-tun: warning: careful\n"
					    "udp-encap-tun: info: ready: tun0\n"
					    "udp-encap-tun: debug: 100 %\n");
}

static void nothing_below_the_threshold(void **state)
{
	(void)state;
	for (int threshold = LOG_LEVEL_ERROR; threshold <= LOG_LEVEL_DEBUG; threshold++) {
		log_set_level((enum log_level)threshold);
		capture_begin(&written);
		for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
			log_line((enum log_level)level, "x");
		capture_end(&written);
		assert_int_equal(count_lines(written.errors), threshold + 1);
	}
}

/* What --log-peers asks for is written at every level: it is a record, not a message. */
static void records_are_exempt(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	capture_begin(&written);
	log_record("peer %s came", "203.0.113.7:12345");
	capture_end(&written);
	assert_string_equal(written.errors, "udp-encap-tun: info: peer 203.0.113.7:12345 came\n");
}

/* RFC 3339, in UTC, the seconds of the moment in which the line is made. */
static void the_time_in_front(void **state)
{
	time_t before, after;
	struct tm utc = {0};
	const char *rest;

	(void)state;
	log_set_level(LOG_LEVEL_INFO);
	log_show_time(true);
	capture_begin(&written);
	before = time(NULL);
	log_warning("careful");
	after = time(NULL);
	log_record("peer came");
	capture_end(&written);
	log_show_time(false);
	rest = strptime(written.errors, "%Y-%m-%dT%H:%M:%SZ ", &utc);
	assert_non_null(rest);
	assert_in_range(timegm(&utc), before, after);
	assert_memory_equal(rest, "udp-encap-tun: warning: careful\n2", 33);
	assert_int_equal(count_lines(written.errors), 2);
}

static void a_long_text_is_still_one_line(void **state)
{
	static char text[4000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	log_set_level(LOG_LEVEL_INFO);
	capture_begin(&written);
	log_show_time(true);
	log_info("%s", text);
	log_show_time(false);
	capture_end(&written);
	assert_int_equal(count_lines(written.errors), 1);
}

static void names_of_levels(void **state)
{
	(void)state;
	assert_string_equal(log_level_name(LOG_LEVEL_ERROR), "error");
	assert_string_equal(log_level_name(LOG_LEVEL_WARNING), "warning");
	assert_string_equal(log_level_name(LOG_LEVEL_INFO), "info");
	assert_string_equal(log_level_name(LOG_LEVEL_DEBUG), "debug");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line_with_its_level),
		cmocka_unit_test(nothing_below_the_threshold),
		cmocka_unit_test(records_are_exempt),
		cmocka_unit_test(the_time_in_front),
		cmocka_unit_test(a_long_text_is_still_one_line),
		cmocka_unit_test(names_of_levels),
	};

	return report_seed(cmocka_run_group_tests_name("log", tests, NULL, NULL));
}
