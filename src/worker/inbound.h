/*
 * From UDP to the tunnel interface.
 *
 * Theory of operation. A batch of messages is received, taken apart into segments, coalesced, and
 * written. What the interface does not take stays where it is, and nothing more is received until
 * it does.
 */
#ifndef UDP_ENCAP_TUN_INBOUND_H
#define UDP_ENCAP_TUN_INBOUND_H

#include "base/counters.h"
#include "exchange/exchange.h"
#include "io/udp_receiver.h"
#include "peers/admission.h"
#include "worker/round.h"
#include "worker/tunnel_writer.h"

struct inbound {
	/* constant */
	struct peers *peers;
	struct counters *counters;
	struct notices *notices;
	struct ring *to_control;
	uint16_t worker;   /* its number */
	uint16_t own_port; /* of the socket, network byte order */

	size_t message_count;
	size_t next_message;    /* received messages before it are done with */
	size_t next_offset;     /* in that message's payload */
	unsigned full_receives; /* in a row */
	enum backlog backlog;
	uint64_t received_at;   /* monotonic nanoseconds of the batch, 0: not read yet */
	struct carried carried; /* in this round */
	struct udp_receiver receiver;
	struct tunnel_writer writer;
};

/** Carries a batch from the socket to the tunnel interface, or goes on with one. */
struct carried inbound_run(struct inbound *inbound, int socket, const struct round *round);

#endif
