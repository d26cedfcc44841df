/*
 * Records: what travels through the rings between the workers and the control thread.
 *
 * Theory of operation. A record is filled in the ring's own slot by the one side and read there by
 * the other (see ring.h). It holds copies only, so nothing of the sender's has to stay as it was.
 * A slot keeps what an earlier record left in it: a reader looks at nothing that its record does
 * not say is there.
 *
 * Memory ordering. Plain memory: the ring hands a record over as a whole.
 */
#ifndef UDP_ENCAP_TUN_RECORDS_H
#define UDP_ENCAP_TUN_RECORDS_H

#include "base/address.h"

enum {
	/* Of a control datagram only so many bytes are ever read; what follows is padding. */
	CONTROL_RECORD_BYTES = 256,
};

/** A control datagram (rule W3) on its way from a worker to the control thread. */
struct control_record {
	uint64_t nanoseconds; /* when it was received, monotonic */
	uint32_t length;      /* of the whole datagram's payload, bytes */
	uint16_t worker;      /* number of the one that received it, from 0 on */
	uint16_t own_port;    /* that it was sent to, network byte order */
	struct transport_address source;
	struct ip_address own_address;       /* that it was sent to */
	uint8_t bytes[CONTROL_RECORD_BYTES]; /* the payload's first ones, see below */
};

/** A worker's new sockets on their way from the control thread; the worker's own from then on. */
struct socket_record {
	int socket;          /* UDP socket; negative: none yet, there was no device so far */
	int path_mtu_socket; /* the one that is asked for path MTUs; negative: none, all are unknown
			      */
};

/** How many of a record's bytes are there. Any thread. */
static inline size_t control_record_available(const struct control_record *record)
{
	return record->length < CONTROL_RECORD_BYTES ? record->length : CONTROL_RECORD_BYTES;
}

/**
 * Fills a record, all of it but for the bytes behind a shorter payload's end, which stay. Worker.
 * @payload: of the datagram; no more than CONTROL_RECORD_BYTES of it are read
 * @length: of the payload in bytes
 * @own_port: network byte order
 * @nanoseconds: monotonic
 */
void control_record_fill(struct control_record *record, const uint8_t *payload, size_t length,
			 const struct transport_address *source,
			 const struct ip_address *own_address, uint16_t own_port, uint16_t worker,
			 uint64_t nanoseconds);

#endif
