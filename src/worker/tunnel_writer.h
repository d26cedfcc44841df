/*
 * Writing to the tunnel interface what came in.
 *
 * Theory of operation. A batch of packets is filled by whoever decapsulates, and written as a
 * whole; what the interface has no room for stays where it is.
 *
 * A packet that the interface refuses for what it is, not because it is full or down, goes in
 * again segment by segment, and a segment that is refused goes in again with its whole checksum,
 * for kernels that do not even complete one. Where in the packet that is, is remembered: an
 * interface that is full goes on there, so nothing is written twice and the order stays. When
 * coalesced packets are refused again and again, none is made for a while (coalescing.h).
 */
#ifndef UDP_ENCAP_TUN_TUNNEL_WRITER_H
#define UDP_ENCAP_TUN_TUNNEL_WRITER_H

#include "base/counters.h"
#include "exchange/notices.h"
#include "packet/decapsulate.h"
#include "worker/coalescing.h"
#include "worker/round.h"

struct tunnel_writer {
	/* constant */
	int queue; /* of the tunnel interface */
	struct counters *counters;
	struct notices *notices;

	bool is_blocked;              /* the tunnel interface is full */
	size_t next_packet;           /* of the batch: packets before it are written */
	bool is_split;                /* that packet goes in segment by segment */
	bool with_checksum;           /* the segment at hand was refused without */
	bool has_taken_segment;       /* of that packet, the interface has */
	int refusal;                  /* errno that it was refused with as a whole, 0: it was not */
	struct inbound_single single; /* the segment at hand */
	struct coalescing coalescing;
	struct inbound_batch batch;
};

/** Decides whether segments are put together in this round. For an empty batch. Worker. */
void tunnel_writer_begin_round(struct tunnel_writer *writer, const struct round *round);

/** Writes the batch. Returns false, with the rest kept, when the interface is full. Worker. */
bool tunnel_writer_flush(struct tunnel_writer *writer, const struct round *round);

#endif
