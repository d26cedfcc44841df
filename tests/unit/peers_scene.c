/* The scene of the two decisions; see peers_scene.h. */
#include "peers_scene.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct peers scene;

static uint16_t port_number(uint16_t port)
{
	return peer_of(0, port).remote.port;
}

void scene_open_bare(enum peers_policy policy, uint32_t max_entries)
{
	const struct peers_settings settings = {
		.policy = policy,
		.endpoint_port = port_number(SCENE_ENDPOINT_PORT),
		.connection_timeout = SCENE_TIMEOUT,
		.answer_time = SCENE_ANSWER_TIME,
		.max_payload = SCENE_MAX_PAYLOAD,
		.store = {.max_entries = max_entries,
			  .quarantine = 1200,
			  .gives_tunnel_address = policy == PEERS_OPEN_SERVER},
	};

	assert_true(peers_open(&scene, &settings));
}

void scene_set_pool(unsigned bits)
{
	const struct ip_address own = ipv4_address(SCENE_TUNNEL);
	const struct pool_range range = {
		.prefix = {ipv4_address(SCENE_NETWORK), (uint8_t)(96 + bits)},
		.excluded = &own,
		.excluded_count = 1,
		.max_slots = 1 << 16,
	};
	uint32_t lost;

	assert_true(connection_store_set_pool(scene.store, &range, 1, NULL, NULL, &lost));
}

void scene_set_tunnel_address(uint32_t address)
{
	struct tunnel_addresses addresses = {{{0}}, {{0}}};

	if (address != 0)
		addresses.ipv4 = ipv4_address(address);
	assert_true(peers_set_tunnel_addresses(&scene, &addresses));
}

void scene_set_device_source(uint32_t address)
{
	struct ip_address source = {{0}};

	if (address != 0)
		source = ipv4_address(address);
	assert_true(peers_set_device_source(&scene, &source));
}

void scene_open(enum peers_policy policy, uint32_t max_entries)
{
	scene_open_bare(policy, max_entries);
	scene_set_tunnel_address(SCENE_TUNNEL);
	if (policy == PEERS_OPEN_SERVER)
		scene_set_pool(24);
	else
		scene_set_device_source(SCENE_OWN);
}

void scene_close(void)
{
	peers_close(&scene);
}

struct admission scene_admit(const struct transport_address *from, uint32_t now)
{
	return scene_admit_at(from, SCENE_OWN, now);
}

struct admission scene_admit_at(const struct transport_address *from, uint32_t own, uint32_t now)
{
	const struct arrival arrival = {
		.from = *from,
		.own_address = ipv4_address(own),
		.own_port = port_number(SCENE_OWN_PORT),
	};
	struct admission admission;

	memset(&admission, 0xff, sizeof(admission));
	peers_admit(&scene, &arrival, now, &admission);
	return admission;
}

struct routing scene_route_from(uint32_t source, uint32_t destination, size_t payload, uint32_t now)
{
	const struct departure departure = {
		.source = ipv4_address(source),
		.destination = ipv4_address(destination),
		.payload = payload,
		.own_port = port_number(SCENE_OWN_PORT),
	};
	struct routing routing;

	memset(&routing, 0xff, sizeof(routing));
	peers_route(&scene, &departure, now, &routing);
	return routing;
}

struct routing scene_route(uint32_t destination, size_t payload, uint32_t now)
{
	return scene_route_from(SCENE_TUNNEL, destination, payload, now);
}

int scene_register_thread(void **state)
{
	(void)state;
	rcu_thread_register();
	return 0;
}

int scene_unregister_thread(void **state)
{
	(void)state;
	rcu_thread_unregister();
	return 0;
}
