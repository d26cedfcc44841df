/*
 * Whether a worker should look again for a moment before it sleeps. Pure: the caller brings the
 * clock.
 *
 * Theory of operation. To wake a thread on another processor, above all on a virtual one that has
 * halted, takes longer than to carry a small packet, and a request and its answer wait for that at
 * both ends. So a worker that has waited only for moments lately does not sleep at once but polls,
 * yielding the processor to whoever wants it, for no longer than the limit. Bulk data is the
 * opposite: there sleeping lets a batch gather, and polling would take the processor away from
 * those who fill it. It is known by the mean size of its segments, acknowledgments included, at any
 * rate. And a worker that has had nothing to do for some time sleeps at once: its mean wait is
 * long.
 */
#ifndef UDP_ENCAP_TUN_BUSY_POLL_H
#define UDP_ENCAP_TUN_BUSY_POLL_H

#include <stdbool.h>
#include <stdint.h>

enum {
	BUSY_POLL_SMALL = 512,   /* bytes: larger segments, in the mean, are bulk data */
	BUSY_POLL_MEMORY = 8,    /* waits and rounds that the means are over, roughly */
	BUSY_POLL_LONG_WAIT = 8, /* times the limit: longer ones count as so long */
};

struct busy_poll {
	uint64_t limit;     /* nanoseconds, 0: never poll */
	uint64_t mean_wait; /* nanoseconds, moving */
	/* of the last rounds, the latest counting most */
	uint64_t bytes;
	uint64_t segments;
};

/** Begins with a long wait behind it. @limit: nanoseconds, 0: never poll */
static inline void busy_poll_init(struct busy_poll *busy_poll, uint64_t limit)
{
	busy_poll->limit = limit;
	busy_poll->mean_wait = BUSY_POLL_LONG_WAIT * limit;
	busy_poll->bytes = 0;
	busy_poll->segments = 0;
}

/** True when polling is likely to be answered within the limit. */
static inline bool busy_poll_pays(const struct busy_poll *busy_poll)
{
	return busy_poll->mean_wait < busy_poll->limit &&
	       busy_poll->bytes <= BUSY_POLL_SMALL * busy_poll->segments;
}

/** A wait has ended, whether polling or asleep. @wait: nanoseconds */
static inline void busy_poll_waited(struct busy_poll *busy_poll, uint64_t wait)
{
	if (wait > BUSY_POLL_LONG_WAIT * busy_poll->limit)
		wait = BUSY_POLL_LONG_WAIT * busy_poll->limit;
	busy_poll->mean_wait = (busy_poll->mean_wait * (BUSY_POLL_MEMORY - 1) + wait) /
			       BUSY_POLL_MEMORY;
}

/** The sum of a moving window, which forgets a share of it with each value that is added. */
static inline uint64_t busy_poll_forget(uint64_t sum, uint64_t added)
{
	/* in 1/16, so that small sums do not get stuck */
	return sum - sum / BUSY_POLL_MEMORY + added * 16;
}

/**
 * A round has ended.
 * @bytes, @segments: UDP payload and TCP segments that it carried, both ways
 */
static inline void busy_poll_carried(struct busy_poll *busy_poll, uint64_t bytes, uint64_t segments)
{
	busy_poll->bytes = busy_poll_forget(busy_poll->bytes, bytes);
	busy_poll->segments = busy_poll_forget(busy_poll->segments, segments);
}

#endif
