/* An endpoint's destinations; see destinations.h for the theory of operation. */
#include "control/destinations.h"

#include "base/clock.h"

enum {
	/* Parts of the interval by which a keepalive comes early at most: after TCP, where many may
	 * begin at the same time, and after another keepalive, which is apart from others' already.
	 */
	AFTER_TCP = 2,
	AFTER_KEEPALIVE = 4,
};

static uint32_t load(const _Atomic uint32_t *time)
{
	return atomic_load_explicit(time, memory_order_relaxed);
}

/* Seconds until an age is over the limit, 0: it is. Times are whole seconds, rounded down: only
 * more than the limit is surely the limit. */
static uint32_t left_until(uint32_t age, uint32_t limit)
{
	return age > limit ? 0 : limit - age + 1;
}

static uint32_t later_of(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* A number that differs from entry to entry and from time to time, evenly spread over 32 bits (the
 * last step of MurmurHash3, by A. Appleby, in the public domain). */
static uint32_t draw(const struct peer_entry *entry, uint32_t time)
{
	uint64_t mixed = (uint64_t)(uintptr_t)entry + ((uint64_t)time << 40);

	mixed = (mixed ^ mixed >> 33) * 0xff51afd7ed558ccdu;
	mixed = (mixed ^ mixed >> 33) * 0xc4ceb9fe1a85ec53u;
	return (uint32_t)(mixed >> 32);
}

/* After how many seconds in which nothing was sent a keepalive is due. */
static uint32_t patience(const struct destination_limits *limits, const struct peer_entry *entry)
{
	uint32_t sent = load(&entry->last_sent);
	bool was_keepalive = seconds_since(load(&entry->last_tcp), sent) > 0;
	uint32_t spread = limits->keepalive / (was_keepalive ? AFTER_KEEPALIVE : AFTER_TCP);

	return limits->keepalive - (uint32_t)((uint64_t)draw(entry, sent) * (spread + 1) >> 32);
}

static bool is_kept_alive(const struct destination_limits *limits, const struct peer_entry *entry,
			  uint32_t now)
{
	return limits->keepalive > 0 && peer_entry_has_answered(entry) &&
	       seconds_since(load(&entry->last_tcp), now) <= limits->keepalive_for;
}

enum destination_verdict destination_judge(const struct destination_limits *limits,
					   const struct peer_entry *entry, uint32_t now,
					   uint32_t *wait)
{
	uint32_t silent = seconds_since(load(&entry->last_sent), now);
	uint32_t unheard = seconds_since(load(&entry->last_received), now);

	if (is_kept_alive(limits, entry, now)) {
		uint32_t due = patience(limits, entry);

		if (silent >= due)
			return DESTINATION_WANTS_KEEPALIVE;
		*wait = due - silent;
		return DESTINATION_STAYS;
	}
	*wait = left_until(silent, limits->answer_time);
	if (peer_entry_has_answered(entry)) {
		*wait = later_of(*wait, left_until(silent, limits->connection_timeout));
		*wait = later_of(*wait, left_until(unheard, limits->connection_timeout));
	}
	return *wait > 0 ? DESTINATION_STAYS : DESTINATION_IS_OVER;
}

uint32_t destination_first_look(const struct destination_limits *limits)
{
	if (limits->keepalive > 0)
		return limits->keepalive - limits->keepalive / AFTER_TCP;
	return limits->answer_time + 1;
}
