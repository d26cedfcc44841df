/* Entries that were made or refused; see new_entries.h. */
#include "worker/new_entries.h"

void new_entries_note(const struct peers *peers, enum obtain_result obtained, bool wants_spares,
		      struct counters *counters, struct notices *notices)
{
	switch (obtained) {
	case ENTRY_MADE_IN_QUARANTINE:
		counter_add(counters, COUNTER_quarantine_cut_short, 1);
		/* fall through */
	case ENTRY_MADE:
		counter_add(counters, COUNTER_connections_made, 1);
		if (peers->settings.store.keeps_records)
			notices_raise(notices, NOTICE_NEWCOMER);
		if (!peers->settings.store.gives_tunnel_address)
			notices_raise(notices, NOTICE_SOURCE_WANTED);
		break;
	case ENTRY_REFUSED:
		counter_add(counters, COUNTER_connections_refused, 1);
		notices_raise(notices, NOTICE_PEER_REFUSED);
		if (!peers->settings.store.gives_tunnel_address)
			notices_raise(notices, NOTICE_ROOM_WANTED);
		break;
	case ENTRY_HAS_TO_WAIT:
		counter_add(counters, COUNTER_connections_refused, 1);
		break;
	default:
		break;
	}
	if (obtained != ENTRY_FOUND && connection_store_wants_room(peers->store))
		notices_raise(notices, NOTICE_ROOM_WANTED);
	if (wants_spares)
		notices_raise(notices, NOTICE_SPARES_LOW);
}
