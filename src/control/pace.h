/* How the control thread goes through much without being taken up by it. */
#ifndef UDP_ENCAP_TUN_PACE_H
#define UDP_ENCAP_TUN_PACE_H

#include "base/clock.h"

/**
 * The pause after a piece of work, milliseconds: four times as long as that took, so that all of it
 * together takes a fifth of the thread's time.
 * @began: of the work, monotonic nanoseconds
 * @least: milliseconds
 */
static inline uint64_t pace_pause(uint64_t began, uint64_t least)
{
	uint64_t pause = 4 * (monotonic_nanoseconds() - began) / 1000000;

	return pause > least ? pause : least;
}

#endif
