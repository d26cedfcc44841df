/*
 * A peer: who talks to us. Pure.
 *
 * With --port-per-worker the same remote end may talk to several of our ports, and is then a peer
 * of each, as it is to the far end.
 */
#ifndef UDP_ENCAP_TUN_PEER_H
#define UDP_ENCAP_TUN_PEER_H

#include "base/address.h"

struct peer {
	struct transport_address remote;
	uint16_t own_port; /* the one of our ports that it talks to, network byte order */
};

static inline bool peer_equal(const struct peer *a, const struct peer *b)
{
	return transport_address_equal(&a->remote, &b->remote) && a->own_port == b->own_port;
}

#endif
