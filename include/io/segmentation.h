/*
 * Whether UDP segmentation works (UDP_SEGMENT): for which destinations, and for the device. Pure:
 * the caller brings the clock.
 *
 * Theory of operation. A message of several datagrams may be refused while its datagrams are taken
 * singly: the route to that destination leads over a device without checksum offload, say. Then its
 * messages go singly for GSO_RETRY_SECONDS. When that happens with GSO_FAILED_PEERS different
 * destinations within that time, it is the device or the kernel, and the offload is given up for
 * all. After the same time one message tries again: what works is in use again, what fails is given
 * up at once.
 */
#ifndef UDP_ENCAP_TUN_SEGMENTATION_H
#define UDP_ENCAP_TUN_SEGMENTATION_H

#include "base/address.h"

enum {
	/* What a driver or a card does wrong it does for good; a route may be another one soon. */
	GSO_RETRY_SECONDS = 60,
	GSO_FAILED_PEERS = 3, /* one or two may have a route of their own */
};

/** A destination for which a message had to go out singly. */
struct gso_failure {
	struct transport_address destination;
	uint32_t at; /* monotonic seconds, as all times here */
};

/** All zero: it works, as far as is known. */
struct segmentation {
	bool is_given_up; /* for the device, and all of them */
	bool is_on_trial; /* it was, and has not worked since */
	uint32_t given_up_at;
	uint32_t worked_at;    /* when the last trial ended well; 0: none did */
	unsigned failed_count; /* different destinations, lately */
	struct gso_failure failed[GSO_FAILED_PEERS - 1];
};

/** Puts what was given up on trial when its time is over. */
void segmentation_try_again_in_time(struct segmentation *segmentation, uint32_t now);

/** Whether messages for a destination went singly lately; remembered of the last few alone. */
bool segmentation_has_failed_lately(const struct segmentation *segmentation,
				    const struct transport_address *destination, uint32_t now);

/**
 * A message was refused and its datagrams were taken.
 * Returns true when the offload is given up for all now, and that is worth telling.
 */
bool segmentation_failed(struct segmentation *segmentation,
			 const struct transport_address *destination, uint32_t now);

/** A message was taken as a whole. */
static inline void segmentation_worked(struct segmentation *segmentation, uint32_t now)
{
	if (!segmentation->is_on_trial)
		return;
	segmentation->is_on_trial = false;
	segmentation->worked_at = now;
}

#endif
