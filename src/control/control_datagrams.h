/*
 * Control datagrams (rules W3 and W8), as the workers hand them over.
 *
 * Theory of operation. A worker classifies and copies, and judges nothing; here the header is
 * checked and the type looked up in one table, which names each type with its length, direction and
 * handler. What no row takes is counted and dropped.
 *
 * The first one after a pause wakes the thread at once. While they keep coming it looks each
 * millisecond by itself instead of being woken by each batch, which would take the processor from
 * the workers.
 */
#ifndef UDP_ENCAP_TUN_CONTROL_DATAGRAMS_H
#define UDP_ENCAP_TUN_CONTROL_DATAGRAMS_H

#include "base/counters.h"
#include "base/event_loop.h"
#include "exchange/exchange.h"
#include "packet/control_datagram.h"

struct control_datagrams;

enum control_direction {
	CONTROL_TO_SERVER = 1 << 0,
	CONTROL_TO_ENDPOINT = 1 << 1,
};

/** One type of control datagram. */
struct control_type {
	uint8_t type;
	uint8_t direction;   /* of enum control_direction */
	uint16_t min_length; /* of the whole payload, bytes */
	uint16_t max_length;
	void (*handle)(struct control_datagrams *control_datagrams,
		       const struct control_header *header, const struct control_record *record);
};

struct control_ring {
	struct control_datagrams *control_datagrams;
	struct ring *ring;
	struct event_watch watch;
	struct event_timer again;
};

struct control_datagrams {
	event_loop *loop;
	struct counters *counters;
	const struct control_type *types;
	size_t type_count;
	enum control_direction direction; /* that is ours */
	size_t ring_count;
	struct control_ring *rings;
};

/**
 * Takes control datagrams from now on. Control thread.
 * Returns 0 or a negative errno; control_datagrams_close() is due all the same.
 */
int control_datagrams_start(struct control_datagrams *control_datagrams, event_loop *loop,
			    struct exchange *exchange, struct counters *counters,
			    enum control_direction direction);

/** Takes what is there now, whether or not anything woke the thread. Control thread. */
void control_datagrams_drain(struct control_datagrams *control_datagrams);

/**
 * Judges one control datagram and hands it to its type's handler. Control thread.
 * Returns false, with it counted, when no type takes it.
 */
bool control_datagrams_take(struct control_datagrams *control_datagrams,
			    const struct control_record *record);

void control_datagrams_close(struct control_datagrams *control_datagrams);

#endif
