/* The UDP sockets: what share of the machine's memory each may ask for. */
#include "io/udp_socket.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { PAGE = 4096, LARGE_PAGE = 16384, WISH = 8 << 20 };

static void a_large_machine_gives_what_is_wished(void **state)
{
	(void)state;
	/* 25 GB */
	assert_int_equal(udp_socket_receive_share("575802\t767736\t1151604\n", PAGE, 1), WISH);
	assert_int_equal(udp_socket_receive_share("575802\t767736\t1151604\n", PAGE, 32), WISH);
}

/* 5,280 pages are what 128 MB have: an eighth of them holds twice of what is asked for. */
static void a_small_one_gives_each_its_share(void **state)
{
	(void)state;
	assert_int_equal(udp_socket_receive_share("2640\t3520\t5280\n", PAGE, 1),
			 5280 * PAGE / 8 / 2);
	assert_int_equal(udp_socket_receive_share("2640\t3520\t5280\n", PAGE, 4),
			 5280 * PAGE / 8 / 2 / 4);
	assert_int_equal(udp_socket_receive_share("2640 3520 5280", LARGE_PAGE, 4),
			 5280 * PAGE / 8 / 2);
	assert_int_equal(udp_socket_receive_share("0 0 0", PAGE, 1), 0);
}

static void all_together_keep_to_the_eighth(void **state)
{
	(void)state;
	for (uint64_t pages = 1; pages < 1u << 24; pages = pages * 3 / 2 + 1) {
		char text[64];

		snprintf(text, sizeof(text), "1\t1\t%llu\n", (unsigned long long)pages);
		for (size_t count = 1; count <= 256; count++) {
			int share = udp_socket_receive_share(text, PAGE, count);

			assert_in_range(share, 0, WISH);
			/* as the kernel counts it */
			assert_true(2 * (uint64_t)share * count <= pages * PAGE / 8);
			/* and not much less than that */
			assert_true(share == WISH ||
				    2 * ((uint64_t)share + 1) * count >= pages * PAGE / 8);
		}
	}
}

static void what_cannot_be_read_limits_nothing(void **state)
{
	static const char *const texts[] = {
		"", "\n", "2640", "2640\t3520", "2640\t3520\tx", "max max max"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(udp_socket_receive_share(texts[i], PAGE, 4), WISH);
	assert_int_equal(udp_socket_receive_share("1 1 18446744073709551615", PAGE, 4), WISH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_large_machine_gives_what_is_wished),
		cmocka_unit_test(a_small_one_gives_each_its_share),
		cmocka_unit_test(all_together_keep_to_the_eighth),
		cmocka_unit_test(what_cannot_be_read_limits_nothing),
	};

	return report_seed(cmocka_run_group_tests_name("udp_socket", tests, NULL, NULL));
}
