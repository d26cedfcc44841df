/*
 * How long an endpoint remembers a destination, and when it sends it a keepalive. Pure but for the
 * entry that it reads.
 *
 * Theory of operation. Whatever leaves through the tunnel has a destination, a port scan's too, so
 * only one that answered with TCP is kept alive, and remembered for longer than an answer may take
 * (rule R1).
 *
 * Destinations that were spoken to at the same time do not want their keepalives at the same time:
 * each has its own time until one is due, drawn anew for each time that something was sent to it.
 * It is never longer than the interval, for that is what NATs on the way count on. After TCP it may
 * be as short as half of it: what begins in the same second is spread over half the interval at
 * once, and drifts further apart with each keepalive.
 *
 * A server that starts again knows nobody, and what its TCP repeats reaches no one until this side
 * sends something, which a side that only receives does not. So where data came and suddenly none
 * does, for as long as from one look to the next, a keepalive is sent, and others when twice the
 * time has passed each time. Data pauses for other reasons, too: the end of a connection ends it,
 * TCP that leaves makes it needless, and keepalives for lulls have a budget of their own, which
 * fills up again slowly.
 */
#ifndef UDP_ENCAP_TUN_DESTINATIONS_H
#define UDP_ENCAP_TUN_DESTINATIONS_H

#include "peers/peers.h"

/** All in seconds. */
struct destination_limits {
	uint32_t connection_timeout;
	uint32_t answer_time;   /* see peers_answer_time() */
	uint32_t keepalive;     /* 0: off */
	uint32_t keepalive_for; /* after the last TCP */
};

enum destination_verdict {
	DESTINATION_STAYS,
	DESTINATION_WANTS_KEEPALIVE,
	DESTINATION_IS_OVER,
};

/**
 * Decides about an entry. Control thread.
 * @now: monotonic seconds
 * @wait: seconds until it may need attention again, written when it stays
 */
enum destination_verdict destination_judge(const struct destination_limits *limits,
					   const struct peer_entry *entry, uint32_t now,
					   uint32_t *wait);

enum {
	LULL_LOOK_MS = 500, /* between two looks at data that flows, at least */
	LULL_SECONDS = 25,  /* that one lasts at most: then keepalives come anyway, by default */
};

#define LULL_NO_LOOK UINT32_MAX /* instead of a time until the next one */

/**
 * Judges whether a keepalive shall be sent because data from an entry's destination ceased. Control
 * thread.
 * @now: monotonic seconds
 * @passed: seconds since the entry was looked at for this last
 * @wait: milliseconds until the next look, or LULL_NO_LOOK; with a keepalive until the next try
 */
bool destination_judge_lull(const struct destination_limits *limits, struct peer_entry *entry,
			    uint32_t now, uint32_t passed, uint32_t *wait);

/** Takes a keepalive that was sent for a lull out of the destination's budget. Control thread. */
void destination_spend_lull(struct peer_entry *entry);

/** Seconds from when an entry is made until it may need attention. */
uint32_t destination_first_look(const struct destination_limits *limits);

#endif
