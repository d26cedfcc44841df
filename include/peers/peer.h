/*
 * A peer: who talks to us, and to which of our ends. Pure.
 *
 * A remote end that talks to two addresses of a server is two peers, each answered from the address
 * that it talks to (rule R2). With --port-per-worker it may talk to several of our ports, and is
 * then a peer of each, as it is to the far end.
 */
#ifndef UDP_ENCAP_TUN_PEER_H
#define UDP_ENCAP_TUN_PEER_H

#include "base/address.h"

struct peer {
	struct transport_address remote;
	struct ip_address own_address; /* that it talks to; all zero in endpoint mode */
	uint16_t own_port;             /* that it talks to, network byte order */
};

static inline bool peer_equal(const struct peer *a, const struct peer *b)
{
	return transport_address_equal(&a->remote, &b->remote) && a->own_port == b->own_port &&
	       ip_address_equal(&a->own_address, &b->own_address);
}

#endif
