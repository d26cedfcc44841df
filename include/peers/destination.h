/*
 * Destinations: where a peer is reached, and from which end of ours.
 *
 * A destination is constant while anybody can see it, so whoever holds one, under RCU, holds it
 * whole.
 */
#ifndef UDP_ENCAP_TUN_DESTINATION_H
#define UDP_ENCAP_TUN_DESTINATION_H

#include "peers/peer.h"

/** Where an entry's peer is reached. */
struct destination {
	struct peer peer;
};

#endif
