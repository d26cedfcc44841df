/*
 * Whether coalesced packets are worth trying on the tunnel interface. Pure: the caller brings the
 * clock.
 *
 * Theory of operation. Some kernels refuse coalesced packets that others take, by a check too many
 * in how they read the virtio_net header, or all of a sudden, while a module is changed. What is
 * refused is written segment by segment, which is slower and loses nothing, so one refusal is no
 * reason to stop. More than a few in a row are: then nothing is coalesced for a minute, and after
 * it one packet finds out whether that is still so. A packet that is taken starts the count anew.
 */
#ifndef UDP_ENCAP_TUN_COALESCING_H
#define UDP_ENCAP_TUN_COALESCING_H

#include <stdbool.h>
#include <stdint.h>

enum {
	COALESCING_MAX_REFUSALS = 3,    /* in a row: one more, and it is given up */
	COALESCING_GIVEN_UP_MS = 60000, /* a packet each minute costs nothing */
};

/** All zero: not given up. */
struct coalescing {
	unsigned refusals; /* of coalesced packets in a row */
	uint64_t retry_at; /* milliseconds, 0: it is not given up */
};

/** True when a coalesced packet may be made and written. @now: milliseconds, monotonic */
static inline bool coalescing_may_try(const struct coalescing *coalescing, uint64_t now)
{
	return coalescing->retry_at == 0 || now >= coalescing->retry_at;
}

/** The interface took a coalesced packet. */
static inline void coalescing_taken(struct coalescing *coalescing)
{
	*coalescing = (struct coalescing){0};
}

/**
 * The interface refused a coalesced packet and took its segments.
 * Returns true when coalescing is given up now, though it was in use before.
 */
static inline bool coalescing_refused(struct coalescing *coalescing, uint64_t now)
{
	bool was_in_use = coalescing->retry_at == 0;

	if (was_in_use && ++coalescing->refusals <= COALESCING_MAX_REFUSALS)
		return false;
	coalescing->retry_at = now + COALESCING_GIVEN_UP_MS;
	return was_in_use;
}

#endif
