/* Admission: whether a datagram may come in, and as whom, under each policy. */
#include "peers_scene.h"
#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct transport_address client(uint32_t number)
{
	return numbered_peer(number).remote;
}

static void assert_address(const struct ip_address *address, uint32_t expected)
{
	struct ip_address wanted = ipv4_address(expected);

	assert_memory_equal(address, &wanted, sizeof(wanted));
}

static void a_server_gives_whoever_sends_an_address(void **state)
{
	struct transport_address from = client(1), other = client(2);
	struct admission first, again, another;

	(void)state;
	scene_open(PEERS_OPEN_SERVER, 100);
	first = scene_admit(&from, 10);
	assert_int_equal(first.verdict, ADMITTED);
	assert_int_equal(first.obtained, ENTRY_MADE);
	assert_non_null(first.entry);
	assert_address(&first.destination, SCENE_TUNNEL);
	assert_memory_equal(&first.source, &first.entry->tunnel_address, 16);
	assert_in_range(host_order(&first.source), SCENE_NETWORK + 2, SCENE_NETWORK + 254);
	assert_address(&peer_entry_destination(first.entry)->peer.own_address, SCENE_OWN);
	again = scene_admit(&from, 12);
	assert_int_equal(again.obtained, ENTRY_FOUND);
	assert_ptr_equal(again.entry, first.entry);
	assert_int_equal(first.entry->last_received, 12);
	/* a keepalive is no TCP, and sending is another matter */
	assert_int_equal(first.entry->last_tcp, 10);
	assert_int_equal(first.entry->last_sent, 10);
	another = scene_admit(&other, 12);
	assert_int_equal(another.obtained, ENTRY_MADE);
	assert_ptr_not_equal(another.entry, first.entry);
	scene_close();
}

/* Rule R2: two addresses of the server that one source sends to make two peers of it. */
static void a_server_is_a_peer_at_each_of_its_addresses(void **state)
{
	struct transport_address from = client(1);
	struct admission one, other;

	(void)state;
	scene_open(PEERS_OPEN_SERVER, 100);
	one = scene_admit(&from, 10);
	other = scene_admit_at(&from, SCENE_OWN + 1, 10);
	assert_int_equal(other.obtained, ENTRY_MADE);
	assert_ptr_not_equal(other.entry, one.entry);
	assert_memory_not_equal(&other.source, &one.source, 16);
	for (uint32_t now = 11; now < 20; now++) {
		assert_ptr_equal(scene_admit(&from, now).entry, one.entry);
		assert_ptr_equal(scene_admit_at(&from, SCENE_OWN + 1, now).entry, other.entry);
	}
	assert_int_equal(connection_store_count(scene.store), 2);
	scene_close();
}

static void a_server_without_an_address_admits_nobody(void **state)
{
	struct transport_address from = client(1);
	struct admission admission;

	(void)state;
	scene_open_bare(PEERS_OPEN_SERVER, 100);
	admission = scene_admit(&from, 1);
	assert_int_equal(admission.verdict, ADMISSION_HAS_NO_TUNNEL_ADDRESS);
	assert_null(admission.entry);
	assert_int_equal(admission.obtained, ENTRY_FOUND);
	/* an address of which no pool followed yet */
	scene_set_tunnel_address(SCENE_TUNNEL);
	admission = scene_admit(&from, 1);
	assert_int_equal(admission.verdict, ADMISSION_HAS_NO_TUNNEL_ADDRESS);
	assert_int_equal(admission.obtained, ENTRY_HAS_NO_POOL);
	assert_null(admission.entry);
	scene_set_pool(24);
	assert_int_equal(scene_admit(&from, 1).verdict, ADMITTED);
	/* and away again, though the peer has its entry */
	scene_set_tunnel_address(0);
	assert_int_equal(scene_admit(&from, 1).verdict, ADMISSION_HAS_NO_TUNNEL_ADDRESS);
	assert_int_equal(connection_store_count(scene.store), 1);
	scene_close();
}

static void a_full_server_admits_those_it_knows(void **state)
{
	(void)state;
	scene_open(PEERS_OPEN_SERVER, 3);
	for (uint32_t number = 0; number < 5; number++) {
		struct transport_address from = client(number);
		struct admission admission = scene_admit(&from, 1);

		if (number < 3) {
			assert_int_equal(admission.verdict, ADMITTED);
			continue;
		}
		assert_int_equal(admission.verdict, ADMISSION_HAS_NO_ROOM);
		assert_int_equal(admission.obtained, ENTRY_REFUSED);
		assert_null(admission.entry);
	}
	for (uint32_t number = 0; number < 3; number++) {
		struct transport_address from = client(number);

		assert_int_equal(scene_admit(&from, 2).verdict, ADMITTED);
	}
	scene_close();
}

/* The control thread is told before the pool cannot give an address at once. */
static void a_server_says_when_it_wants_spares(void **state)
{
	uint32_t number = 0;

	(void)state;
	scene_open(PEERS_OPEN_SERVER, 1000);
	scene_set_pool(23);
	for (; number < 500; number++) {
		struct transport_address from = client(number);

		if (scene_admit(&from, 1).wants_spares)
			break;
	}
	assert_in_range(number, 1, 499);
	scene_close();
}

static void an_endpoint_admits_anybody_as_himself(void **state)
{
	struct transport_address from = client(1);
	struct admission admission;

	(void)state;
	scene_open(PEERS_ENDPOINT, 100);
	admission = scene_admit(&from, 10);
	assert_int_equal(admission.verdict, ADMITTED);
	assert_memory_equal(&admission.source, &from.address, 16);
	assert_address(&admission.destination, SCENE_TUNNEL);
	assert_null(admission.entry);
	/* nothing is made of what comes in */
	assert_int_equal(connection_store_count(scene.store), 0);
	scene_set_tunnel_address(SCENE_TUNNEL + 7);
	admission = scene_admit(&from, 10);
	assert_address(&admission.destination, SCENE_TUNNEL + 7);
	scene_set_tunnel_address(0);
	assert_int_equal(scene_admit(&from, 10).verdict, ADMISSION_HAS_NO_TUNNEL_ADDRESS);
	scene_close();
}

static void an_endpoint_remembers_when_a_destination_answered(void **state)
{
	struct transport_address far = peer_of(0xcb007107, SCENE_ENDPOINT_PORT).remote;
	struct peer_entry *entry;

	(void)state;
	scene_open(PEERS_ENDPOINT, 100);
	entry = scene_route(0xcb007107, 100, 10).entry;
	assert_non_null(entry);
	/* whichever of our addresses it answers to; what is no TCP is no answer */
	assert_ptr_equal(scene_admit(&far, 15).entry, entry);
	assert_ptr_equal(scene_admit_at(&far, SCENE_OWN + 1, 15).entry, entry);
	assert_int_equal(entry->last_received, 10);
	assert_false(peer_entry_has_answered(entry));
	peers_note_tcp(&scene, entry, 16);
	assert_true(peer_entry_has_answered(entry));
	assert_int_equal(entry->last_received, 16);
	assert_int_equal(entry->last_tcp, 16);
	assert_int_equal(entry->last_sent, 10);
	/* another port of the same host is somebody else */
	far = peer_of(0xcb007107, SCENE_ENDPOINT_PORT + 1).remote;
	assert_null(scene_admit(&far, 17).entry);
	scene_close();
}

/* Rule R7: a server's peer proves nothing by what it sends. */
static void what_a_servers_peer_sends_proves_nothing(void **state)
{
	struct transport_address from = client(1);
	struct peer_entry *entry;

	(void)state;
	scene_open(PEERS_OPEN_SERVER, 100);
	entry = scene_admit(&from, 10).entry;
	peers_note_tcp(&scene, entry, 11);
	assert_int_equal(entry->last_tcp, 11);
	assert_int_equal(entry->last_received, 10);
	assert_false(peer_entry_is_proven(entry));
	scene_close();
}

static enum admission_verdict heard(const struct transport_address *from, uint32_t now)
{
	struct admission admission = scene_admit(from, now);

	/* what is not let in leaves no trace */
	assert_int_equal(admission.entry != NULL, admission.verdict == ADMITTED);
	return admission.verdict;
}

static void solicited_is_who_was_sent_to_lately(void **state)
{
	struct transport_address far = peer_of(0xcb007107, SCENE_ENDPOINT_PORT).remote;
	struct transport_address other = peer_of(0xcb007108, SCENE_ENDPOINT_PORT).remote;

	(void)state;
	scene_open(PEERS_SOLICITED_ENDPOINT, 100);
	assert_int_equal(heard(&far, 10), ADMISSION_IS_UNSOLICITED);
	assert_int_equal(scene_route(0xcb007107, 100, 10).verdict, ROUTED);
	assert_int_equal(heard(&far, 10), ADMITTED);
	assert_int_equal(heard(&other, 10), ADMISSION_IS_UNSOLICITED);
	assert_int_equal(heard(&far, 10 + SCENE_ANSWER_TIME), ADMITTED);
	/* what came in, and was no TCP, does not count */
	assert_int_equal(heard(&far, 10 + SCENE_ANSWER_TIME + 1), ADMISSION_IS_UNSOLICITED);
	assert_int_equal(scene_route(0xcb007107, 100, 1000).verdict, ROUTED);
	assert_int_equal(heard(&far, 1001), ADMITTED);
	scene_close();
}

static void solicited_is_who_answered_with_tcp(void **state)
{
	struct transport_address far = peer_of(0xcb007107, SCENE_ENDPOINT_PORT).remote;
	struct peer_entry *entry;

	(void)state;
	scene_open(PEERS_SOLICITED_ENDPOINT, 100);
	entry = scene_route(0xcb007107, 100, 10).entry;
	assert_false(peer_entry_has_answered(entry));
	peers_note_tcp(&scene, scene_admit(&far, 20).entry, 20);
	assert_true(peer_entry_has_answered(entry));
	assert_int_equal(entry->last_tcp, 20);
	assert_int_equal(heard(&far, 20 + SCENE_TIMEOUT), ADMITTED);
	assert_int_equal(heard(&far, 20 + SCENE_TIMEOUT + 1), ADMISSION_IS_UNSOLICITED);
	/* a keepalive was sent */
	peer_entry_refresh(&entry->last_sent, 400);
	assert_int_equal(heard(&far, 400 + SCENE_ANSWER_TIME), ADMITTED);
	assert_int_equal(heard(&far, 400 + SCENE_ANSWER_TIME + 1), ADMISSION_IS_UNSOLICITED);
	scene_close();
}

static void how_long_an_answer_may_take(void **state)
{
	(void)state;
	assert_int_equal(peers_answer_time(0), 30);
	assert_int_equal(peers_answer_time(25), 30);
	assert_int_equal(peers_answer_time(26), 31);
	assert_int_equal(peers_answer_time(1 << 30), (1 << 30) + 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_gives_whoever_sends_an_address),
		cmocka_unit_test(a_server_is_a_peer_at_each_of_its_addresses),
		cmocka_unit_test(a_server_without_an_address_admits_nobody),
		cmocka_unit_test(a_full_server_admits_those_it_knows),
		cmocka_unit_test(a_server_says_when_it_wants_spares),
		cmocka_unit_test(an_endpoint_admits_anybody_as_himself),
		cmocka_unit_test(an_endpoint_remembers_when_a_destination_answered),
		cmocka_unit_test(what_a_servers_peer_sends_proves_nothing),
		cmocka_unit_test(solicited_is_who_was_sent_to_lately),
		cmocka_unit_test(solicited_is_who_answered_with_tcp),
		cmocka_unit_test(how_long_an_answer_may_take),
	};

	return report_seed(cmocka_run_group_tests_name("admission", tests, scene_register_thread,
						       scene_unregister_thread));
}
