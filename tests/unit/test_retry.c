/* A look that failed comes again, ever more rarely, and a person hears of it only if it goes on. */
#include "control/retry.h"

#include "base/log.h"
#include "base/rcu.h"

#include "capture.h"
#include "random_traffic.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct {
	event_loop *loop;
	struct retry retry;
	struct capture written;
	unsigned looks;
	unsigned failing; /* as many looks fail */
} scene;

static void look(void *state)
{
	struct trouble trouble = {0};

	(void)state;
	if (scene.looks++ < scene.failing) {
		trouble_note(&trouble, "read the state of", "wan0", -ENOBUFS);
		trouble_note(&trouble, "set the MTU of", "tun0", -ENOMEM);
	}
	retry_settle(&scene.retry, &trouble);
	if (trouble.what == NULL)
		event_loop_stop(scene.loop);
}

static int begin(void **state)
{
	(void)state;
	memset(&scene, 0, sizeof(scene));
	log_set_level(LOG_LEVEL_INFO);
	rcu_thread_register();
	scene.loop = event_loop_create();
	retry_start(&scene.retry, scene.loop, look, NULL);
	return scene.loop == NULL ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	retry_close(&scene.retry);
	event_loop_destroy(scene.loop);
	rcu_thread_unregister();
	return 0;
}

static void delays_double_up_to_a_bound(void **state)
{
	(void)state;
	assert_int_equal(retry_delay(1), 100);
	assert_int_equal(retry_delay(2), 200);
	assert_int_equal(retry_delay(7), 6400);
	assert_int_equal(retry_delay(8), 10000);
	assert_int_equal(retry_delay(1000000), 10000);
}

/* Looks until one succeeds. Returns what was logged. */
static const char *looks_that_fail(unsigned failing)
{
	scene.failing = failing;
	capture_begin(&scene.written);
	look(NULL);
	if (failing > 0)
		assert_true(event_loop_run(scene.loop));
	capture_end(&scene.written);
	assert_int_equal(scene.looks, failing + 1);
	assert_false(event_timer_is_started(&scene.retry.timer));
	return scene.written.errors;
}

static void success_is_not_repeated(void **state)
{
	(void)state;
	assert_string_equal(looks_that_fail(0), "");
}

static void some_failures_are_nobodys_concern(void **state)
{
	(void)state;
	assert_string_equal(looks_that_fail(2), "");
	assert_int_equal(scene.retry.failures, 0);
}

/* The first thing that failed is named. */
static void going_on_is_said_and_so_is_the_end(void **state)
{
	(void)state;
	assert_string_equal(looks_that_fail(3),
			    "udp-encap-tun: warning: cannot read the state of wan0: No buffer "
			    "space available; trying again until it works\n"
			    "udp-encap-tun: info: the interfaces can be read and changed again\n");
}

/* A flood of word from the kernel must not make the next attempt a late one. */
static void looks_in_between_do_not_count(void **state)
{
	(void)state;
	scene.failing = 100;
	for (int i = 0; i < 100; i++)
		look(NULL);
	assert_int_equal(scene.retry.failures, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_up_to_a_bound),
		cmocka_unit_test_setup_teardown(success_is_not_repeated, begin, end),
		cmocka_unit_test_setup_teardown(some_failures_are_nobodys_concern, begin, end),
		cmocka_unit_test_setup_teardown(going_on_is_said_and_so_is_the_end, begin, end),
		cmocka_unit_test_setup_teardown(looks_in_between_do_not_count, begin, end),
	};

	return report_seed(cmocka_run_group_tests_name("failed looks", tests, NULL, NULL));
}
