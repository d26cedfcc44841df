/*
 * The lines of --log-peers: who came, and who went. One of an entry that comes and goes before the
 * first line could be written comes first all the same.
 */
#ifndef UDP_ENCAP_TUN_PEER_LOG_H
#define UDP_ENCAP_TUN_PEER_LOG_H

#include "peers/peers.h"

struct peer_log {
	struct connection_store *store; /* that keeps records; NULL: nothing is logged */
	bool has_tunnel_addresses;      /* server mode: a line names them */
	bool has_several_ports;         /* a line names which of our ports */
};

/** Logs the peers that came since the last call. Control thread. */
void peer_log_newcomers(struct peer_log *log);

/** An entry_removed: logs that a peer went. `argument` is the struct peer_log. Control thread. */
void peer_log_removed(const struct peer_entry *entry, void *argument);

/** Logs all peers that are there as gone: the program ends. Control thread. */
void peer_log_leaving(struct peer_log *log);

#endif
