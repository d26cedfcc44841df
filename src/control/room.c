/* Room for newcomers; see room.h for the theory of operation. */
#include "control/room.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/pace.h"

enum {
	/* Between two batches of provisional entries. With 16,384 places a batch is 2,048, and
	 * lasts 20 ms when 100,000 newcomers a second come. */
	BATCH_PAUSE_MS = 2,
	LOOK_PAUSE_MS = 10,       /* between two looks through all destinations */
	FRUITLESS_PAUSE_MS = 100, /* after one that found none */
	QUIET_MS = 60000,         /* at most one line in that time */
};

/* One look at an endpoint's destinations. */
struct look {
	const struct room *room;
	uint32_t now;      /* monotonic seconds */
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

static bool is_idle(struct peer_entry *entry, void *argument)
{
	const struct look *look = argument;
	uint32_t last_tcp = atomic_load_explicit(&entry->last_tcp, memory_order_relaxed);

	return seconds_since(last_tcp, look->now) > look->room->settings.connection_timeout;
}

static uint32_t forget_destinations(struct room *room)
{
	const struct room_settings *settings = &room->settings;
	struct connection_store_iterator all = connection_store_begin(settings->store);
	struct look look = {.room = room, .now = monotonic_seconds()};
	uint32_t removed;

	(void)connection_store_visit(settings->store, &all, UINT32_MAX, count_answered, &look);
	look.kept = (settings->max_entries - look.answered) / 2;
	removed = connection_store_sweep(settings->store, look.now, makes_room, log_removed, &look);
	if (removed == 0)
		removed = connection_store_sweep(settings->store, look.now, is_idle, log_removed,
						 &look);
	return removed;
}

static uint32_t evict_provisional(struct room *room)
{
	const struct room_settings *settings = &room->settings;

	return connection_store_evict(settings->store, monotonic_seconds(), peer_log_removed,
				      settings->peer_log);
}

static void tell(void *state)
{
	struct room *room = state;
	uint64_t all = counter_read(room->settings.counters, COUNTER_connections_crowded_out);
	uint64_t some = all - room->told;

	if (some == 0)
		return;
	if (room->settings.is_server)
		log_warning("a crowd of newcomers, perhaps with forged addresses: %llu that had "
			    "not shown that they receive anything made room for others (see "
			    "connections_crowded_out)",
			    (unsigned long long)some);
	else
		log_warning("a crowd of destinations, perhaps somebody scans through the tunnel: "
			    "%llu that did not answer, or had no TCP for long, made room for "
			    "others (see connections_crowded_out)",
			    (unsigned long long)some);
	room->told = all;
	event_timer_start(room->loop, &room->quiet, QUIET_MS, tell, room);
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
	bool is_server = room->settings.is_server;
	uint64_t pause = BATCH_PAUSE_MS;
	uint32_t gone;

	if (event_timer_is_started(&room->pause))
		return;
	/* lowered first: what is made from now on raises it again */
	notices_lower(room->settings.notices, NOTICE_ROOM_WANTED);
	gone = is_server ? evict_provisional(room) : forget_destinations(room);
	counter_add(room->settings.counters, COUNTER_connections_crowded_out, gone);
	if (!is_server)
		pause = pace_pause(began, gone > 0 ? LOOK_PAUSE_MS : FRUITLESS_PAUSE_MS);
	event_timer_start(room->loop, &room->pause, pause, look_again, room);
	if (!event_timer_is_started(&room->quiet))
		tell(room);
}

void room_start(struct room *room, event_loop *loop, const struct room_settings *settings)
{
	room->settings = *settings;
	room->loop = loop;
}

void room_close(struct room *room)
{
	event_timer_stop(&room->pause);
	event_timer_stop(&room->quiet);
}
