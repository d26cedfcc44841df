/*
 * From UDP to the tunnel interface.
 *
 * Theory of operation. A batch of messages is received, taken apart into segments, coalesced, and
 * written. What the interface does not take stays where it is, and nothing more is received until
 * it does.
 *
 * A packet that the interface refuses for what it is, not because it is full or down, goes in
 * again segment by segment, and a segment that is refused goes in again with its whole checksum,
 * for kernels that do not even complete one. Where in the packet that is, is remembered: an
 * interface that is full goes on there, so nothing is written twice and the order stays. When
 * coalesced packets are refused again and again, none is made for a while (coalescing.h).
 */
#ifndef UDP_ENCAP_TUN_INBOUND_H
#define UDP_ENCAP_TUN_INBOUND_H

#include "base/counters.h"
#include "exchange/exchange.h"
#include "io/udp_receiver.h"
#include "packet/decapsulate.h"
#include "peers/admission.h"
#include "worker/coalescing.h"
#include "worker/round.h"

struct inbound {
	/* constant */
	struct peers *peers;
	struct counters *counters;
	struct notices *notices;
	struct ring *to_control;
	int queue;         /* of the tunnel interface */
	uint16_t worker;   /* its number */
	uint16_t own_port; /* of the socket, network byte order */

	bool is_blocked; /* the tunnel interface is full */
	size_t message_count;
	size_t next_message;          /* received messages before it are done with */
	size_t next_offset;           /* in that message's payload */
	size_t next_packet;           /* of the batch: packets before it are written */
	bool is_split;                /* that packet goes in segment by segment */
	bool with_checksum;           /* the segment at hand was refused without */
	bool has_taken_segment;       /* of that packet, the interface has */
	int refusal;                  /* errno that it was refused with as a whole, 0: it was not */
	struct inbound_single single; /* the segment at hand */
	struct coalescing coalescing;
	uint64_t received_at;   /* monotonic nanoseconds of the batch, 0: not read yet */
	struct carried carried; /* in this round */
	struct udp_receiver receiver;
	struct inbound_batch batch;
};

/** Carries a batch from the socket to the tunnel interface, or goes on with one. */
struct carried inbound_run(struct inbound *inbound, int socket, const struct round *round);

#endif
