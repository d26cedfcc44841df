/* Provisional entries (rule R7): how many, what proves a peer, who makes room; promise i. */
#include "packet/headers.h"
#include "peers/proof.h"
#include "peers/store.h"
#include "peers_scene.h"
#include "random_traffic.h"
#include "store_contest.h"

#include <arpa/inet.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
	PART = 4,
	BITS = 24,
	LIMIT = 253 / PART, /* of a /24: network, broadcast and the own address are left out */
	RESERVE = LIMIT / 8,
};

/* The first number of a connection whose numbers wrap. */
#define ISS 0xffffffffu

/* A peers' room whose entries are limited. */
static struct peers limited(uint32_t max_entries, unsigned bits)
{
	const struct peers_settings settings = {
		.policy = PEERS_OPEN_SERVER,
		.store = {.max_entries = max_entries,
			  .quarantine = QUARANTINE,
			  .gives_tunnel_address = true,
			  .provisional_part = PART},
	};
	struct peers peers;

	memset(&peers, 0, sizeof(peers));
	assert_true(peers_open(&peers, &settings));
	assert_int_equal(set_pool(peers.store, NETWORK, bits, 1), 0);
	return peers;
}

static void assert_has_to_wait(struct connection_store *store, uint32_t number, uint32_t now)
{
	struct peer peer = numbered_peer(number);
	enum obtain_result result;

	assert_null(connection_store_obtain(store, &peer, now, &result));
	assert_int_equal(result, ENTRY_HAS_TO_WAIT);
}

static void assert_has_no_room(struct connection_store *store, uint32_t number, uint32_t now)
{
	struct peer peer = numbered_peer(number);
	enum obtain_result result;

	assert_null(connection_store_obtain(store, &peer, now, &result));
	assert_int_equal(result, ENTRY_REFUSED);
}

static uint32_t evict(struct connection_store *store, uint32_t now)
{
	return connection_store_evict(store, now, NULL, NULL);
}

static void obtain_some(struct connection_store *store, uint32_t first, uint32_t count,
			uint32_t now)
{
	for (uint32_t i = 0; i < count; i++)
		obtain(store, first + i, now, ENTRY_MADE);
}

static void no_more_than_their_part(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct connection_store *store = peers.store;

	(void)state;
	obtain_some(store, 0, LIMIT - RESERVE, 1);
	assert_false(connection_store_wants_room(store));
	obtain_some(store, LIMIT - RESERVE, RESERVE, 1);
	assert_true(connection_store_wants_room(store));
	assert_has_to_wait(store, LIMIT, 1);
	assert_int_equal(connection_store_count(store), LIMIT);
	assert_int_equal(connection_store_count_provisional(store), LIMIT);
	/* who is there stays reachable */
	obtain(store, 0, 2, ENTRY_FOUND);
	assert_int_equal(evict(store, 2), 2 * RESERVE);
	assert_false(connection_store_wants_room(store));
	for (uint32_t number = 0; number < LIMIT; number++)
		assert_int_equal(find(store, number) == NULL, number < 2 * RESERVE);
	obtain(store, LIMIT, 2, ENTRY_MADE);
	assert_is_sound(store);
	/* there is room: none has to go */
	assert_int_equal(evict(store, 2), 0);
	peers_close(&peers);
}

static void of_a_few_entries_one_goes_when_it_must(void **state)
{
	struct peers peers = limited(3, BITS);
	struct connection_store *store = peers.store;

	(void)state;
	obtain(store, 0, 1, ENTRY_MADE);
	assert_false(connection_store_wants_room(store));
	assert_has_to_wait(store, 1, 1);
	assert_true(connection_store_wants_room(store));
	assert_int_equal(evict(store, 1), 1);
	obtain(store, 1, 1, ENTRY_MADE);
	connection_store_prove(store, find(store, 1));
	obtain(store, 2, 1, ENTRY_MADE);
	assert_int_equal(connection_store_count(store), 2);
	peers_close(&peers);
}

static void a_proven_entry_never_makes_room(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct connection_store *store = peers.store;
	uint32_t count;

	(void)state;
	for (uint32_t number = 0; number < 100; number++) {
		connection_store_prove(store, obtain(store, number, 1, ENTRY_MADE));
		connection_store_prove(store, find(store, number));
	}
	assert_int_equal(connection_store_count_provisional(store), 0);
	for (uint32_t number = 1000; number < 5000; number++) {
		struct peer peer = numbered_peer(number);
		enum obtain_result result;

		(void)connection_store_obtain(store, &peer, 2, &result);
		if (connection_store_wants_room(store))
			(void)evict(store, 2);
	}
	assert_in_range(connection_store_count_provisional(store), LIMIT - 2 * RESERVE, LIMIT);
	count = connection_store_count(store);
	assert_in_range(count, 100 + LIMIT - 2 * RESERVE, 100 + LIMIT);
	for (uint32_t number = 0; number < 100; number++)
		assert_true(peer_entry_is_proven(find(store, number)));
	assert_is_sound(store);
	/* proven ones that expire are no provisional ones */
	assert_int_equal(expire(store, 1000, 500), count);
	assert_int_equal(connection_store_count_provisional(store), 0);
	peers_close(&peers);
}

/* But the younger half may be about to be answered. */
static void who_was_sent_nothing_or_a_reset_goes_first(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct connection_store *store = peers.store;

	(void)state;
	obtain_some(store, 0, LIMIT, 1);
	for (uint32_t number = 0; number < LIMIT; number++)
		peers_note_sent(find(store, number), number % 4 == 3 ? TCP_RST : TCP_SYN | TCP_ACK,
				number, 1);
	assert_int_equal(evict(store, 1), 2 * RESERVE);
	for (uint32_t number = 0; number < LIMIT; number++) {
		bool is_first = number % 4 == 3 && number < LIMIT / 2;

		/* there are seven of those, and then the seven oldest of the others go */
		assert_int_equal(find(store, number) == NULL, is_first || number <= 8);
	}
	peers_close(&peers);
}

/* What was sent, what came, and whether that proves the peer. */
struct exchange_case {
	uint8_t sent;
	uint32_t end;
	uint8_t heard;
	uint32_t acknowledgment;
	bool is_proof;
};

static void what_proves_a_peer(void **state)
{
	static const struct exchange_case cases[] = {
		/* it opens a connection */
		{SYN | ACK, ISS + 1, ACK, ISS + 1, true},
		{SYN | ACK, ISS + 1, ACK | PSH, ISS + 1, true},
		{SYN | ACK, ISS + 1, ACK | FIN, ISS + 1, true},
		{SYN | ACK, ISS + 1, ACK, ISS, false},
		{SYN | ACK, ISS + 1, ACK, ISS + 2, false},
		{SYN | ACK, ISS + 1, PSH, ISS + 1, false},
		{SYN | ACK, ISS + 1, SYN, ISS + 1, false},
		{SYN | ACK, ISS + 1, RST, ISS + 1, false},
		{SYN | ACK, ISS + 1, RST | ACK, ISS + 1, true},
		/* a connection to it is opened, or refused */
		{SYN, ISS + 1, SYN | ACK, ISS + 1, true},
		{SYN, ISS + 1, RST | ACK, ISS + 1, true},
		{SYN, ISS + 1, RST | ACK, ISS, false},
		/* one goes on: it only sends, and is sent pure acknowledgments; or it only receives
		 */
		{ACK, 77, ACK | PSH, 77, true},
		{ACK | PSH, 2000, ACK, 2000, true},
		{ACK | FIN, 2001, ACK, 2001, true},
		/* no SYN was sent */
		{ACK, 77, SYN | ACK, 77, false},
		{ACK, 77, RST | ACK, 77, false},
		/* the number is the one that came itself */
		{RST, 77, ACK, 77, false},
		{RST | ACK, 77, ACK, 77, false},
		{RST, 0, ACK, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct exchange_case *c = &cases[i];
		struct peers peers = limited(100, BITS);
		struct peer_entry *entry = obtain(peers.store, 1, 1, ENTRY_MADE);

		peers_note_sent(entry, c->sent, c->end, 1);
		assert_int_equal(peers_note_heard(&peers, entry, c->heard, c->acknowledgment),
				 c->is_proof);
		assert_int_equal(peer_entry_is_proven(entry), c->is_proof);
		assert_int_equal(connection_store_count_provisional(peers.store), !c->is_proof);
		peers_close(&peers);
	}
}

static void before_anything_was_sent_nothing_proves(void **state)
{
	struct peers peers = limited(100, BITS);
	struct peer_entry *entry = obtain(peers.store, 1, 1, ENTRY_MADE);

	(void)state;
	assert_false(peers_note_heard(&peers, entry, ACK, 0));
	assert_false(peers_note_heard(&peers, entry, SYN | ACK, 0));
	/* and what was sent to who had the place before counts for nobody */
	peers_note_sent(entry, SYN | ACK, 5, 1);
	assert_int_equal(expire(peers.store, 2, 1), 1);
	entry = obtain(peers.store, 2, 2, ENTRY_MADE);
	assert_false(peers_note_heard(&peers, entry, ACK, 5));
	peers_close(&peers);
}

static void an_end_is_remembered_for_the_rest_of_the_second(void **state)
{
	struct peers peers = limited(100, BITS);
	struct peer_entry *entry = obtain(peers.store, 1, 1, ENTRY_MADE);

	(void)state;
	peers_note_sent(entry, RST, 1, 1);
	peers_note_sent(entry, ACK, 100, 1);
	peers_note_sent(entry, ACK, 200, 1);
	peers_note_sent(entry, SYN | ACK, 300, 1);
	assert_false(peers_note_heard(&peers, entry, ACK, 200));
	assert_false(peers_note_heard(&peers, entry, ACK, 300));
	peers_note_sent(entry, SYN | ACK, 350, 2);
	peers_note_sent(entry, ACK, 400, 2);
	peers_note_sent(entry, RST, 500, 3);
	assert_false(peers_note_heard(&peers, entry, ACK, 100));
	/* no SYN any more */
	assert_false(peers_note_heard(&peers, entry, RST | ACK, 400));
	assert_false(peers_note_heard(&peers, entry, ACK, 500));
	assert_true(peers_note_heard(&peers, entry, ACK, 400));
	peers_close(&peers);
}

/* Who forges an address has openings answered to it all the time. */
static void answers_to_openings_hide_no_other_end(void **state)
{
	struct peers peers = limited(100, BITS);
	struct peer_entry *entry = obtain(peers.store, 1, 1, ENTRY_MADE);

	(void)state;
	peers_note_sent(entry, SYN | ACK, 100, 1);
	peers_note_sent(entry, SYN | ACK, 200, 1);
	peers_note_sent(entry, ACK, 300, 1);
	peers_note_sent(entry, SYN | ACK, 400, 1);
	/* what is remembered is none of a SYN */
	assert_false(peers_note_heard(&peers, entry, RST | ACK, 300));
	assert_true(peers_note_heard(&peers, entry, ACK, 300));
	peers_close(&peers);
}

/* The address that the first peer had, and what became of it when that made room. */
static enum obtain_result next_in_a_pool_of_one(uint8_t sent, bool by_time)
{
	struct peers peers = limited(100, 30);
	struct connection_store *store = peers.store;
	struct peer_entry *entry = obtain(store, 1, 5, ENTRY_MADE);
	struct peer peer = numbered_peer(2);
	enum obtain_result result;

	if (sent != 0)
		peers_note_sent(entry, sent, 1, 5);
	assert_has_to_wait(store, 2, 5);
	assert_int_equal(by_time ? expire(store, 7, 1) : evict(store, 7), 1);
	assert_non_null(connection_store_obtain(store, &peer, 8, &result));
	peers_close(&peers);
	return result;
}

static void quarantine_follows_from_what_was_sent(void **state)
{
	(void)state;
	for (int by_time = 0; by_time < 2; by_time++) {
		assert_int_equal(next_in_a_pool_of_one(0, by_time), ENTRY_MADE);
		assert_int_equal(next_in_a_pool_of_one(RST, by_time), ENTRY_MADE);
		assert_int_equal(next_in_a_pool_of_one(RST | ACK, by_time), ENTRY_MADE);
		assert_int_equal(next_in_a_pool_of_one(SYN | ACK, by_time), ENTRY_MADE);
		assert_int_equal(next_in_a_pool_of_one(SYN, by_time), ENTRY_MADE_IN_QUARANTINE);
		assert_int_equal(next_in_a_pool_of_one(ACK, by_time), ENTRY_MADE_IN_QUARANTINE);
		assert_int_equal(next_in_a_pool_of_one(ACK | PSH, by_time),
				 ENTRY_MADE_IN_QUARANTINE);
	}
}

/* Proven peers had every address but a few; then come forged sources, more than those few. */
static void a_flood_shortens_no_quarantine(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct connection_store *store = peers.store;
	uint32_t in_quarantine = 0;

	(void)state;
	for (uint32_t number = 0; number < 240; number++)
		connection_store_prove(store, obtain(store, number, 1, ENTRY_MADE));
	assert_int_equal(expire(store, 10, 5), 240);
	for (uint32_t number = 1000; number < 10000; number++) {
		struct peer peer = numbered_peer(number);
		enum obtain_result result;

		(void)connection_store_obtain(store, &peer, 20, &result);
		in_quarantine += result == ENTRY_MADE_IN_QUARANTINE;
		if (connection_store_wants_room(store))
			(void)evict(store, 20);
	}
	assert_int_equal(in_quarantine, 0);
	assert_true(expire(store, 100, 50) > 0);
	/* each finds its own address in quarantine still */
	for (uint32_t number = 0; number < 240; number++)
		connection_store_prove(store, obtain(store, number, 100, ENTRY_MADE));
	peers_close(&peers);
}

static uint32_t address_given_to(const struct peer_entry *entry)
{
	return ntohl(ip_address_ipv4(&entry->tunnel_address));
}

/* A newcomer gets in within some tries: each makes the control thread look once. */
static void assert_each_gets_in(struct connection_store *store, uint32_t first, uint32_t now)
{
	for (uint32_t number = first; number < first + 1000; number++) {
		struct peer peer = numbered_peer(number);
		enum obtain_result result = ENTRY_HAS_TO_WAIT;

		for (int tries = 0; tries < 2 && result == ENTRY_HAS_TO_WAIT; tries++) {
			(void)connection_store_obtain(store, &peer, now, &result);
			if (connection_store_wants_room(store))
				(void)evict(store, now);
		}
		assert_int_equal(result, ENTRY_MADE);
	}
}

/* Where proven peers leave less than their part. */
static void the_last_addresses_are_not_held_by_a_flood(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct connection_store *store = peers.store;

	(void)state;
	for (uint32_t number = 0; number < 205; number++)
		connection_store_prove(store, obtain(store, number, 1, ENTRY_MADE));
	obtain_some(store, 1000, 253 - 205, 1);
	assert_each_gets_in(store, 2000, 2);
	for (uint32_t number = 0; number < 205; number++)
		assert_true(peer_entry_is_proven(find(store, number)));
	peers_close(&peers);
}

static void addresses_out_of_quarantine_are_not_held_by_a_flood(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct connection_store *store = peers.store;

	(void)state;
	for (uint32_t number = 0; number < 240; number++)
		connection_store_prove(store, obtain(store, number, 1, ENTRY_MADE));
	assert_int_equal(expire(store, 10, 5), 240);
	obtain_some(store, 1000, 253 - 240, 20);
	assert_each_gets_in(store, 2000, 21);
	peers_close(&peers);
}

static void the_last_entries_are_not_held_by_a_flood(void **state)
{
	struct peers peers = limited(8, BITS);
	struct connection_store *store = peers.store;

	(void)state;
	for (uint32_t number = 0; number < 7; number++)
		connection_store_prove(store, obtain(store, number, 1, ENTRY_MADE));
	obtain(store, 1000, 1, ENTRY_MADE);
	assert_each_gets_in(store, 2000, 2);
	/* but when none is provisional, the store is full */
	connection_store_prove(store, find(store, 2999));
	assert_has_no_room(store, 3000, 2);
	peers_close(&peers);
}

/* Whose home a forged one held finds the address that it was given instead, in quarantine. */
static void a_former_address_is_found_past_a_home_that_was_held(void **state)
{
	uint32_t pairs = 0;

	(void)state;
	for (uint32_t forged = 0; forged < 40; forged++) {
		struct peers peers = limited(1000, BITS);
		struct connection_store *store = peers.store;
		uint32_t home = address_given_to(obtain(store, forged, 1, ENTRY_MADE));

		for (uint32_t number = 1000; number < 1060; number++) {
			uint32_t before, after;

			before = address_given_to(obtain(store, number, 1, ENTRY_MADE));
			connection_store_prove(store, find(store, number));
			if (before != home + 1) /* it begins elsewhere, most likely */
				continue;
			peer_entry_refresh(&find(store, forged)->last_received, 10);
			(void)expire(store, 10, 5);
			(void)expire(store, 20, 5);
			after = address_given_to(obtain(store, number, 30, ENTRY_MADE));
			assert_int_equal(after, before);
			pairs++;
			break;
		}
		peers_close(&peers);
	}
	assert_true(pairs > 0);
}

static void a_change_of_the_pool_changes_their_part(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct connection_store *store = peers.store;

	(void)state;
	obtain_some(store, 0, 50, 1);
	assert_true(set_pool(store, NETWORK, 20, 2) == 0);
	obtain_some(store, 50, 200, 2);
	/* a quarter of 1,000 entries, not of 4,093 addresses */
	assert_has_to_wait(store, 250, 2);
	assert_int_equal(connection_store_count_provisional(store), 250);
	(void)set_pool(store, NETWORK, BITS, 3);
	assert_int_equal(connection_store_count_provisional(store), connection_store_count(store));
	(void)evict(store, 3);
	assert_in_range(connection_store_count_provisional(store), 0, LIMIT - 2 * RESERVE);
	assert_is_sound(store);
	peers_close(&peers);
}

static void put_entries_are_what_they_were(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct former_entry former = {.last_received = 1, .is_proven = true};

	(void)state;
	for (uint32_t number = 0; number < 2 * LIMIT; number++) {
		former.peer = numbered_peer(number);
		former.tunnel_address = ipv4_address(NETWORK + 10 + number);
		former.is_proven = number % 2 == 0;
		assert_int_equal(connection_store_put(peers.store, &former), ENTRY_PUT);
	}
	assert_int_equal(connection_store_count_provisional(peers.store), LIMIT);
	assert_has_to_wait(peers.store, 1000, 2);
	assert_int_equal(evict(peers.store, 2), 2 * RESERVE);
	for (uint32_t number = 0; number < 2 * LIMIT; number++)
		assert_int_equal(find(peers.store, number) == NULL,
				 number % 2 == 1 && number < 4 * RESERVE);
	peers_close(&peers);
}

/* A moved entry takes its place in the queue along; an absorbed one frees it. */
static void moves_and_places(void **state)
{
	struct peers peers = limited(1000, BITS);
	struct connection_store *store = peers.store;
	struct move move = {.peer = numbered_peer(1)};
	struct peer_entry *mover;

	(void)state;
	mover = obtain(store, 0, 1, ENTRY_MADE);
	obtain_some(store, 1, LIMIT - 1, 1);
	assert_int_equal(connection_store_move(store, mover, &move, 1, NULL, NULL), ENTRY_MOVED);
	assert_int_equal(connection_store_count_provisional(store), LIMIT - 1);
	obtain(store, 1000, 1, ENTRY_MADE);
	assert_int_equal(evict(store, 1), 2 * RESERVE);
	assert_null(find(store, 0)); /* its alias */
	assert_null(find(store, 1));
	assert_is_sound(store);
	peers_close(&peers);
}

static struct admission admit_from(struct peers *peers, uint32_t number, enum backlog backlog,
				   uint64_t milliseconds)
{
	const struct peer peer = numbered_peer(number);
	const struct arrival arrival = {
		.from = peer.remote,
		.own_address = peer.own_address,
		.backlog = backlog,
		.milliseconds = milliseconds,
	};
	struct admission admission;

	peers_admit(peers, &arrival, (uint32_t)(milliseconds / 1000), &admission);
	return admission;
}

static struct admission admit_from_backlog(struct peers *peers, uint32_t number)
{
	return admit_from(peers, number, BACKLOG_GROWS, 1000);
}

/* When more comes than is taken in, a crowd of newcomers keeps others out, and nobody else. */
static void a_backlog_of_newcomers_is_refused(void **state)
{
	struct peers peers = limited(1000, BITS);
	const struct tunnel_addresses tunnel = {.ipv4 = ipv4_address(OWN)};
	struct admission admission;

	(void)state;
	assert_true(peers_set_tunnel_addresses(&peers, &tunnel));
	for (uint32_t number = 0; number <= LIMIT / 2; number++)
		assert_int_equal(admit_from_backlog(&peers, number).verdict, ADMITTED);
	admission = admit_from_backlog(&peers, 1000);
	assert_int_equal(admission.verdict, ADMISSION_HAS_NO_ROOM);
	assert_int_equal(admission.obtained, ENTRY_HAS_TO_WAIT);
	assert_null(admission.entry);
	admission = admit_from_backlog(&peers, 1);
	assert_int_equal(admission.verdict, ADMITTED);
	assert_int_equal(admission.obtained, ENTRY_FOUND);
	assert_true(admission.is_provisional);
	connection_store_prove(peers.store, admission.entry);
	admission = admit_from_backlog(&peers, 1);
	assert_false(admission.is_provisional);
	/* one less, and there is no crowd */
	assert_int_equal(admit_from_backlog(&peers, 1000).verdict, ADMITTED);
	peers_close(&peers);
}

/* As TCP does with its SYN. While the backlog is long, not even that helps. */
static void who_comes_again_is_let_in(void **state)
{
	struct peers peers = limited(1000, BITS);
	const struct tunnel_addresses tunnel = {.ipv4 = ipv4_address(OWN)};
	struct admission admission;

	(void)state;
	assert_true(peers_set_tunnel_addresses(&peers, &tunnel));
	obtain_some(peers.store, 0, LIMIT / 2 + 1, 1);
	for (uint64_t at = 1000; at <= 1400; at += 100)
		assert_int_equal(admit_from(&peers, 1000, BACKLOG_GROWS, at).obtained,
				 ENTRY_HAS_TO_WAIT);
	admission = admit_from(&peers, 1000, BACKLOG_IS_LONG, 2000);
	assert_int_equal(admission.verdict, ADMISSION_HAS_NO_ROOM);
	assert_int_equal(admission.obtained, ENTRY_HAS_TO_WAIT);
	admission = admit_from(&peers, 1000, BACKLOG_GROWS, 2000);
	assert_int_equal(admission.verdict, ADMITTED);
	assert_int_equal(admission.obtained, ENTRY_MADE);
	assert_int_equal(admit_from(&peers, 1000, BACKLOG_IS_LONG, 2000).obtained, ENTRY_FOUND);
	/* who comes while it is long is remembered, too */
	assert_int_equal(admit_from(&peers, 1002, BACKLOG_IS_LONG, 2000).obtained,
			 ENTRY_HAS_TO_WAIT);
	assert_int_equal(admit_from(&peers, 1002, BACKLOG_GROWS, 3000).obtained, ENTRY_MADE);
	/* too late: it is somebody's first datagram again */
	assert_int_equal(admit_from(&peers, 1001, BACKLOG_GROWS, 3000).obtained, ENTRY_HAS_TO_WAIT);
	assert_int_equal(admit_from(&peers, 1001, BACKLOG_GROWS, 12000).obtained,
			 ENTRY_HAS_TO_WAIT);
	assert_int_equal(admit_from(&peers, 1001, BACKLOG_GROWS, 12600).obtained, ENTRY_MADE);
	peers_close(&peers);
}

/* Forged sources, and one in a hundred that answers: it stays, however many come. */
static void forge(struct worker *worker)
{
	struct connection_store *store = worker->contest->store;

	for (uint32_t i = 0; i < 200000 / SLOWNESS && worker->fault == NULL; i++) {
		bool is_honest = dice_once_in(&worker->dice, 100);
		struct peer peer = numbered_peer(worker->number << 20 | i);
		enum obtain_result result;
		struct peer_entry *entry;

		entry = connection_store_obtain(store, &peer, 1, &result);
		worker->made += result == ENTRY_MADE;
		if (entry != NULL && is_honest) {
			connection_store_prove(store, entry);
			worker->found[worker->refused++] = entry;
		}
		if (connection_store_count_provisional(store) > 16384 / PART + THREADS)
			worker->fault = "more than their part";
		rcu_quiescent();
	}
}

static uint32_t count_proven;

static bool note_proven(struct peer_entry *entry, void *argument)
{
	(void)argument;
	count_proven += peer_entry_is_proven(entry);
	return false;
}

static void count_removed(const struct peer_entry *entry, void *argument)
{
	(void)entry;
	++*(uint32_t *)argument;
}

static void workers_prove_what_is_evicted(void **state)
{
	uint32_t evicted = 0, told = 0, made, honest = 0, alive = 0;
	struct peers peers = limited(16384, 16);

	(void)state;
	contest = (struct contest){.store = peers.store, .peers = 200000};
	start_workers(__func__, forge);
	while (atomic_load(&contest.running) > 0) {
		evicted += connection_store_evict(contest.store, 1, count_removed, &told);
		sched_yield();
	}
	made = end_workers();
	for (uint32_t i = 0; i < THREADS; i++)
		honest += contest.workers[i].refused;
	assert_int_equal(told, evicted);
	assert_int_equal(connection_store_count(contest.store), made - evicted);
	count_proven = 0;
	(void)connection_store_sweep(contest.store, 1, note_proven, NULL, NULL);
	/* one that was evicted at the very moment comes back as a newcomer */
	assert_in_range(count_proven, 1, honest);
	alive = connection_store_count(contest.store) - count_proven;
	assert_int_equal(connection_store_count_provisional(contest.store), alive);
	assert_is_sound(contest.store);
	peers.store = NULL;
	peers_close(&peers);
}

/* Newcomers, one in ten of which is proven, come and come again. */
static void come_and_go(struct worker *worker)
{
	struct connection_store *store = worker->contest->store;

	while (!atomic_load(&worker->contest->is_over)) {
		uint32_t now = atomic_load(&worker->contest->now);
		struct peer peer = numbered_peer(dice_below(&worker->dice, worker->contest->peers));
		enum obtain_result result;
		struct peer_entry *entry = connection_store_obtain(store, &peer, now, &result);

		if (entry != NULL) {
			peer_entry_refresh(&entry->last_received, now);
			if (dice_once_in(&worker->dice, 10))
				connection_store_prove(store, entry);
		}
		rcu_quiescent();
	}
}

static bool one_in_twenty(struct peer_entry *entry, void *dice)
{
	(void)entry;
	return dice_once_in(dice, 20);
}

static void move_one(struct connection_store *store, struct dice *dice, uint32_t now)
{
	const struct move move = {
		.peer = numbered_peer(dice_below(dice, contest.peers)),
		.source_is_proven = dice_once_in(dice, 2),
		.absorbs_with_quarantine = dice_once_in(dice, 2),
		.drops_former_holder = dice_once_in(dice, 2),
	};
	struct peer_entry *entry = find(store, dice_below(dice, contest.peers));

	if (entry != NULL && is_live(entry_of(entry)))
		(void)connection_store_move(store, entry, &move, now, NULL, NULL);
}

static void do_something(struct connection_store *store, struct dice *dice)
{
	uint32_t now = atomic_fetch_add(&contest.now, 1) + 1;

	switch (dice_below(dice, 8)) {
	case 0:
		(void)connection_store_sweep(store, now, one_in_twenty, NULL, dice);
		break;
	case 1:
		if (dice_once_in(dice, 20))
			(void)set_pool(store, NETWORK, 21 + dice_below(dice, 3), now);
		break;
	case 2:
	case 3:
		move_one(store, dice, now);
		break;
	default:
		(void)evict(store, now);
	}
}

/* Each provisional entry stands in the queue, once; none that is proven counts. */
static void assert_queue_is_right(struct connection_store *store, uint32_t max_entries)
{
	uint8_t *seen = test_calloc(max_entries, sizeof(*seen));
	uint32_t queued = 0, provisional = 0;

	index_queue_take_over(&store->provisional.queue);
	for (uint32_t at = index_queue_next(&store->provisional.queue); at != 0;
	     at = index_queue_next(&store->provisional.queue)) {
		assert_int_equal(seen[at - 1]++, 0);
		assert_true(is_live(&store->entries[at - 1]));
		queued += !peer_entry_is_proven(&store->entries[at - 1].public);
	}
	for (uint32_t i = 0; i < free_list_touched(&store->free); i++) {
		bool is_one = is_live(&store->entries[i]) &&
			      !peer_entry_is_proven(&store->entries[i].public);

		assert_true(!is_one || seen[i] == 1);
		provisional += is_one;
	}
	assert_int_equal(provisional, queued);
	assert_int_equal(provisional, connection_store_count_provisional(store));
	test_free(seen);
}

static void whatever_happens_the_count_is_right(void **state)
{
	enum { MAX_ENTRIES = 1024, STEPS = 1000 / SLOWNESS };

	struct peers peers = limited(MAX_ENTRIES, 22);
	struct dice dice = dice_for(__func__);

	(void)state;
	contest = (struct contest){.store = peers.store, .peers = 3000};
	atomic_store(&contest.now, 1);
	start_workers(__func__, come_and_go);
	for (int i = 0; i < STEPS; i++)
		do_something(peers.store, &dice);
	atomic_store(&contest.is_over, true);
	end_workers();
	assert_queue_is_right(peers.store, MAX_ENTRIES);
	assert_is_sound(peers.store);
	peers.store = NULL;
	peers_close(&peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_more_than_their_part),
		cmocka_unit_test(of_a_few_entries_one_goes_when_it_must),
		cmocka_unit_test(a_proven_entry_never_makes_room),
		cmocka_unit_test(who_was_sent_nothing_or_a_reset_goes_first),
		cmocka_unit_test(what_proves_a_peer),
		cmocka_unit_test(before_anything_was_sent_nothing_proves),
		cmocka_unit_test(an_end_is_remembered_for_the_rest_of_the_second),
		cmocka_unit_test(answers_to_openings_hide_no_other_end),
		cmocka_unit_test(quarantine_follows_from_what_was_sent),
		cmocka_unit_test(a_flood_shortens_no_quarantine),
		cmocka_unit_test(the_last_addresses_are_not_held_by_a_flood),
		cmocka_unit_test(addresses_out_of_quarantine_are_not_held_by_a_flood),
		cmocka_unit_test(the_last_entries_are_not_held_by_a_flood),
		cmocka_unit_test(a_former_address_is_found_past_a_home_that_was_held),
		cmocka_unit_test(a_change_of_the_pool_changes_their_part),
		cmocka_unit_test(put_entries_are_what_they_were),
		cmocka_unit_test(moves_and_places),
		cmocka_unit_test(a_backlog_of_newcomers_is_refused),
		cmocka_unit_test(who_comes_again_is_let_in),
		cmocka_unit_test_teardown(workers_prove_what_is_evicted, end_contest),
		cmocka_unit_test_teardown(whatever_happens_the_count_is_right, end_contest),
	};

	return report_seed(
		cmocka_run_group_tests(tests, become_control_thread, be_control_thread_no_more));
}
