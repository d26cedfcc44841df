/*
 * The lines of --log-peers: who came, and who went. One of an entry that comes and goes before the
 * first line could be written comes first all the same. What is more than the budget of lines
 * allows is counted, and told in one line a second.
 */
#ifndef UDP_ENCAP_TUN_PEER_LOG_H
#define UDP_ENCAP_TUN_PEER_LOG_H

#include "base/counters.h"
#include "base/event_loop.h"
#include "control/line_budget.h"
#include "peers/peers.h"

struct peer_log {
	struct connection_store *store; /* that keeps records; NULL: nothing is logged */
	bool has_tunnel_addresses;      /* server mode: a line names them */
	bool has_several_ports;         /* a line names which of our ports */
	event_loop *loop;
	struct counters *counters;
	struct line_budget budget;
	struct event_timer summary; /* when those without a line of their own are told of */
	uint32_t untold_came;
	uint32_t untold_went;
};

/** Logs the peers that came since the last call. Control thread. */
void peer_log_newcomers(struct peer_log *log);

/** An entry_removed: logs that a peer went. `argument` is the struct peer_log. Control thread. */
void peer_log_removed(const struct peer_entry *entry, void *argument);

/** Logs all peers that are there as gone: the program ends. Control thread. */
void peer_log_leaving(struct peer_log *log);

/** Stops its timer. */
void peer_log_close(struct peer_log *log);

#endif
