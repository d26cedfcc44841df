/* What a worker's two directions share: the clock of a round, and what they carried in it. */
#ifndef UDP_ENCAP_TUN_ROUND_H
#define UDP_ENCAP_TUN_ROUND_H

#include <stdint.h>

/** A round's clock, read once. */
struct round {
	uint64_t milliseconds; /* monotonic */
	uint32_t seconds;      /* the same */
};

/** What one direction carried in a round. */
struct carried {
	uint64_t segments; /* TCP */
	uint64_t bytes;    /* UDP payload */
};

#endif
