/* Room for newcomers; see room.h for the theory of operation. */
#include "control/room.h"

#include "base/clock.h"
#include "control/pace.h"

enum {
	MIN_PAUSE_MS = 10,
	FRUITLESS_PAUSE_MS = 100, /* after one that made none: all places are those that answered */
};

/* One look. */
struct look {
	const struct room *room;
	uint32_t answered; /* entries */
	uint32_t kept;     /* of those that did not: as many as may stay */
};

static void count_answered(struct peer_entry *entry, void *argument)
{
	struct look *look = argument;

	look->answered += peer_entry_has_answered(entry);
}

static bool makes_room(struct peer_entry *entry, void *argument)
{
	const struct look *look = argument;

	return !peer_entry_has_answered(entry) &&
	       connection_store_turns_since(look->room->settings.store, entry) >= look->kept;
}

static void log_removed(const struct peer_entry *entry, void *argument)
{
	const struct look *look = argument;

	peer_log_removed(entry, look->room->settings.peer_log);
}

/* Returns how many entries made it. */
static uint32_t make_room(struct room *room)
{
	const struct room_settings *settings = &room->settings;
	struct connection_store_iterator all = connection_store_begin(settings->store);
	struct look look = {.room = room};
	uint32_t removed;

	(void)connection_store_visit(settings->store, &all, UINT32_MAX, count_answered, &look);
	look.kept = (settings->max_entries - look.answered) / 2;
	removed = connection_store_sweep(settings->store, monotonic_seconds(), makes_room,
					 log_removed, &look);
	counter_add(settings->counters, COUNTER_connections_crowded_out, removed);
	return removed;
}

static void look_again(void *state)
{
	struct room *room = state;

	if (notices_raised(room->settings.notices) & NOTICE_ROOM_WANTED)
		room_want(room);
}

void room_want(struct room *room)
{
	uint64_t began = monotonic_nanoseconds();
	uint64_t least = MIN_PAUSE_MS;

	if (event_timer_is_started(&room->pause))
		return;
	/* lowered first: what is made from now on raises it again */
	notices_lower(room->settings.notices, NOTICE_ROOM_WANTED);
	if (make_room(room) == 0)
		least = FRUITLESS_PAUSE_MS;
	event_timer_start(room->loop, &room->pause, pace_pause(began, least), look_again, room);
}

void room_start(struct room *room, event_loop *loop, const struct room_settings *settings)
{
	room->settings = *settings;
	room->loop = loop;
}

void room_close(struct room *room)
{
	event_timer_stop(&room->pause);
}
