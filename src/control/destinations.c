/* An endpoint's destinations; see destinations.h for the theory of operation. */
#include "control/destinations.h"

#include "base/clock.h"

enum {
	/* Parts of the interval by which a keepalive comes early at most: after TCP, where many may
	 * begin at the same time, and after another keepalive, which is apart from others' already.
	 */
	AFTER_TCP = 2,
	AFTER_KEEPALIVE = 4,
	/* Seconds that a keepalive for a lull takes of the budget, and how many that holds: enough
	 * for those of one lull, which come after half a second, 2, 4, 8 and 16, and not for a
	 * seventh in 25 s, whatever comes and ceases. */
	LULL_COST = 8,
	LULL_BUDGET = 28,
};

_Static_assert(LULL_BUDGET <= UINT8_MAX >> DATA_SPENT_SHIFT, "it has bits of its own");

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

/* TCP that left since data came tells the far end all that a keepalive would. Acknowledgments leave
 * in the next second at the latest. */
static bool is_lull_over(const struct destination_limits *limits, const struct peer_entry *entry,
			 uint32_t now)
{
	uint32_t received = load(&entry->last_received);

	return !is_kept_alive(limits, entry, now) ||
	       seconds_since(received, load(&entry->last_tcp)) > 1 ||
	       seconds_since(received, now) > LULL_SECONDS;
}

/* Seconds until the next keepalive is due after the first one, 0: it is; LULL_NO_LOOK: none is. */
static uint32_t lull_left(const struct peer_entry *entry, uint32_t now)
{
	uint32_t received = load(&entry->last_received);
	/* the first one was sent about a second after the last data */
	uint32_t lasted = later_of(seconds_since(received, load(&entry->last_sent)), 1);
	uint32_t silent = seconds_since(received + lasted, now);

	if (2 * lasted > LULL_SECONDS)
		return LULL_NO_LOOK;
	return silent >= lasted ? 0 : lasted - silent;
}

/* What is to be done about an entry whose data has paused. */
static bool judge_pause(const struct peer_entry *entry, uint8_t data, uint32_t spent, uint32_t now,
			uint32_t *wait)
{
	uint32_t left = data & DATA_WAS_ASKED ? lull_left(entry, now) : 0;
	bool is_affordable = spent + LULL_COST <= LULL_BUDGET;

	if (left == 0 && !is_affordable)
		left = spent + LULL_COST - LULL_BUDGET;
	*wait = left == LULL_NO_LOOK ? LULL_NO_LOOK : later_of(left, 1) * 1000;
	return left == 0;
}

bool destination_judge_lull(const struct destination_limits *limits, struct peer_entry *entry,
			    uint32_t now, uint32_t passed, uint32_t *wait)
{
	uint8_t data = atomic_load_explicit(&entry->data, memory_order_relaxed);
	uint32_t spent = data >> DATA_SPENT_SHIFT;
	uint32_t state = 0;
	bool is_due = false;

	spent = spent > passed ? spent - passed : 0;
	*wait = LULL_NO_LOOK;
	if (data & DATA_CAME) {
		state = DATA_HAS_PAUSED;
		*wait = LULL_LOOK_MS;
	} else if ((data & DATA_HAS_PAUSED) && !is_lull_over(limits, entry, now)) {
		is_due = judge_pause(entry, data, spent, now, wait);
		if (*wait != LULL_NO_LOOK)
			state = DATA_HAS_PAUSED | DATA_WAS_ASKED;
	}
	state |= spent << DATA_SPENT_SHIFT;
	if (state == data ||
	    atomic_compare_exchange_strong_explicit(&entry->data, &data, (uint8_t)state,
						    memory_order_relaxed, memory_order_relaxed))
		return is_due;
	/* a worker was faster: what it knows is for the next look */
	*wait = LULL_LOOK_MS;
	return false;
}

void destination_spend_lull(struct peer_entry *entry)
{
	atomic_fetch_add_explicit(&entry->data, LULL_COST << DATA_SPENT_SHIFT,
				  memory_order_relaxed);
}
