/*
 * Room for an endpoint's newcomers: destinations that never answered make it.
 *
 * Theory of operation. A port scan makes an entry for each address that it tries. When nearly all
 * are in use, workers raise a notice, and of the destinations that did not answer yet those that
 * were sent to longest ago are forgotten, all but so many that they and the free places are one
 * half each of what those that answered leave. So one that is about to answer has as long as as
 * many others take to be sent to. None that answered makes room.
 *
 * Which those are the turns tell that entries take when something is sent to them: each turn is one
 * entry's, so at most N entries are among the last N turns.
 *
 * A look goes through the whole store and waits for a grace period. It is followed by a pause of
 * several times its own length; no worker waits meanwhile, what finds no room is carried without an
 * entry or discarded, as the policy says.
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
	struct counters *counters;
	uint32_t max_entries;
};

struct room {
	struct room_settings settings;
	event_loop *loop;
	struct event_timer pause;
};

/** Prepares it. */
void room_start(struct room *room, event_loop *loop, const struct room_settings *settings);

/** NOTICE_ROOM_WANTED is up: makes room and lowers it, when the pause is over. Control thread. */
void room_want(struct room *room);

/** Stops its timer. */
void room_close(struct room *room);

#endif
