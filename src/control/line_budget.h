/*
 * How many lines may still be written: a token bucket. Pure: the caller brings the clock.
 *
 * Theory of operation. A server that starts again sees all of its peers in a second or two, and
 * each of them is worth a line; a flood of forged sources is worth one in all. So there is room for
 * a burst, which fills up again slowly.
 */
#ifndef UDP_ENCAP_TUN_LINE_BUDGET_H
#define UDP_ENCAP_TUN_LINE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum {
	LINE_BUDGET_BURST = 2000,
	LINE_BUDGET_PER_SECOND = 100,
	LINE_BUDGET_MS = 1000 / LINE_BUDGET_PER_SECOND, /* for one line */
	LINE_BUDGET_ALMOST_SPENT = (LINE_BUDGET_BURST - 1) * LINE_BUDGET_MS,
};

/** All zero: full. */
struct line_budget {
	uint64_t spent_until; /* monotonic milliseconds at which it is full again */
};

/** Takes a line out of the budget; false when it is empty. @now: monotonic milliseconds */
static inline bool line_budget_take(struct line_budget *budget, uint64_t now)
{
	if (budget->spent_until < now)
		budget->spent_until = now;
	if (budget->spent_until - now > LINE_BUDGET_ALMOST_SPENT)
		return false;
	budget->spent_until += LINE_BUDGET_MS;
	return true;
}

#endif
