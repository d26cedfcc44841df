/* Proof; see proof.h for the theory of operation. */
#include "peers/proof.h"

#include "packet/headers.h"
#include "peers/store.h"

static uint8_t kind_of(uint8_t tcp_flags)
{
	if ((tcp_flags & TCP_SYN) == 0)
		return SENT_AN_END | SENT_MORE;
	if ((tcp_flags & TCP_ACK) == 0)
		return SENT_AN_END | SENT_MORE | SENT_END_OF_SYN;
	return SENT_AN_END | SENT_END_OF_SYN;
}

/* A segment of a connection takes the place of an answer to an opening: whoever forges an address
 * has such answers sent to it, and whoever is there does not acknowledge them. */
static bool is_remembered(const struct peer_entry *entry, uint8_t sent, uint8_t kind, uint32_t now)
{
	return (sent & SENT_AN_END) == 0 ||
	       atomic_load_explicit(&entry->last_sent, memory_order_relaxed) != now ||
	       ((sent & SENT_END_OF_SYN) != 0 && (kind & SENT_END_OF_SYN) == 0);
}

void peers_note_sent(struct peer_entry *public, uint8_t tcp_flags, uint32_t end, uint32_t now)
{
	struct entry *entry = entry_of(public);
	uint8_t sent = atomic_load_explicit(&public->sent, memory_order_relaxed);
	uint8_t kind = kind_of(tcp_flags);

	if (tcp_flags & TCP_RST)
		return;
	if (is_remembered(public, sent, kind, now)) {
		atomic_store_explicit(&public->last_sent, now, memory_order_relaxed);
		atomic_store_explicit(&entry->sent_end, end, memory_order_relaxed);
		if (sent & ~kind & SENT_END_OF_SYN)
			atomic_fetch_and_explicit(&public->sent, (uint8_t)~SENT_END_OF_SYN,
						  memory_order_relaxed);
	} else {
		kind &= (uint8_t)~SENT_END_OF_SYN;
	}
	if (kind & ~sent)
		/* release: who sees that there is an end sees one */
		atomic_fetch_or_explicit(&public->sent, kind, memory_order_release);
}

bool peers_note_heard(struct peers *peers, struct peer_entry *public, uint8_t tcp_flags,
		      uint32_t acknowledgment)
{
	uint8_t sent = atomic_load_explicit(&public->sent, memory_order_acquire);
	uint8_t wanted = SENT_AN_END;

	if ((tcp_flags & TCP_ACK) == 0)
		return false;
	if (tcp_flags & (TCP_SYN | TCP_RST))
		wanted |= SENT_END_OF_SYN;
	if ((sent & wanted) != wanted ||
	    atomic_load_explicit(&entry_of(public)->sent_end, memory_order_relaxed) !=
		    acknowledgment)
		return false;
	connection_store_prove(peers->store, public);
	return true;
}
