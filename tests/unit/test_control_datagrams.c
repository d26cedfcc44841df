/* Control datagrams: what the table takes, what is counted instead, and rings that are emptied. */
#include "control/control_datagrams.h"

#include "base/rcu.h"
#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { KNOWN = 7, OTHER_WAY = 8 };

static struct {
	struct exchange exchange;
	struct counters counters;
	struct control_datagrams control_datagrams;
	event_loop *loop;
	struct event_timer end;
	unsigned handled;
	struct control_header header; /* of the last one */
	uint64_t nanoseconds;
} scene;

static void handle(struct control_datagrams *control_datagrams, const struct control_header *header,
		   const struct control_record *record)
{
	assert_ptr_equal(control_datagrams, &scene.control_datagrams);
	scene.handled++;
	scene.header = *header;
	scene.nanoseconds = record->nanoseconds;
}

/* What a program will know that has types; this one has none yet. */
static const struct control_type types[] = {
	{KNOWN, CONTROL_TO_SERVER, 20, 300, handle},
	{OTHER_WAY, CONTROL_TO_ENDPOINT, 20, 300, handle},
};

static int open_scene(void **state)
{
	(void)state;
	memset(&scene, 0, sizeof(scene));
	rcu_thread_register();
	scene.loop = event_loop_create();
	assert_non_null(scene.loop);
	assert_int_equal(exchange_open(&scene.exchange, 2), 0);
	assert_int_equal(control_datagrams_start(&scene.control_datagrams, scene.loop,
						 &scene.exchange, &scene.counters,
						 CONTROL_TO_SERVER),
			 0);
	return 0;
}

static int close_scene(void **state)
{
	(void)state;
	control_datagrams_close(&scene.control_datagrams);
	exchange_close(&scene.exchange);
	event_loop_destroy(scene.loop);
	rcu_thread_unregister();
	return 0;
}

static void know_types(void)
{
	scene.control_datagrams.types = types;
	scene.control_datagrams.type_count = sizeof(types) / sizeof(types[0]);
}

static void fill(struct control_record *record, uint8_t type, uint16_t stated, size_t length)
{
	uint8_t bytes[512] = {0};
	const struct control_header header = {.type = type, .total_length = stated};
	struct transport_address source = numbered_peer(1).remote;
	struct ip_address own = ipv4_address(0x0a000001);

	control_header_build(&header, bytes);
	control_record_fill(record, bytes, length, &source, &own, 1, 0, 42);
}

static bool take(uint8_t type, uint16_t stated, size_t length)
{
	struct control_record record;

	fill(&record, type, stated, length);
	return control_datagrams_take(&scene.control_datagrams, &record);
}

static uint64_t discarded(void)
{
	return counter_read(&scene.counters, COUNTER_discard_in_control);
}

static void no_type_is_known_yet(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++)
		assert_false(take((uint8_t)type, 20, 20));
	assert_int_equal(discarded(), 256);
}

static void a_known_type_goes_to_its_handler(void **state)
{
	(void)state;
	know_types();
	assert_true(take(KNOWN, 20, 20));
	assert_int_equal(scene.handled, 1);
	assert_int_equal(scene.header.type, KNOWN);
	assert_int_equal(scene.header.total_length, 20);
	assert_int_equal(scene.nanoseconds, 42);
	/* longer than what a record holds of it */
	assert_true(take(KNOWN, 300, 300));
	assert_int_equal(scene.handled, 2);
	assert_int_equal(discarded(), 0);
}

static void what_no_row_takes_is_counted(void **state)
{
	(void)state;
	know_types();
	assert_false(take(KNOWN + 2, 20, 20));
	assert_false(take(OTHER_WAY, 20, 20)); /* an endpoint's */
	assert_false(take(KNOWN, 301, 301));   /* longer than the type allows */
	assert_false(take(KNOWN, 21, 20));     /* states another length */
	assert_false(take(KNOWN, 20, 19));     /* less than a header */
	assert_int_equal(scene.handled, 0);
	assert_int_equal(discarded(), 5);
}

static void end(void *state)
{
	(void)state;
	event_loop_stop(scene.loop);
}

static void run_for_a_moment(void)
{
	event_timer_start(scene.loop, &scene.end, 20, end, NULL);
	event_loop_run(scene.loop);
}

/* As a worker does it; returns how many there was room for. */
static unsigned push(size_t channel, unsigned count)
{
	struct ring *ring = &scene.exchange.channels[channel].to_control;
	unsigned pushed = 0;

	for (; count > 0; count--) {
		struct control_record *record = ring_slot(ring);

		if (record == NULL)
			continue;
		fill(record, KNOWN, 20, 20);
		ring_push(ring);
		pushed++;
	}
	ring_wake(ring);
	return pushed;
}

static void every_ring_is_emptied_again_and_again(void **state)
{
	(void)state;
	know_types();
	run_for_a_moment();
	for (unsigned round = 1; round <= 3; round++) {
		assert_int_equal(push(0, 10), 10);
		assert_int_equal(push(1, 5), 5);
		run_for_a_moment();
		assert_int_equal(scene.handled, round * 15);
	}
}

static void a_full_ring_takes_no_more_until_it_was_emptied(void **state)
{
	unsigned room;

	(void)state;
	know_types();
	room = push(0, 10000);
	assert_in_range(room, 128, 9999);
	assert_int_equal(push(0, 1), 0);
	run_for_a_moment();
	assert_int_equal(scene.handled, room);
	assert_int_equal(push(0, 1), 1);
	run_for_a_moment();
	assert_int_equal(scene.handled, room + 1);
}

/* For counters that are about to be printed. */
static void what_waits_can_be_taken_at_once(void **state)
{
	(void)state;
	assert_int_equal(push(0, 3), 3);
	assert_int_equal(push(1, 2), 2);
	control_datagrams_drain(&scene.control_datagrams);
	assert_int_equal(discarded(), 5);
	/* and those that come later wake the thread as ever */
	assert_int_equal(push(1, 4), 4);
	run_for_a_moment();
	assert_int_equal(discarded(), 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_type_is_known_yet, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(a_known_type_goes_to_its_handler, open_scene,
						close_scene),
		cmocka_unit_test_setup_teardown(what_no_row_takes_is_counted, open_scene,
						close_scene),
		cmocka_unit_test_setup_teardown(every_ring_is_emptied_again_and_again, open_scene,
						close_scene),
		cmocka_unit_test_setup_teardown(a_full_ring_takes_no_more_until_it_was_emptied,
						open_scene, close_scene),
		cmocka_unit_test_setup_teardown(what_waits_can_be_taken_at_once, open_scene,
						close_scene),
	};

	return report_seed(cmocka_run_group_tests_name("control datagrams", tests, NULL, NULL));
}
