/* All threads' counters together, and their print. */
#ifndef UDP_ENCAP_TUN_TALLY_H
#define UDP_ENCAP_TUN_TALLY_H

#include "base/output.h"
#include "peers/connection_store.h"
#include "worker/worker.h"

struct tally {
	struct counters control; /* the control thread's own */
	struct worker *const *workers;
	size_t worker_count;
};

/** The sum of a counter. Control thread. */
uint64_t tally_sum(const struct tally *tally, enum counter counter);

/** Prints all counters, as one piece. Control thread. */
void tally_print(const struct tally *tally, const struct connection_store *store,
		 struct output *output);

#endif
