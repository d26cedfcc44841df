/* Notices: each wakes the control thread once, and none is lost between workers and control. */
#include "exchange/notices.h"

#include "random_traffic.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

static struct notices notices;

static int start(void **state)
{
	(void)state;
	notices = (struct notices){.event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
	return notices.event < 0;
}

static int finish(void **state)
{
	(void)state;
	return close(notices.event);
}

/* How often the control thread was woken since the last call. */
static uint64_t wake_ups(void)
{
	eventfd_t count;

	return eventfd_read(notices.event, &count) == 0 ? count : 0;
}

static void a_notice_wakes_once(void **state)
{
	(void)state;
	assert_int_equal(notices_raised(&notices), 0);
	for (int i = 0; i < 1000; i++)
		notices_raise(&notices, NOTICE_PEER_REFUSED);
	assert_int_equal(notices_raised(&notices), NOTICE_PEER_REFUSED);
	assert_int_equal(wake_ups(), 1);
	notices_raise(&notices, NOTICE_PEER_REFUSED);
	assert_int_equal(wake_ups(), 0);
	notices_lower(&notices, NOTICE_PEER_REFUSED);
	assert_int_equal(notices_raised(&notices), 0);
	notices_raise(&notices, NOTICE_PEER_REFUSED);
	assert_int_equal(wake_ups(), 1);
}

static void notices_are_apart(void **state)
{
	static const enum notice all[] = {NOTICE_PEER_REFUSED, NOTICE_SPARES_LOW,
					  NOTICE_NEWCOMER,     NOTICE_GSO_GIVEN_UP,
					  NOTICE_TUNNEL_GONE,  NOTICE_COALESCING_GIVEN_UP};
	uint32_t raised = 0;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(raised & all[i], 0);
		notices_raise(&notices, all[i]);
		raised |= (uint32_t)all[i];
		assert_int_equal(notices_raised(&notices), raised);
	}
	assert_int_equal(wake_ups(), 6);
	notices_lower(&notices, NOTICE_NEWCOMER | NOTICE_TUNNEL_GONE);
	assert_int_equal(notices_raised(&notices), NOTICE_PEER_REFUSED | NOTICE_SPARES_LOW |
							   NOTICE_GSO_GIVEN_UP |
							   NOTICE_COALESCING_GIVEN_UP);
}

enum {
	THREADS = 4,
	WORK = 50000,
};

/* Work that the control thread takes away whenever a notice tells it to. */
static _Atomic uint32_t undone;
static _Atomic uint32_t running;

static void *work(void *argument)
{
	(void)argument;
	for (int i = 0; i < WORK; i++) {
		atomic_fetch_add_explicit(&undone, 1, memory_order_relaxed);
		notices_raise(&notices, NOTICE_NEWCOMER);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

/* The last piece of work is done too: it is not left for a notice that nobody raises any more. */
static void no_work_is_left_behind(void **state)
{
	pthread_t threads[THREADS];
	uint64_t done = 0;

	(void)state;
	atomic_store(&running, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
	for (;;) {
		bool is_last_round = atomic_load(&running) == 0;
		struct pollfd event = {.fd = notices.event, .events = POLLIN};

		if (poll(&event, 1, is_last_round ? 0 : 10) > 0)
			assert_true(wake_ups() > 0);
		if (notices_raised(&notices) & NOTICE_NEWCOMER) {
			notices_lower(&notices, NOTICE_NEWCOMER);
			done += atomic_exchange_explicit(&undone, 0, memory_order_relaxed);
		} else if (is_last_round) {
			break;
		}
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(done, THREADS * WORK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_notice_wakes_once, start, finish),
		cmocka_unit_test_setup_teardown(notices_are_apart, start, finish),
		cmocka_unit_test_setup_teardown(no_work_is_left_behind, start, finish),
	};

	return report_seed(cmocka_run_group_tests_name("notices", tests, NULL, NULL));
}
