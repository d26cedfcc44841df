/*
 * Answers to the workers' notices: lines in the log, spare addresses, the list of newcomers,
 * sources of new entries, and room for them.
 *
 * Theory of operation. A notice that stays up is not raised again, so how long it is left up is the
 * rate limit of what it is about: a timer lowers it, or nobody where one line is enough.
 */
#ifndef UDP_ENCAP_TUN_WARNINGS_H
#define UDP_ENCAP_TUN_WARNINGS_H

#include "control/ending.h"
#include "control/expiry.h"
#include "control/lulls.h"
#include "control/peer_log.h"
#include "control/room.h"
#include "control/sources.h"
#include "control/tally.h"
#include "exchange/notices.h"
#include "peers/peers.h"

struct warnings_settings {
	struct notices *notices;
	const struct peers *peers;
	struct peer_log *peer_log;
	const struct tally *tally;
	const char *device; /* the bound one's name */
	const char *tunnel; /* the tunnel interface's name */
	bool is_server;
	struct sources *sources; /* asked where an entry wants its source */
	struct expiry *expiry;   /* told of an endpoint's entries that were made */
	struct lulls *lulls;     /* told of data that came to an endpoint */
	struct room *room;       /* asked where there is hardly any left */
};

/** A notice that is left up until a timer lowers it. */
struct quiet {
	struct event_timer timer;
	struct notices *notices;
	enum notice notice;
};

struct warnings {
	struct warnings_settings settings;
	struct ending *ending;
	struct event_watch watch;
	struct quiet refusals;
	struct quiet spares;
	struct quiet gso;
	struct quiet coalescing;
	struct quiet foreign;
	uint64_t refusals_told; /* as many were in the log lines so far */
};

/** Answers notices from now on. */
void warnings_start(struct warnings *warnings, struct ending *ending,
		    const struct warnings_settings *settings);

void warnings_close(struct warnings *warnings);

#endif
