/*
 * What the workers and the control thread share. Everything here is constant while workers run, but
 * for the atomic fields and what has rules of its own (store, notices).
 */
#ifndef UDP_ENCAP_TUN_FORWARDING_H
#define UDP_ENCAP_TUN_FORWARDING_H

#include "cli/options.h"
#include "exchange/notices.h"
#include "peers/connection_store.h"

struct forwarding {
	const struct options *options;
	struct connection_store *store; /* server mode: peers; endpoint mode: destinations */
	struct notices notices;
	bool with_vnet_header;
	size_t max_payload; /* UDP payload of a datagram at most, bytes (rule W6) */
	/* First IPv4 address of the tunnel interface, network byte order, 0: none. A lone value, so
	 * relaxed ordering is enough. */
	_Atomic uint32_t tunnel_address;
	_Atomic bool is_stopping;
};

#endif
