/*
 * Data from an endpoint's destinations that suddenly does not go on: keepalives that bring it back.
 *
 * Theory of operation. A worker marks an entry when data came, and what ended a connection takes
 * the mark back: one look at a byte of the entry for each message. The first mark since a look
 * raises a notice, which brings the next look. A look goes through all entries: it takes the marks,
 * and where there was one before and there is none again, data has paused for a while
 * (destination_judge_lull()). As long as data flows a look follows each half second, then when the
 * next keepalive is due, and then none. The notice stays up while looks follow each other closely;
 * it is lowered before the last of them.
 *
 * The pause after a look is several times its own length: a large store does not take the thread.
 */
#ifndef UDP_ENCAP_TUN_LULLS_H
#define UDP_ENCAP_TUN_LULLS_H

#include "base/event_loop.h"
#include "control/expiry.h"
#include "exchange/notices.h"

struct lulls {
	event_loop *loop;
	struct event_timer timer;
	const struct expiry *expiry; /* sends the keepalives */
	struct notices *notices;
	uint64_t due;       /* when the next look is, monotonic milliseconds */
	uint32_t last_look; /* monotonic seconds */
};

/** Prepares it. @expiry: is opened before the loop runs */
void lulls_start(struct lulls *lulls, event_loop *loop, const struct expiry *expiry,
		 struct notices *notices);

/** NOTICE_DATA_CAME is up. Control thread. */
void lulls_note_data(struct lulls *lulls);

void lulls_close(struct lulls *lulls);

#endif
