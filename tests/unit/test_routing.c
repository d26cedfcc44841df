/* Routing: where a packet goes, from which address, and how large it may be, under each policy. */
#include "peers_scene.h"
#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const enum peers_policy policies[] = {PEERS_OPEN_SERVER, PEERS_ENDPOINT,
					     PEERS_SOLICITED_ENDPOINT};

static void without_a_tunnel_address_nothing_goes(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		scene_open_bare(policies[i], 100);
		assert_int_equal(scene_route(0xcb007107, 100, 1).verdict,
				 ROUTING_HAS_NO_TUNNEL_ADDRESS);
		assert_int_equal(connection_store_count(scene.store), 0);
		scene_close();
	}
}

static void only_the_tunnels_own_address_is_a_source(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct routing routing;
		enum routing_verdict usual;

		scene_open(policies[i], 100);
		usual = policies[i] == PEERS_OPEN_SERVER ? ROUTING_KNOWS_NO_DESTINATION : ROUTED;
		routing = scene_route_from(0xc0a80114, 0xcb007107, SCENE_MAX_PAYLOAD + 1, 1);
		assert_int_equal(routing.verdict, ROUTING_HAS_FOREIGN_SOURCE);
		assert_null(routing.entry);
		assert_int_equal(scene_route_from(SCENE_TUNNEL + 1, 0xcb007107, 100, 1).verdict,
				 ROUTING_HAS_FOREIGN_SOURCE);
		assert_int_equal(connection_store_count(scene.store), 0);
		/* the address as it is at that moment */
		scene_set_tunnel_address(SCENE_TUNNEL + 1);
		assert_int_equal(scene_route_from(SCENE_TUNNEL, 0xcb007107, 100, 1).verdict,
				 ROUTING_HAS_FOREIGN_SOURCE);
		assert_int_equal(scene_route_from(SCENE_TUNNEL + 1, 0xcb007107, 100, 1).verdict,
				 usual);
		scene_close();
	}
}

static void a_segment_is_as_large_as_the_bound_at_most(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct routing routing;

		scene_open(policies[i], 100);
		routing = scene_route(0xcb007107, SCENE_MAX_PAYLOAD + 1, 1);
		assert_int_equal(routing.verdict, ROUTING_IS_TOO_BIG);
		assert_int_equal(routing.max_payload, SCENE_MAX_PAYLOAD);
		assert_null(routing.entry);
		/* nothing is remembered of what did not go */
		assert_int_equal(connection_store_count(scene.store), 0);
		routing = scene_route(0xcb007107, SCENE_MAX_PAYLOAD, 1);
		assert_int_equal(routing.verdict, policies[i] == PEERS_OPEN_SERVER
							  ? ROUTING_KNOWS_NO_DESTINATION
							  : ROUTED);
		assert_int_equal(routing.max_payload, SCENE_MAX_PAYLOAD);
		scene_close();
	}
}

static void a_server_answers_from_where_it_was_spoken_to(void **state)
{
	struct transport_address from = peer_of(0xcb007107, 40000).remote;
	struct ip_address own = ipv4_address(SCENE_OWN), second = ipv4_address(SCENE_OWN + 1);
	struct admission admission, beside;
	struct routing routing;
	uint32_t address;

	(void)state;
	scene_open(PEERS_OPEN_SERVER, 100);
	admission = scene_admit(&from, 10);
	/* not from where it was spoken to last */
	beside = scene_admit_at(&from, SCENE_OWN + 1, 10);
	address = host_order(&beside.source);
	routing = scene_route(address, 100, 20);
	assert_ptr_equal(routing.entry, beside.entry);
	assert_memory_equal(&routing.destination, &from, sizeof(from));
	assert_memory_equal(&routing.source, &second, sizeof(second));
	address = host_order(&admission.source);
	routing = scene_route(address, 100, 20);
	assert_int_equal(routing.verdict, ROUTED);
	assert_ptr_equal(routing.entry, admission.entry);
	assert_memory_equal(&routing.destination, &from, sizeof(from));
	assert_memory_equal(&routing.source, &own, sizeof(own));
	/* rule R3: sending keeps nobody */
	assert_int_equal(admission.entry->last_received, 10);
	address = SCENE_NETWORK + (host_order(&beside.source) == SCENE_NETWORK + 2 ? 4 : 2);
	if (address == host_order(&admission.source))
		address++;
	assert_int_equal(scene_route(address, 100, 20).verdict, ROUTING_KNOWS_NO_DESTINATION);
	assert_int_equal(scene_route(SCENE_TUNNEL, 100, 20).verdict, ROUTING_KNOWS_NO_DESTINATION);
	assert_int_equal(scene_route(0xcb007107, 100, 20).verdict, ROUTING_KNOWS_NO_DESTINATION);
	scene_close();
}

static void a_peer_that_lost_its_source_is_not_sent_to(void **state)
{
	struct transport_address from = peer_of(0xcb007107, 40000).remote;
	struct transport_address other = peer_of(0xcb007107, 40001).remote;
	struct transport_address destination;
	struct admission bereft, mover;
	struct move move = {.source_is_proven = true};
	uint32_t address;

	(void)state;
	scene_open(PEERS_OPEN_SERVER, 100);
	bereft = scene_admit(&from, 10);
	mover = scene_admit(&other, 10);
	address = host_order(&bereft.source);
	connection_store_prove(scene.store, bereft.entry);
	move.peer = peer_entry_destination(bereft.entry)->peer;
	assert_int_equal(connection_store_move(scene.store, mover.entry, &move, 10, NULL, NULL),
			 ENTRY_MOVED);
	assert_int_equal(scene_route(address, 100, 11).verdict, ROUTING_HAS_LOST_ITS_PEER);
	assert_null(scene_route(address, 100, 11).entry);
	destination = scene_route(host_order(&mover.source), 100, 11).destination;
	assert_memory_equal(&destination, &from, sizeof(from));
	assert_ptr_equal(scene_admit(&from, 11).entry, mover.entry);
	scene_close();
}

static void an_endpoint_sends_to_the_packets_own_destination(void **state)
{
	struct transport_address far = peer_of(0xcb007107, SCENE_ENDPOINT_PORT).remote;
	struct ip_address own = ipv4_address(SCENE_OWN);

	(void)state;
	for (size_t i = 1; i < 3; i++) {
		struct routing routing;

		scene_open(policies[i], 100);
		routing = scene_route(0xcb007107, 100, 10);
		assert_int_equal(routing.verdict, ROUTED);
		assert_int_equal(routing.obtained, ENTRY_MADE);
		assert_memory_equal(&routing.destination, &far, sizeof(far));
		assert_memory_equal(&routing.source, &own, sizeof(own));
		assert_non_null(routing.entry);
		routing = scene_route(0xcb007107, 100, 12);
		assert_int_equal(routing.obtained, ENTRY_FOUND);
		assert_int_equal(routing.entry->last_sent, 12);
		assert_int_equal(routing.entry->last_tcp, 12);
		assert_int_equal(routing.entry->last_received, 10);
		assert_int_equal(connection_store_count(scene.store), 1);
		scene_close();
	}
}

static void without_room_for_an_entry(void **state)
{
	struct routing routing;

	(void)state;
	scene_open(PEERS_ENDPOINT, 1);
	scene_route(0xcb007107, 100, 10);
	routing = scene_route(0xcb007108, 100, 10);
	assert_int_equal(routing.verdict, ROUTED);
	assert_int_equal(routing.obtained, ENTRY_REFUSED);
	assert_null(routing.entry);
	assert_int_equal(host_order(&routing.destination.address), 0xcb007108);
	scene_close();

	scene_open(PEERS_SOLICITED_ENDPOINT, 1);
	scene_route(0xcb007107, 100, 10);
	routing = scene_route(0xcb007108, 100, 10);
	assert_int_equal(routing.verdict, ROUTING_CANNOT_REMEMBER);
	assert_int_equal(routing.obtained, ENTRY_REFUSED);
	assert_null(routing.entry);
	assert_int_equal(scene_route(0xcb007107, 100, 10).verdict, ROUTED);
	scene_close();
}

/* The verdict about a packet to this address; where it is sent, from where. */
static void expect_source(uint32_t destination, uint32_t source)
{
	struct routing routing = scene_route(destination, 100, 20);

	assert_int_equal(routing.verdict, source != 0 ? ROUTED : ROUTING_HAS_NO_SOURCE);
	if (source != 0)
		assert_int_equal(host_order(&routing.source), source);
}

static void an_endpoint_sends_from_no_strangers_address(void **state)
{
	enum { OTHER_SOURCE = 0x0a0a0a02 };
	struct ip_address other = ipv4_address(OTHER_SOURCE);
	struct peer_entry *entry;

	(void)state;
	scene_open(PEERS_ENDPOINT, 2);
	/* the device's, until the destination was asked for */
	expect_source(0xcb007107, SCENE_OWN);
	entry = scene_route(0xcb007107, 100, 10).entry;
	peer_entry_set_source(entry, SOURCE_IS_OWN, &other);
	expect_source(0xcb007107, OTHER_SOURCE);
	expect_source(0xcb007108, SCENE_OWN);
	/* without room for an entry, too */
	expect_source(0xcb007109, SCENE_OWN);
	/* one that was found stays while the device has none */
	scene_set_device_source(0);
	expect_source(0xcb007107, OTHER_SOURCE);
	expect_source(0xcb007108, 0);
	expect_source(0xcb007109, 0);
	peer_entry_set_source(entry, SOURCE_IS_THE_DEVICES, NULL);
	expect_source(0xcb007107, 0);
	/* and one that is missing stays so while the device has one */
	scene_set_device_source(SCENE_OWN);
	expect_source(0xcb007107, SCENE_OWN);
	peer_entry_set_source(entry, SOURCE_IS_MISSING, NULL);
	expect_source(0xcb007107, 0);
	scene_close();
}

static void what_is_not_sent_is_no_sign_of_life(void **state)
{
	struct peer_entry *entry;

	(void)state;
	scene_open(PEERS_ENDPOINT, 100);
	entry = scene_route(0xcb007107, 100, 10).entry;
	scene_set_device_source(0);
	assert_int_equal(scene_route(0xcb007107, 100, 20).verdict, ROUTING_HAS_NO_SOURCE);
	assert_int_equal(entry->last_sent, 10);
	/* but TCP wants to go there: it is kept alive as soon as it can be */
	assert_int_equal(entry->last_tcp, 20);
	scene_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_tunnel_address_nothing_goes),
		cmocka_unit_test(only_the_tunnels_own_address_is_a_source),
		cmocka_unit_test(a_segment_is_as_large_as_the_bound_at_most),
		cmocka_unit_test(a_server_answers_from_where_it_was_spoken_to),
		cmocka_unit_test(a_peer_that_lost_its_source_is_not_sent_to),
		cmocka_unit_test(an_endpoint_sends_to_the_packets_own_destination),
		cmocka_unit_test(without_room_for_an_entry),
		cmocka_unit_test(an_endpoint_sends_from_no_strangers_address),
		cmocka_unit_test(what_is_not_sent_is_no_sign_of_life),
	};

	return report_seed(cmocka_run_group_tests_name("routing", tests, scene_register_thread,
						       scene_unregister_thread));
}
