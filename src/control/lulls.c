/* Data that does not go on; see lulls.h for the theory of operation. */
#include "control/lulls.h"

#include "base/clock.h"
#include "control/pace.h"

/* One look at all entries. */
struct look {
	const struct expiry *expiry;
	uint32_t now;    /* monotonic seconds */
	uint32_t passed; /* seconds since the last one */
	uint32_t wait;   /* milliseconds until the next one, or LULL_NO_LOOK */
	unsigned keepalives_left;
};

static void look_at(struct peer_entry *entry, void *argument)
{
	struct look *look = argument;
	const struct destination_limits *limits = &look->expiry->settings.limits;
	uint32_t wait;

	if (destination_judge_lull(limits, entry, look->now, look->passed, &wait) &&
	    look->keepalives_left > 0) {
		look->keepalives_left--;
		if (expiry_send_keepalive(look->expiry, entry, look->now)) {
			destination_spend_lull(entry);
			(void)destination_judge_lull(limits, entry, look->now, 0, &wait);
		}
	}
	if (wait < look->wait)
		look->wait = wait;
}

/* Returns after how many milliseconds the next look is due, or LULL_NO_LOOK. */
static uint32_t look_at_all(struct lulls *lulls)
{
	struct connection_store *store = lulls->expiry->settings.peers->store;
	struct connection_store_iterator all = connection_store_begin(store);
	struct look look = {
		.expiry = lulls->expiry,
		.now = monotonic_seconds(),
		.wait = LULL_NO_LOOK,
		.keepalives_left = KEEPALIVES_AT_ONCE,
	};

	look.passed = look.now - lulls->last_look;
	lulls->last_look = look.now;
	(void)connection_store_visit(store, &all, UINT32_MAX, look_at, &look);
	return look.wait;
}

static void look_again(void *state);

static void look_in(struct lulls *lulls, uint64_t milliseconds)
{
	lulls->due = monotonic_milliseconds() + milliseconds;
	event_timer_start(lulls->loop, &lulls->timer, milliseconds, look_again, lulls);
}

static void look_again(void *state)
{
	struct lulls *lulls = state;
	uint64_t began = monotonic_nanoseconds();
	uint32_t wait = look_at_all(lulls);

	if (wait > LULL_LOOK_MS) {
		/* lowered first: what comes from now on raises it again */
		notices_lower(lulls->notices, NOTICE_DATA_CAME);
		wait = look_at_all(lulls);
	}
	if (wait != LULL_NO_LOOK)
		look_in(lulls, pace_pause(began, wait));
}

void lulls_note_data(struct lulls *lulls)
{
	/* left up for good where no keepalives are wanted */
	if (lulls->expiry->settings.limits.keepalive == 0)
		return;
	if (!event_timer_is_started(&lulls->timer) ||
	    lulls->due > monotonic_milliseconds() + LULL_LOOK_MS)
		look_in(lulls, LULL_LOOK_MS);
}

void lulls_start(struct lulls *lulls, event_loop *loop, const struct expiry *expiry,
		 struct notices *notices)
{
	lulls->loop = loop;
	lulls->expiry = expiry;
	lulls->notices = notices;
}

void lulls_close(struct lulls *lulls)
{
	event_timer_stop(&lulls->timer);
}
