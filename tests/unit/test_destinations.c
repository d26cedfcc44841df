/* How long an endpoint remembers its destinations, and when it keeps them alive. */
#include "control/destinations.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct destination_limits usual = {
	.connection_timeout = 300,
	.answer_time = 30,
	.keepalive = 25,
	.keepalive_for = 7500,
};

static const struct destination_limits without_keepalives = {
	.connection_timeout = 300,
	.answer_time = 30,
};

/* An entry to which TCP was sent at that time, and nothing came from it. */
static struct peer_entry sent_to(uint32_t now)
{
	return (struct peer_entry){
		.last_received = now,
		.last_sent = now,
		.last_tcp = now,
	};
}

/* What peers_note_tcp() does to an entry of a store. */
static void answer(struct peer_entry *entry, uint32_t now)
{
	peer_entry_refresh(&entry->last_tcp, now);
	peer_entry_refresh(&entry->last_received, now);
	atomic_store(&entry->is_proven, true);
}

static void who_never_answered_is_forgotten_soon(void **state)
{
	const struct destination_limits *limits[] = {&usual, &without_keepalives};
	struct peer_entry entry = sent_to(100);
	uint32_t wait;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(destination_judge(limits[i], &entry, 100, &wait),
				 DESTINATION_STAYS);
		assert_int_equal(wait, 31);
		for (uint32_t now = 101; now <= 130; now++) {
			assert_int_equal(destination_judge(limits[i], &entry, now, &wait),
					 DESTINATION_STAYS);
			assert_int_equal(wait, 131 - now);
		}
		assert_int_equal(destination_judge(limits[i], &entry, 131, &wait),
				 DESTINATION_IS_OVER);
	}
	/* but who is sent to is waited for */
	peer_entry_refresh(&entry.last_sent, 131);
	assert_int_equal(destination_judge(&usual, &entry, 161, &wait), DESTINATION_STAYS);
}

static void who_answered_is_remembered_for_the_time_out(void **state)
{
	struct peer_entry entry = sent_to(100);
	uint32_t wait;

	(void)state;
	answer(&entry, 110);
	assert_int_equal(destination_judge(&without_keepalives, &entry, 410, &wait),
			 DESTINATION_STAYS);
	assert_int_equal(wait, 1);
	assert_int_equal(destination_judge(&without_keepalives, &entry, 411, &wait),
			 DESTINATION_IS_OVER);
	peer_entry_refresh(&entry.last_sent, 411);
	assert_int_equal(destination_judge(&without_keepalives, &entry, 412, &wait),
			 DESTINATION_STAYS);
	assert_int_equal(wait, 300);
}

/* Rule R1 lets answers in for so long. */
static void no_time_out_is_shorter_than_an_answer_may_take(void **state)
{
	const struct destination_limits short_one = {.connection_timeout = 5, .answer_time = 30};
	struct peer_entry entry = sent_to(100);
	uint32_t wait;

	(void)state;
	answer(&entry, 101);
	assert_int_equal(destination_judge(&short_one, &entry, 130, &wait), DESTINATION_STAYS);
	assert_int_equal(destination_judge(&short_one, &entry, 131, &wait), DESTINATION_IS_OVER);
}

static void who_answered_is_kept_alive(void **state)
{
	struct peer_entry entry = sent_to(100);
	uint32_t now = 101, wait, last = 100;
	unsigned keepalives = 0;

	(void)state;
	answer(&entry, 101);
	for (; now <= 101 + usual.keepalive_for; now++) {
		enum destination_verdict verdict = destination_judge(&usual, &entry, now, &wait);

		assert_int_not_equal(verdict, DESTINATION_IS_OVER);
		assert_in_range(now - last, 0, usual.keepalive);
		if (verdict == DESTINATION_STAYS) {
			assert_in_range(wait, 1, usual.keepalive - (now - last));
			continue;
		}
		/* the first one may come a little earlier than the others */
		assert_in_range(now - last, keepalives == 0 ? 13 : 19, usual.keepalive);
		keepalives++;
		last = now;
		peer_entry_refresh(&entry.last_sent, now);
	}
	assert_in_range(keepalives, 7500 / 25, 7500 / 19);
	assert_int_equal(destination_judge(&usual, &entry, now, &wait), DESTINATION_STAYS);
	assert_int_equal(destination_judge(&usual, &entry, last + 301, &wait), DESTINATION_IS_OVER);
}

static void who_wanted_tcp_but_never_answered_is_not(void **state)
{
	struct peer_entry entry = sent_to(100);
	uint32_t wait;

	(void)state;
	for (uint32_t now = 100; now <= 130; now++)
		assert_int_equal(destination_judge(&usual, &entry, now, &wait), DESTINATION_STAYS);
}

static void a_second_is_the_shortest_interval(void **state)
{
	const struct destination_limits shortest = {.connection_timeout = 300,
						    .answer_time = 30,
						    .keepalive = 1,
						    .keepalive_for = 7500};
	struct peer_entry entry = sent_to(100);
	uint32_t wait;

	(void)state;
	answer(&entry, 100);
	assert_int_equal(destination_judge(&shortest, &entry, 100, &wait), DESTINATION_STAYS);
	assert_int_equal(wait, 1);
	assert_int_equal(destination_judge(&shortest, &entry, 101, &wait),
			 DESTINATION_WANTS_KEEPALIVE);
}

/* All begin in the same second; none leaves late, and no second has many. */
static void spread(uint32_t interval)
{
	enum { ENTRIES = 10000, INTERVALS = 12 };
	struct destination_limits limits = usual;
	struct peer_entry *entries = calloc(ENTRIES, sizeof(*entries));
	uint32_t start = 1000, total = 0, most = 0, wait;

	assert_non_null(entries);
	limits.keepalive = interval;
	for (size_t i = 0; i < ENTRIES; i++) {
		entries[i] = sent_to(start);
		answer(&entries[i], start);
	}
	for (uint32_t now = start; now < start + INTERVALS * interval; now++) {
		uint32_t sent = 0;

		for (size_t i = 0; i < ENTRIES; i++) {
			if (destination_judge(&limits, &entries[i], now, &wait) !=
			    DESTINATION_WANTS_KEEPALIVE)
				continue;
			assert_in_range(now - entries[i].last_sent, 1, interval);
			peer_entry_refresh(&entries[i].last_sent, now);
			sent++;
		}
		total += sent;
		most = sent > most ? sent : most;
	}
	free(entries);
	assert_in_range(total, ENTRIES * (INTERVALS - 1), ENTRIES * INTERVALS * 4 / 3);
	/* twice the mean where all begin, in half an interval, and chance on top of that */
	assert_in_range(most, 1, 5 * total / (2 * INTERVALS * interval));
}

static void keepalives_are_spread(void **state)
{
	(void)state;
	spread(5);
	spread(25);
	spread(60);
}

static void when_a_newcomer_is_looked_at(void **state)
{
	struct destination_limits limits = usual;

	(void)state;
	for (limits.keepalive = 1; limits.keepalive < 100; limits.keepalive++) {
		uint32_t first = destination_first_look(&limits), wait;
		struct peer_entry entry;

		assert_in_range(first, 1, limits.keepalive);
		/* none is due before, whatever is drawn */
		for (uint32_t now = 1000; now < 1100; now++) {
			entry = sent_to(now);
			answer(&entry, now);
			assert_int_equal(destination_judge(&limits, &entry, now + first - 1, &wait),
					 DESTINATION_STAYS);
		}
	}
	assert_int_equal(destination_first_look(&without_keepalives), 31);
}

/* A destination whose data comes and ceases, and looks at it as control/lulls.c makes them. */
struct flow {
	struct peer_entry entry;
	struct destination_limits limits;
	uint64_t now;       /* milliseconds, as the next one */
	uint64_t next_look; /* 0: none is due */
	uint32_t last_look; /* seconds */
	size_t sent;
	uint64_t times[100]; /* of the keepalives, milliseconds */
};

static uint32_t now_of(const struct flow *flow)
{
	return (uint32_t)(flow->now / 1000);
}

static struct flow flow_from(uint64_t now)
{
	struct flow flow = {.limits = usual, .now = now};

	flow.entry = sent_to(now_of(&flow));
	answer(&flow.entry, now_of(&flow));
	return flow;
}

static void look(struct flow *flow)
{
	uint32_t now = now_of(flow), wait, ignored;

	if (destination_judge_lull(&flow->limits, &flow->entry, now, now - flow->last_look,
				   &wait)) {
		assert_true(flow->sent < sizeof(flow->times) / sizeof(*flow->times));
		flow->times[flow->sent++] = flow->now;
		peer_entry_refresh(&flow->entry.last_sent, now);
		destination_spend_lull(&flow->entry);
		assert_false(destination_judge_lull(&flow->limits, &flow->entry, now, 0, &wait));
	}
	/* asked again at once it says the same, but where data has come to a pause just now */
	if (wait > LULL_LOOK_MS)
		assert_false(destination_judge_lull(&flow->limits, &flow->entry, now, 0, &ignored));
	flow->last_look = now;
	flow->next_look = wait == LULL_NO_LOOK ? 0 : flow->now + wait;
}

static void pass(struct flow *flow, uint64_t milliseconds)
{
	uint64_t until = flow->now + milliseconds;

	while (flow->next_look != 0 && flow->next_look <= until) {
		flow->now = flow->next_look;
		look(flow);
	}
	flow->now = until;
}

/* A segment comes, and is acknowledged. */
static void receive(struct flow *flow, bool is_end, bool has_data)
{
	answer(&flow->entry, now_of(flow));
	peer_entry_refresh(&flow->entry.last_sent, now_of(flow));
	if (peer_entry_note_data(&flow->entry, is_end, has_data) &&
	    (flow->next_look == 0 || flow->next_look > flow->now + LULL_LOOK_MS))
		flow->next_look = flow->now + LULL_LOOK_MS;
}

static void receive_for(struct flow *flow, uint64_t milliseconds, uint64_t interval)
{
	for (uint64_t passed = 0; passed < milliseconds; passed += interval) {
		receive(flow, false, true);
		pass(flow, interval);
	}
}

static void who_suddenly_sends_nothing_is_asked(void **state)
{
	static const uint64_t latest[] = {1000, 3000, 5000, 9000, 17000};

	(void)state;
	for (uint64_t begin = 100000; begin < 101000; begin += 13) {
		struct flow flow = flow_from(begin);
		uint64_t end;

		receive_for(&flow, 3000, 10);
		assert_int_equal(flow.sent, 0);
		end = flow.now - 10;
		pass(&flow, 60000);
		assert_int_equal(flow.sent, 5);
		for (size_t i = 0; i < flow.sent; i++)
			assert_in_range(flow.times[i], end + (500u << i), end + latest[i]);
		assert_int_equal(flow.next_look, 0);
	}
}

static void who_goes_on_is_not_asked_again(void **state)
{
	struct flow flow = flow_from(100000);

	(void)state;
	receive_for(&flow, 3000, 10);
	pass(&flow, 2500);
	assert_in_range(flow.sent, 1, 2);
	flow.sent = 0;
	receive_for(&flow, 3000, 400);
	assert_int_equal(flow.sent, 0);
}

static void who_ended_the_connection_is_not_asked(void **state)
{
	(void)state;
	for (unsigned earlier = 0; earlier <= 3000; earlier += 100) {
		struct flow flow = flow_from(100000);

		receive_for(&flow, 3000, 10);
		pass(&flow, earlier);
		flow.sent = 0;
		receive(&flow, true, true);
		/* the last acknowledgment */
		receive(&flow, false, false);
		pass(&flow, 60000);
		assert_int_equal(flow.sent, 0);
		assert_int_equal(flow.next_look, 0);
	}
}

static void who_only_acknowledges_is_not_asked(void **state)
{
	struct flow flow = flow_from(100000);

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		receive(&flow, false, false);
		assert_int_equal(flow.next_look, 0);
		pass(&flow, 10);
	}
}

/* TCP that leaves tells the far end who we are. */
static void who_was_sent_tcp_is_not_asked(void **state)
{
	struct flow flow = flow_from(100000);

	(void)state;
	receive_for(&flow, 3000, 10);
	pass(&flow, 2500);
	flow.sent = 0;
	peer_entry_refresh(&flow.entry.last_tcp, now_of(&flow));
	peer_entry_refresh(&flow.entry.last_sent, now_of(&flow));
	pass(&flow, 60000);
	assert_int_equal(flow.sent, 0);
	assert_int_equal(flow.next_look, 0);
}

static void who_is_not_kept_alive_is_not_asked(void **state)
{
	struct flow flows[] = {flow_from(100000), flow_from(100000)};

	(void)state;
	flows[0].limits.keepalive = 0;
	atomic_store(&flows[1].entry.is_proven, false);
	for (size_t i = 0; i < 2; i++) {
		assert_true(peer_entry_note_data(&flows[i].entry, false, true));
		flows[i].next_look = flows[i].now + LULL_LOOK_MS;
		pass(&flows[i], 60000);
		assert_int_equal(flows[i].sent, 0);
		assert_int_equal(flows[i].next_look, 0);
	}
}

static void assert_six_in_25_s(const struct flow *flow)
{
	for (size_t i = 6; i < flow->sent; i++)
		assert_true(flow->times[i] - flow->times[i - 6] >= 25000);
}

static void lulls_have_a_budget(void **state)
{
	struct dice dice = dice_for("lulls");

	(void)state;
	for (uint64_t interval = 501; interval < 12000; interval += 97) {
		struct flow flow = flow_from(100000);

		receive_for(&flow, 120000, interval);
		assert_true(interval < 1000 || flow.sent > 0);
		assert_six_in_25_s(&flow);
	}
	for (unsigned run = 0; run < 100; run++) {
		struct flow flow = flow_from(100000);

		while (flow.now < 220000) {
			receive(&flow, dice_once_in(&dice, 10), true);
			pass(&flow, dice_below(&dice, dice_once_in(&dice, 2) ? 8000 : 1200));
		}
		assert_six_in_25_s(&flow);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_never_answered_is_forgotten_soon),
		cmocka_unit_test(who_answered_is_remembered_for_the_time_out),
		cmocka_unit_test(no_time_out_is_shorter_than_an_answer_may_take),
		cmocka_unit_test(who_answered_is_kept_alive),
		cmocka_unit_test(who_wanted_tcp_but_never_answered_is_not),
		cmocka_unit_test(a_second_is_the_shortest_interval),
		cmocka_unit_test(keepalives_are_spread),
		cmocka_unit_test(when_a_newcomer_is_looked_at),
		cmocka_unit_test(who_suddenly_sends_nothing_is_asked),
		cmocka_unit_test(who_goes_on_is_not_asked_again),
		cmocka_unit_test(who_ended_the_connection_is_not_asked),
		cmocka_unit_test(who_only_acknowledges_is_not_asked),
		cmocka_unit_test(who_was_sent_tcp_is_not_asked),
		cmocka_unit_test(who_is_not_kept_alive_is_not_asked),
		cmocka_unit_test(lulls_have_a_budget),
	};

	return report_seed(cmocka_run_group_tests_name("destinations", tests, NULL, NULL));
}
