/*
 * Room for newcomers: peers that have not shown that they receive anything make it.
 *
 * Theory of operation. Workers raise a notice when there is hardly any room for such peers. Then a
 * batch of their entries goes, and the next one after a pause at the earliest; no worker waits
 * meanwhile: what finds no room is refused, or carried without an entry, as the policy says. What
 * goes is told in one line a minute.
 *
 * A server's are its provisional entries (rule R7): the store knows the oldest ones.
 *
 * An endpoint's are destinations that never answered (rule R1): a port scan makes an entry for each
 * address that it tries. Those that were sent to longest ago are forgotten, all but so many that
 * they and the free places are one half each of what those that answered leave. So one that is
 * about to answer has as long as as many others take to be sent to. Which those are the turns tell
 * that entries take when something is sent to them: each turn is one entry's, so at most N entries
 * are among the last N turns. Where none of these is left, those go that answered once but had no
 * TCP for the connection time-out: an answer can be forged. Such a look goes through the whole
 * store; the pause after it is several times its own length.
 */
#ifndef UDP_ENCAP_TUN_ROOM_H
#define UDP_ENCAP_TUN_ROOM_H

#include "base/counters.h"
#include "base/event_loop.h"
#include "control/peer_log.h"
#include "exchange/notices.h"

struct room_settings {
	struct connection_store *store;
	struct notices *notices;
	struct peer_log *peer_log;
	struct counters *counters; /* of the control thread */
	uint32_t max_entries;
	uint32_t connection_timeout; /* seconds */
	bool is_server;
};

struct room {
	struct room_settings settings;
	event_loop *loop;
	struct event_timer pause;
	struct event_timer quiet;
	uint64_t told; /* as many that made room were in the log lines so far */
};

/** Prepares it. */
void room_start(struct room *room, event_loop *loop, const struct room_settings *settings);

/** NOTICE_ROOM_WANTED is up: makes room and lowers it, when the pause is over. Control thread. */
void room_want(struct room *room);

/** Stops its timers. */
void room_close(struct room *room);

#endif
