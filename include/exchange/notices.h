/*
 * Notices: what a worker has to tell the control thread.
 *
 * Theory of operation. A notice is one bit. Raising one that is raised already costs a load, so a
 * worker can do it for each packet of a flood; the first one wakes the control thread through an
 * eventfd. The control thread lowers a bit when it is ready to hear of the matter again: that is
 * the rate limit.
 *
 * Memory ordering. What a worker wrote before raising a bit is seen by the control thread after it
 * read that bit: the bit is set with release and read with acquire ordering. A worker that finds
 * the bit set may be skipped over; every matter is one where the next packet raises it again, but
 * for newcomers, wanted sources, wanted room and data, whose bits are lowered before what they are
 * about is looked for.
 */
#ifndef UDP_ENCAP_TUN_NOTICES_H
#define UDP_ENCAP_TUN_NOTICES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum notice {
	NOTICE_PEER_REFUSED = 1 << 0, /* no entry or no tunnel address left */
	NOTICE_SPARES_LOW = 1 << 1,   /* the address pool's spare addresses were used or missed */
	NOTICE_NEWCOMER = 1 << 2,     /* an entry was made, see --log-peers */
	NOTICE_GSO_GIVEN_UP = 1 << 3, /* for the device: segments go out singly */
	NOTICE_TUNNEL_GONE = 1 << 4,  /* the tunnel interface was deleted */
	/* a packet's source is not the tunnel's address */
	NOTICE_FOREIGN_SOURCE = 1 << 5,
	NOTICE_COALESCING_GIVEN_UP = 1 << 6, /* the tunnel interface refuses coalesced packets */
	NOTICE_SOURCE_WANTED = 1 << 7,       /* of an entry that was made, see rule T5 */
	NOTICE_ROOM_WANTED = 1 << 8,         /* hardly any is left for peers that are not proven */
	NOTICE_DATA_CAME = 1 << 9,           /* to an endpoint, see control/lulls.h */
};

struct notices {
	_Atomic uint32_t raised;
	_Atomic int gso_error;        /* errno of the message that made a worker give up GSO */
	_Atomic int coalescing_error; /* errno that it refuses them with */
	int event;                    /* eventfd of the control thread */
	/* of NOTICE_FOREIGN_SOURCE, the last one, network byte order; 0: none since it was taken */
	_Atomic uint32_t foreign_source;
};

/** Raises a notice. Any worker. */
void notices_raise(struct notices *notices, enum notice notice);

/** The notices that are up. Control thread. */
uint32_t notices_raised(struct notices *notices);

/** Lowers notices. Control thread. */
void notices_lower(struct notices *notices, uint32_t mask);

#endif
