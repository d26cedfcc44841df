/*
 * Admission: may this datagram come in, and as whom. See peers.h for the theory of operation.
 */
#ifndef UDP_ENCAP_TUN_ADMISSION_H
#define UDP_ENCAP_TUN_ADMISSION_H

#include "peers/peers.h"

/** How much waits to be taken in. */
enum backlog {
	BACKLOG_NONE,
	BACKLOG_GROWS,   /* more comes than is taken in */
	BACKLOG_IS_LONG, /* and would end if newcomers were turned away */
};

/** A datagram that is TCP or a keepalive, as it arrived; the same for all of one message. */
struct arrival {
	struct transport_address from;
	struct ip_address own_address; /* that it was sent to */
	uint16_t own_port;             /* network byte order */
	enum backlog backlog;
	uint64_t milliseconds; /* monotonic, now */
};

enum admission_verdict {
	ADMITTED,
	ADMISSION_HAS_NO_TUNNEL_ADDRESS, /* the tunnel interface has none, or no pool follows */
	ADMISSION_HAS_NO_ROOM,           /* for another peer */
	ADMISSION_IS_UNSOLICITED,
};

/** What was decided, and facts that the worker counts or tells of. */
struct admission {
	enum admission_verdict verdict;
	enum obtain_result obtained;   /* ENTRY_FOUND where none was asked for */
	bool wants_spares;             /* the pool should look for spare addresses */
	bool is_provisional;           /* what comes may prove the peer: peers_note_heard() */
	struct peer_entry *entry;      /* NULL: not admitted, or a source that has none */
	struct ip_address source;      /* as whom: source of the packets to be made */
	struct ip_address destination; /* of the packets to be made */
};

/**
 * Decides about a datagram. Makes the entry where the policy says so, and refreshes when its peer
 * was heard of last. Lock-free, bounded, allocates nothing. Worker, under RCU.
 * @now: monotonic seconds
 * @admission: `source` and `destination` are filled when it is admitted
 */
void peers_admit(struct peers *peers, const struct arrival *arrival, uint32_t now,
		 struct admission *admission);

#endif
