/*
 * Sources of an endpoint's entries: asked for in slices, for new entries, and again. The kernel is
 * asked for what would leave by the loopback device: 127.0.0.1.
 */
#include "control/sources.h"

#include "random_traffic.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	ENTRIES = 1000, /* many slices */
	LOOPBACK = 0x7f000001,
	LOOPBACK_NETWORK = 0x7f010000,
	CHECK_MS = 1,
	PATIENCE_MS = 10000,
};

struct scene {
	event_loop *loop;
	struct notices notices;
	struct peers peers;
	struct sources sources;
	struct event_timer check;
	unsigned checks;
	uint32_t entries;
	uint32_t expected; /* with a source, until the loop ends */
};

static struct scene scene;

static void count_own(struct peer_entry *entry, void *argument)
{
	struct ip_address source;

	if (peer_entry_source(entry, &source) == SOURCE_IS_OWN && host_order(&source) == LOOPBACK)
		++*(uint32_t *)argument;
}

static uint32_t entries_with_source(void)
{
	struct connection_store_iterator all = connection_store_begin(scene.peers.store);
	uint32_t count = 0;

	(void)connection_store_visit(scene.peers.store, &all, UINT32_MAX, count_own, &count);
	return count;
}

static void end_when_all_have_one(void *state)
{
	(void)state;
	if (entries_with_source() == scene.expected || ++scene.checks > PATIENCE_MS / CHECK_MS)
		event_loop_stop(scene.loop);
	else
		event_timer_start(scene.loop, &scene.check, CHECK_MS, end_when_all_have_one, NULL);
}

static void expect_all_have_one(void)
{
	scene.expected = scene.entries;
	scene.checks = 0;
	event_timer_start(scene.loop, &scene.check, CHECK_MS, end_when_all_have_one, NULL);
	assert_true(event_loop_run(scene.loop));
	assert_int_equal(entries_with_source(), scene.entries);
}

/* What a worker does. */
static void make_entries(uint32_t count)
{
	for (; count > 0; count--) {
		struct peer peer = peer_of(LOOPBACK_NETWORK + scene.entries++, 5001);
		enum obtain_result result;

		assert_non_null(connection_store_obtain(scene.peers.store, &peer, 1, &result));
		assert_int_equal(result, ENTRY_MADE);
	}
	notices_raise(&scene.notices, NOTICE_SOURCE_WANTED);
}

static int begin(void **state)
{
	const struct peers_settings peers = {
		.policy = PEERS_ENDPOINT,
		.endpoint_port = htons(5001),
		.store = {.max_entries = 4 * ENTRIES},
	};
	const struct sources_settings settings = {
		.peers = &scene.peers,
		.notices = &scene.notices,
		.device = "lo",
		.own_port = htons(5000),
	};

	(void)state;
	memset(&scene, 0, sizeof(scene));
	rcu_thread_register();
	scene.loop = event_loop_create();
	scene.notices.event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (scene.loop == NULL || !peers_open(&scene.peers, &peers))
		return -1;
	return sources_start(&scene.sources, scene.loop, &settings);
}

static int end(void **state)
{
	(void)state;
	event_timer_stop(&scene.check);
	sources_close(&scene.sources);
	peers_close(&scene.peers);
	event_loop_destroy(scene.loop);
	close(scene.notices.event);
	rcu_thread_unregister();
	return 0;
}

static void new_entries_are_asked_for_in_slices(void **state)
{
	(void)state;
	make_entries(ENTRIES);
	sources_want(&scene.sources);
	assert_false(notices_raised(&scene.notices) & NOTICE_SOURCE_WANTED);
	assert_in_range(entries_with_source(), 1, ENTRIES - 1);
	/* one that comes in between raises the notice again, and is found */
	make_entries(1);
	assert_true(notices_raised(&scene.notices) & NOTICE_SOURCE_WANTED);
	sources_want(&scene.sources);
	expect_all_have_one();
	assert_false(notices_raised(&scene.notices) & NOTICE_SOURCE_WANTED);
}

static void forget_source(struct peer_entry *entry, void *argument)
{
	(void)argument;
	peer_entry_set_source(entry, SOURCE_IS_MISSING, NULL);
}

static void forget_all(void)
{
	struct connection_store_iterator all = connection_store_begin(scene.peers.store);

	(void)connection_store_visit(scene.peers.store, &all, UINT32_MAX, forget_source, NULL);
	assert_int_equal(entries_with_source(), 0);
}

/* In the middle of a pass, too: what was asked for already is asked for again. */
static void a_change_asks_for_all_anew(void **state)
{
	(void)state;
	make_entries(ENTRIES);
	sources_want(&scene.sources);
	expect_all_have_one();
	sources_look(&scene.sources);
	assert_int_equal(entries_with_source(), ENTRIES);
	forget_all();
	sources_look(&scene.sources);
	expect_all_have_one();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(new_entries_are_asked_for_in_slices, begin, end),
		cmocka_unit_test_setup_teardown(a_change_asks_for_all_anew, begin, end),
	};

	return report_seed(cmocka_run_group_tests_name("sources", tests, NULL, NULL));
}
