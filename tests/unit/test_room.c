/* Room for an endpoint's newcomers: who makes it, and who never does. */
#include "control/room.h"

#include "base/clock.h"
#include "worker/new_entries.h"

#include "peers_scene.h"
#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	ENTRIES = 64,
	TIMEOUT = 300,
	FIRST = 0x0a630000, /* 10.99.0.0 */
	LONGEST_PAUSE_MS = 2000,
};

static struct {
	event_loop *loop;
	struct notices notices;
	struct counters counters;
	struct peer_log log;
	struct room room;
	struct event_timer end;
} test;

static int begin(void **state)
{
	struct room_settings settings = {
		.notices = &test.notices,
		.peer_log = &test.log,
		.counters = &test.counters,
		.max_entries = ENTRIES,
		.connection_timeout = TIMEOUT,
	};

	(void)state;
	memset(&test, 0, sizeof(test));
	rcu_thread_register();
	scene_open(PEERS_SOLICITED_ENDPOINT, ENTRIES);
	settings.store = scene.store;
	test.loop = event_loop_create();
	test.notices.event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	room_start(&test.room, test.loop, &settings);
	return test.loop == NULL ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	room_close(&test.room);
	event_loop_destroy(test.loop);
	close(test.notices.event);
	scene_close();
	rcu_thread_unregister();
	return 0;
}

/* What workers do for the destination of this number. */
static bool send_to(uint32_t number, uint32_t now)
{
	return scene_route(FIRST + number, 100, now).verdict == ROUTED;
}

static void answer(uint32_t number, uint32_t now)
{
	struct transport_address from = peer_of(FIRST + number, SCENE_ENDPOINT_PORT).remote;

	peers_note_tcp(&scene, scene_admit(&from, now).entry, now);
}

static bool is_known(uint32_t number)
{
	const struct peer peer = peer_of(FIRST + number, SCENE_ENDPOINT_PORT);
	struct peer known = {.remote = peer.remote,
			     .own_port = peer_of(0, SCENE_OWN_PORT).remote.port};

	return connection_store_find_peer(scene.store, &known) != NULL;
}

static void when_nearly_all_are_in_use(void **state)
{
	(void)state;
	for (uint32_t number = 0; number < ENTRIES; number++) {
		assert_true(send_to(number, 10));
		assert_int_equal(connection_store_wants_room(scene.store),
				 number + 1 > ENTRIES - ENTRIES / 8);
	}
	assert_false(send_to(ENTRIES, 10));
}

/* What cannot be made is a reason too: where there are a few, nearly all is all. */
static void who_is_refused_has_room_made(void **state)
{
	struct counters counters = {0};

	(void)state;
	new_entries_note(&scene, ENTRY_REFUSED, false, &counters, &test.notices);
	assert_true(notices_raised(&test.notices) & NOTICE_ROOM_WANTED);
}

/* Also when all of it happens in the same second. */
static void who_was_sent_to_first_makes_room(void **state)
{
	(void)state;
	for (uint32_t number = 0; number < ENTRIES; number++)
		send_to(number, 10);
	room_want(&test.room);
	for (uint32_t number = 0; number < ENTRIES; number++)
		assert_int_equal(is_known(number), number >= ENTRIES / 2);
	assert_int_equal(counter_read(&test.counters, COUNTER_connections_crowded_out),
			 ENTRIES / 2);
}

static void who_is_sent_to_again_is_behind_the_others(void **state)
{
	(void)state;
	for (uint32_t number = 0; number < ENTRIES; number++)
		send_to(number, 10);
	send_to(3, 11);
	room_want(&test.room);
	assert_true(is_known(3));
	assert_false(is_known(4));
	assert_false(is_known(ENTRIES / 2));
	assert_true(is_known(ENTRIES / 2 + 1));
}

static void who_answered_never_makes_room(void **state)
{
	enum { ANSWERED = 50 };

	(void)state;
	for (uint32_t number = 0; number < ENTRIES; number++) {
		send_to(number, 10);
		if (number < ANSWERED)
			answer(number, 10);
	}
	for (uint32_t again = 0; again < 10 * ENTRIES; again++) {
		event_timer_stop(&test.room.pause);
		room_want(&test.room);
		assert_true(send_to(1000 + again, 10));
	}
	for (uint32_t number = 0; number < ANSWERED; number++)
		assert_true(is_known(number));
	/* half of the others' places are free: as many were sent to last */
	event_timer_stop(&test.room.pause);
	room_want(&test.room);
	assert_int_equal(connection_store_count(scene.store), ANSWERED + (ENTRIES - ANSWERED) / 2);
}

/* What they did they did just now: the clock is the machine's. */
static void a_store_full_of_answers_refuses(void **state)
{
	uint32_t now = monotonic_seconds();

	(void)state;
	for (uint32_t number = 0; number < ENTRIES; number++) {
		send_to(number, now);
		answer(number, now);
	}
	room_want(&test.room);
	assert_false(send_to(ENTRIES, now));
	assert_int_equal(connection_store_count(scene.store), ENTRIES);
}

/* An answer can be forged; what had no TCP for long is none that somebody misses. */
static void where_all_answered_those_go_that_are_idle(void **state)
{
	uint32_t now = monotonic_seconds();

	(void)state;
	for (uint32_t number = 0; number < ENTRIES; number++) {
		bool is_idle = number % 2 == 0;

		send_to(number, is_idle ? now - TIMEOUT - 5 : now);
		answer(number, is_idle ? now - TIMEOUT - 5 : now);
	}
	room_want(&test.room);
	for (uint32_t number = 0; number < ENTRIES; number++)
		assert_int_equal(is_known(number), number % 2 != 0);
}

static void stop(void *state)
{
	(void)state;
	event_loop_stop(test.loop);
}

/* What is raised in a pause is not forgotten, and nothing goes on by itself. */
static void looks_are_some_time_apart(void **state)
{
	(void)state;
	for (uint32_t number = 0; number < ENTRIES; number++)
		send_to(number, 10);
	room_want(&test.room);
	for (uint32_t number = ENTRIES; number < 2 * ENTRIES; number++)
		send_to(number, 10);
	notices_raise(&test.notices, NOTICE_ROOM_WANTED);
	room_want(&test.room);
	assert_int_equal(connection_store_count(scene.store), ENTRIES);
	assert_true(event_timer_is_started(&test.room.pause));
	event_timer_start(test.loop, &test.end, LONGEST_PAUSE_MS, stop, NULL);
	assert_true(event_loop_run(test.loop));
	assert_int_equal(connection_store_count(scene.store), ENTRIES / 2);
	assert_false(notices_raised(&test.notices) & NOTICE_ROOM_WANTED);
	assert_false(event_timer_is_started(&test.room.pause));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(when_nearly_all_are_in_use, begin, end),
		cmocka_unit_test_setup_teardown(who_is_refused_has_room_made, begin, end),
		cmocka_unit_test_setup_teardown(who_was_sent_to_first_makes_room, begin, end),
		cmocka_unit_test_setup_teardown(who_is_sent_to_again_is_behind_the_others, begin,
						end),
		cmocka_unit_test_setup_teardown(who_answered_never_makes_room, begin, end),
		cmocka_unit_test_setup_teardown(a_store_full_of_answers_refuses, begin, end),
		cmocka_unit_test_setup_teardown(where_all_answered_those_go_that_are_idle, begin,
						end),
		cmocka_unit_test_setup_teardown(looks_are_some_time_apart, begin, end),
	};

	return report_seed(cmocka_run_group_tests_name("room", tests, NULL, NULL));
}
