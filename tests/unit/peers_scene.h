/* A peers' room of its own for each test of the two decisions, without a worker. */
#ifndef UDP_ENCAP_TUN_PEERS_SCENE_H
#define UDP_ENCAP_TUN_PEERS_SCENE_H

#include "peers/admission.h"
#include "peers/routing.h"

enum {
	SCENE_NETWORK = 0x0a400000, /* 10.64.0.0/24, the pool */
	SCENE_TUNNEL = SCENE_NETWORK + 1,
	SCENE_OWN = 0x0a0a0a01, /* where datagrams arrive */
	SCENE_OWN_PORT = 5000,
	SCENE_ENDPOINT_PORT = 5001,
	SCENE_TIMEOUT = 300,
	SCENE_ANSWER_TIME = 30,
	SCENE_MAX_PAYLOAD = 1472,
};

extern struct peers scene;

/** Opens the scene, with the tunnel address and a server's pool, or an endpoint's source. */
void scene_open(enum peers_policy policy, uint32_t max_entries);

/** The same before the tunnel interface has an address. */
void scene_open_bare(enum peers_policy policy, uint32_t max_entries);

void scene_close(void);

/** Gives the tunnel interface an address, host byte order; 0: takes it away. */
void scene_set_tunnel_address(uint32_t address);

/** Has the bound device send from an address, host byte order; 0: from none. */
void scene_set_device_source(uint32_t address);

void scene_set_pool(unsigned bits);

/** Asks peers_admit() about a datagram from this peer. */
struct admission scene_admit(const struct transport_address *from, uint32_t now);

/** The same about one that was sent to another own address, host byte order. */
struct admission scene_admit_at(const struct transport_address *from, uint32_t own, uint32_t now);

/** Asks peers_route() about a packet from and to these addresses, host byte order. */
struct routing scene_route_from(uint32_t source, uint32_t destination, size_t payload,
				uint32_t now);

/** The same from the tunnel's own address. */
struct routing scene_route(uint32_t destination, size_t payload, uint32_t now);

/** cmocka's group fixtures: this thread is the control thread and a worker. */
int scene_register_thread(void **state);
int scene_unregister_thread(void **state);

#endif
