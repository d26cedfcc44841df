/* What a worker counts and tells of when a decision made an entry, or had no room for one. */
#ifndef UDP_ENCAP_TUN_NEW_ENTRIES_H
#define UDP_ENCAP_TUN_NEW_ENTRIES_H

#include "base/counters.h"
#include "exchange/notices.h"
#include "peers/peers.h"

/**
 * Counts how an entry was obtained, and raises what the control thread has to know.
 * @wants_spares: the pool should look for spare addresses
 */
void new_entries_note(const struct peers *peers, enum obtain_result obtained, bool wants_spares,
		      struct counters *counters, struct notices *notices);

#endif
