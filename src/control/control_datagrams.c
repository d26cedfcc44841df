/* Control datagrams; see control_datagrams.h for the theory of operation. */
#include "control/control_datagrams.h"

#include <errno.h>
#include <stdlib.h>

enum { LOOK_AGAIN_MS = 1 };

/* One row for each type, in the order of their numbers. None is known yet. */
#define CONTROL_TYPE_LIST(X)

static const struct control_type *known_types(size_t *count)
{
#define CONTROL_TYPE_ROW(type, direction, min_length, max_length, handle)                          \
	{type, direction, min_length, max_length, handle},
	/* the last row is no type: a list may be empty, an array may not */
	static const struct control_type types[] = {CONTROL_TYPE_LIST(CONTROL_TYPE_ROW){0}};
#undef CONTROL_TYPE_ROW

	*count = sizeof(types) / sizeof(types[0]) - 1;
	return types;
}

static const struct control_type *find_type(const struct control_datagrams *control_datagrams,
					    const struct control_header *header)
{
	for (size_t i = 0; i < control_datagrams->type_count; i++) {
		const struct control_type *type = &control_datagrams->types[i];

		if (type->type == header->type &&
		    (type->direction & control_datagrams->direction) &&
		    header->total_length >= type->min_length &&
		    header->total_length <= type->max_length)
			return type;
	}
	return NULL;
}

bool control_datagrams_take(struct control_datagrams *control_datagrams,
			    const struct control_record *record)
{
	const struct control_type *type = NULL;
	struct control_header header;

	if (control_header_parse(record->bytes, control_record_available(record), record->length,
				 &header) == CONTROL_HEADER_OK)
		type = find_type(control_datagrams, &header);
	if (type == NULL) {
		counter_add(control_datagrams->counters, COUNTER_discard_in_control, 1);
		return false;
	}
	type->handle(control_datagrams, &header, record);
	return true;
}

static void take_records(struct control_ring *ring, uint32_t count)
{
	for (; count > 0; count--) {
		(void)control_datagrams_take(ring->control_datagrams, ring_front(ring->ring));
		ring_pop(ring->ring);
	}
}

/* Takes what is there; and only when there was nothing has the next one wake the thread. */
static void take_all(void *state)
{
	struct control_ring *ring = state;
	uint32_t count = ring_waiting(ring->ring);

	if (count == 0 && ring_front(ring->ring) == NULL)
		return;
	take_records(ring, count);
	event_timer_start(ring->control_datagrams->loop, &ring->again, LOOK_AGAIN_MS, take_all,
			  ring);
}

void control_datagrams_drain(struct control_datagrams *control_datagrams)
{
	for (size_t i = 0; i < control_datagrams->ring_count; i++) {
		struct control_ring *ring = &control_datagrams->rings[i];

		take_records(ring, ring_waiting(ring->ring));
	}
}

static void answer(void *state)
{
	struct control_ring *ring = state;

	ring_answer(ring->ring);
	take_all(ring);
}

int control_datagrams_start(struct control_datagrams *control_datagrams, event_loop *loop,
			    struct exchange *exchange, struct counters *counters,
			    enum control_direction direction)
{
	control_datagrams->loop = loop;
	control_datagrams->counters = counters;
	control_datagrams->direction = direction;
	control_datagrams->types = known_types(&control_datagrams->type_count);
	control_datagrams->rings = calloc(exchange->channel_count, sizeof(struct control_ring));
	if (control_datagrams->rings == NULL)
		return -ENOMEM;
	control_datagrams->ring_count = exchange->channel_count;
	for (size_t i = 0; i < exchange->channel_count; i++) {
		struct control_ring *ring = &control_datagrams->rings[i];

		ring->control_datagrams = control_datagrams;
		ring->ring = &exchange->channels[i].to_control;
		event_watch_start(loop, &ring->watch, ring_event(ring->ring), EVENT_IS_USUAL,
				  answer, ring);
	}
	return 0;
}

void control_datagrams_close(struct control_datagrams *control_datagrams)
{
	for (size_t i = 0; i < control_datagrams->ring_count; i++) {
		event_watch_stop(&control_datagrams->rings[i].watch);
		event_timer_stop(&control_datagrams->rings[i].again);
	}
	free(control_datagrams->rings);
	control_datagrams->rings = NULL;
	control_datagrams->ring_count = 0;
}
