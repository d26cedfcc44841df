/* The event loop: descriptors, timers, their order, their end, and RCU around the wait. */
#include "base/event_loop.h"

#include "base/clock.h"
#include "base/rcu.h"
#include "random_traffic.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* What handlers are given. */
struct probe {
	event_loop *loop;
	struct event_watch watch;
	struct event_timer timer;
	int event;
	unsigned calls;
	unsigned order;     /* among all calls of a test */
	uint64_t called_at; /* nanoseconds */
};

static const uint64_t milliseconds = 1000000; /* nanoseconds */
static unsigned calls_in_all;

static struct probe probe_of(event_loop *loop)
{
	return (struct probe){.loop = loop, .event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
}

static void note(struct probe *probe)
{
	probe->calls++;
	probe->order = ++calls_in_all;
	probe->called_at = monotonic_nanoseconds();
}

static void note_and_read(void *state)
{
	struct probe *probe = state;
	eventfd_t value;

	note(probe);
	(void)eventfd_read(probe->event, &value);
}

static void note_only(void *state)
{
	note(state);
}

static void note_and_end(void *state)
{
	struct probe *probe = state;

	note(probe);
	event_loop_stop(probe->loop);
}

static event_loop *open_loop(void)
{
	event_loop *loop = event_loop_create();

	assert_non_null(loop);
	calls_in_all = 0;
	return loop;
}

static void a_watch_sees_its_descriptor(void **state)
{
	event_loop *loop = open_loop();
	struct probe ready = probe_of(loop), idle = probe_of(loop), end = probe_of(loop);

	(void)state;
	eventfd_write(ready.event, 1);
	event_watch_start(loop, &ready.watch, ready.event, EVENT_IS_USUAL, note_and_read, &ready);
	event_watch_start(loop, &idle.watch, idle.event, EVENT_IS_USUAL, note_and_read, &idle);
	event_timer_start(loop, &end.timer, 30, note_and_end, &end);
	event_loop_run(loop);
	assert_int_equal(ready.calls, 1);
	assert_int_equal(idle.calls, 0);
	/* again, and one that was stopped is not called */
	eventfd_write(ready.event, 1);
	eventfd_write(idle.event, 1);
	event_watch_stop(&ready.watch);
	event_timer_start(loop, &end.timer, 30, note_and_end, &end);
	event_loop_run(loop);
	assert_int_equal(ready.calls, 1);
	assert_int_equal(idle.calls, 1);
	event_watch_stop(&idle.watch);
	event_watch_stop(&idle.watch);
	close(ready.event);
	close(idle.event);
	close(end.event);
	event_loop_destroy(loop);
}

static void what_can_wait_comes_last(void **state)
{
	event_loop *loop = open_loop();
	struct probe late = probe_of(loop), usual = probe_of(loop), urgent = probe_of(loop);

	(void)state;
	event_watch_start(loop, &late.watch, late.event, EVENT_CAN_WAIT, note_and_end, &late);
	event_watch_start(loop, &usual.watch, usual.event, EVENT_IS_USUAL, note_and_read, &usual);
	event_watch_start(loop, &urgent.watch, urgent.event, EVENT_IS_URGENT, note_and_read,
			  &urgent);
	eventfd_write(late.event, 1);
	eventfd_write(usual.event, 1);
	eventfd_write(urgent.event, 1);
	event_loop_run(loop);
	assert_int_equal(urgent.order, 1);
	assert_int_equal(usual.order, 2);
	assert_int_equal(late.order, 3);
	event_watch_stop(&late.watch);
	event_watch_stop(&usual.watch);
	event_watch_stop(&urgent.watch);
	close(late.event);
	close(usual.event);
	close(urgent.event);
	event_loop_destroy(loop);
}

/* Stops the other one, whose event is there in the same round. */
struct rivals {
	struct probe winner;
	struct probe loser;
};

static void stop_the_rival(void *state)
{
	struct rivals *rivals = state;

	note_and_read(&rivals->winner);
	event_watch_stop(&rivals->loser.watch);
	event_timer_stop(&rivals->loser.timer);
	event_timer_start(rivals->winner.loop, &rivals->winner.timer, 30, note_and_end,
			  &rivals->winner);
}

static void what_is_stopped_in_its_own_round_is_not_called(void **state)
{
	event_loop *loop = open_loop();
	struct rivals rivals = {probe_of(loop), probe_of(loop)};

	(void)state;
	event_watch_start(loop, &rivals.winner.watch, rivals.winner.event, EVENT_IS_URGENT,
			  stop_the_rival, &rivals);
	event_watch_start(loop, &rivals.loser.watch, rivals.loser.event, EVENT_IS_USUAL,
			  note_and_read, &rivals.loser);
	event_timer_start(loop, &rivals.loser.timer, 1, note_only, &rivals.loser);
	eventfd_write(rivals.winner.event, 1);
	eventfd_write(rivals.loser.event, 1);
	usleep(5000); /* the timer is due as well */
	event_loop_run(loop);
	assert_int_equal(rivals.winner.calls, 2);
	assert_int_equal(rivals.loser.calls, 0);
	event_watch_stop(&rivals.winner.watch);
	event_timer_stop(&rivals.winner.timer);
	close(rivals.winner.event);
	close(rivals.loser.event);
	event_loop_destroy(loop);
}

static void timers_are_due_in_order_and_not_early(void **state)
{
	event_loop *loop = open_loop();
	struct probe first = {.loop = loop}, second = {.loop = loop}, never = {.loop = loop};
	uint64_t start = monotonic_nanoseconds();

	(void)state;
	event_timer_start(loop, &second.timer, 40, note_and_end, &second);
	event_timer_start(loop, &first.timer, 15, note_only, &first);
	event_timer_start(loop, &never.timer, 20, note_only, &never);
	assert_true(event_timer_is_started(&never.timer));
	event_timer_stop(&never.timer);
	assert_false(event_timer_is_started(&never.timer));
	event_loop_run(loop);
	assert_int_equal(first.order, 1);
	assert_int_equal(second.order, 2);
	assert_int_equal(never.calls, 0);
	assert_true(first.called_at - start >= 15 * milliseconds);
	assert_true(second.called_at - start >= 40 * milliseconds);
	assert_false(event_timer_is_started(&second.timer));
	event_loop_destroy(loop);
}

static void start_again(void *state)
{
	struct probe *probe = state;

	note(probe);
	if (probe->calls == 3)
		event_loop_stop(probe->loop);
	else
		event_timer_start(probe->loop, &probe->timer, 1, start_again, probe);
}

static void a_timer_may_start_itself_again(void **state)
{
	event_loop *loop = open_loop();
	struct probe probe = {.loop = loop};

	(void)state;
	event_timer_start(loop, &probe.timer, 1, start_again, &probe);
	event_loop_run(loop);
	assert_int_equal(probe.calls, 3);
	event_loop_destroy(loop);
}

/* The timer counts from the call, not from when the round began that it is in. */
static void take_time(void *state)
{
	struct probe *probe = state;

	note(probe);
	usleep(30000);
	event_timer_start(probe->loop, &probe->timer, 20, note_and_end, probe);
}

static void a_slow_handler_makes_no_timer_early(void **state)
{
	event_loop *loop = open_loop();
	struct probe probe = {.loop = loop};
	uint64_t start = monotonic_nanoseconds();

	(void)state;
	event_timer_start(loop, &probe.timer, 1, take_time, &probe);
	event_loop_run(loop);
	assert_true(probe.called_at - start >= 51 * milliseconds);
	event_loop_destroy(loop);
}

/* Another thread waits for a grace period. */
struct waiter {
	struct probe probe;
	pthread_t thread;
	_Atomic bool begins;
	_Atomic bool is_through;
};

static void *wait_for_readers(void *argument)
{
	struct waiter *waiter = argument;

	rcu_thread_register();
	waiter->begins = true;
	rcu_wait_for_readers();
	waiter->is_through = true;
	rcu_thread_unregister();
	eventfd_write(waiter->probe.event, 1);
	return NULL;
}

/* Lets it begin in the middle of a handler. */
static void start_waiter(void *state)
{
	struct waiter *waiter = state;

	assert_int_equal(pthread_create(&waiter->thread, NULL, wait_for_readers, waiter), 0);
	while (!waiter->begins)
		usleep(1000);
	usleep(50000);
	assert_false(waiter->is_through);
}

static void end_loop(void *state)
{
	event_loop_stop(state);
}

/* A handler holds up a grace period, a loop that waits does not: the other thread gets through, and
 * only then writes what wakes this one. */
static void handlers_are_critical_sections_and_waits_are_not(void **state)
{
	event_loop *loop = open_loop();
	struct waiter waiter = {.probe = probe_of(loop)};
	struct event_timer too_late = {0};

	(void)state;
	event_watch_start(loop, &waiter.probe.watch, waiter.probe.event, EVENT_IS_USUAL,
			  note_and_end, &waiter.probe);
	event_timer_start(loop, &waiter.probe.timer, 1, start_waiter, &waiter);
	event_timer_start(loop, &too_late, 10000, end_loop, loop);
	event_loop_run(loop);
	assert_int_equal(waiter.probe.calls, 1);
	rcu_thread_offline();
	pthread_join(waiter.thread, NULL);
	rcu_thread_online();
	event_watch_stop(&waiter.probe.watch);
	event_timer_stop(&too_late);
	close(waiter.probe.event);
	event_loop_destroy(loop);
}

static int unwatchable = -1; /* descriptor for which the kernel has no room */

/* libev calls this one: the limit of the system (fs.epoll.max_user_watches) is everybody's. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	if (fd == unwatchable) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

static void a_descriptor_that_cannot_be_watched_ends_the_run(void **state)
{
	event_loop *loop = open_loop();
	struct probe deaf = probe_of(loop), probe = {.loop = loop};

	(void)state;
	unwatchable = deaf.event;
	eventfd_write(deaf.event, 1);
	event_watch_start(loop, &deaf.watch, deaf.event, EVENT_IS_USUAL, note_and_read, &deaf);
	/* libev tells when it wakes next */
	event_timer_start(loop, &probe.timer, 10, note_and_end, &probe);
	assert_false(event_loop_run(loop));
	assert_int_equal(deaf.calls, 0);
	event_watch_stop(&deaf.watch);
	close(deaf.event);
	unwatchable = -1;
	/* another run of the same loop is none that failed */
	event_timer_start(loop, &probe.timer, 1, note_and_end, &probe);
	assert_true(event_loop_run(loop));
	event_loop_destroy(loop);
}

/* The descriptor that the only loop waits on. */
static int find_epoll(void)
{
	static const char epoll[] = "anon_inode:[eventpoll]";
	char path[64], leads_to[sizeof(epoll)];

	for (int fd = 3; fd < 1000; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, leads_to, sizeof(leads_to)) == (ssize_t)sizeof(epoll) - 1 &&
		    memcmp(leads_to, epoll, sizeof(epoll) - 1) == 0)
			return fd;
	}
	return -1;
}

static void a_wait_that_fails_ends_the_run(void **state)
{
	event_loop *loop = open_loop();
	struct probe probe = probe_of(loop);

	(void)state;
	event_timer_start(loop, &probe.timer, 1, note_and_end, &probe);
	assert_true(event_loop_run(loop));
	assert_return_code(dup2(probe.event, find_epoll()), errno);
	event_timer_start(loop, &probe.timer, 10000, note_and_end, &probe);
	assert_false(event_loop_run(loop));
	assert_int_equal(probe.calls, 1);
	event_timer_stop(&probe.timer);
	close(probe.event);
	event_loop_destroy(loop);
}

static int become_control_thread(void **state)
{
	(void)state;
	rcu_thread_register();
	return 0;
}

static int be_control_thread_no_more(void **state)
{
	(void)state;
	rcu_thread_unregister();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_watch_sees_its_descriptor),
		cmocka_unit_test(what_can_wait_comes_last),
		cmocka_unit_test(what_is_stopped_in_its_own_round_is_not_called),
		cmocka_unit_test(timers_are_due_in_order_and_not_early),
		cmocka_unit_test(a_timer_may_start_itself_again),
		cmocka_unit_test(a_slow_handler_makes_no_timer_early),
		cmocka_unit_test(handlers_are_critical_sections_and_waits_are_not),
		cmocka_unit_test(a_descriptor_that_cannot_be_watched_ends_the_run),
		cmocka_unit_test(a_wait_that_fails_ends_the_run),
	};

	return report_seed(cmocka_run_group_tests_name("event loop", tests, become_control_thread,
						       be_control_thread_no_more));
}
