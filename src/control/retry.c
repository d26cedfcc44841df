/* Failed looks at interfaces; see retry.h for the theory of operation. */
#include "control/retry.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	RETRY_FIRST_MS = 100,
	RETRY_LONGEST_MS = 10000,
	RETRY_WORTH_A_LINE = 3, /* failures in a row: after 0.3 s */
};

void trouble_note(struct trouble *trouble, const char *what, const char *name, int error)
{
	log_debug("cannot %s %s: %s; trying again", what, name, strerror(-error));
	if (trouble->what != NULL)
		return;
	trouble->what = what;
	trouble->error = -error;
	snprintf(trouble->name, sizeof(trouble->name), "%s", name);
}

bool trouble_is_passing(int error)
{
	switch (-error) {
	case ENOMEM:
	case ENOBUFS:
	case EAGAIN:
	case EBUSY:
	case EINTR:
	case ENOSPC: /* an answer that was cut short */
	case EOVERFLOW:
	case ETIMEDOUT:
	case EMFILE:
	case ENFILE:
		return true;
	default:
		return false;
	}
}

uint64_t retry_delay(unsigned failures)
{
	uint64_t delay = RETRY_FIRST_MS;

	while (failures-- > 1 && delay < RETRY_LONGEST_MS)
		delay *= 2;
	return delay < RETRY_LONGEST_MS ? delay : RETRY_LONGEST_MS;
}

void retry_start(struct retry *retry, event_loop *loop, event_handler *handler, void *state)
{
	retry->loop = loop;
	retry->handler = handler;
	retry->state = state;
}

static void settle_success(struct retry *retry)
{
	event_timer_stop(&retry->timer);
	if (retry->failures >= RETRY_WORTH_A_LINE)
		log_info("the interfaces can be read and changed again");
	retry->failures = 0;
}

void retry_settle(struct retry *retry, const struct trouble *trouble)
{
	if (trouble->what == NULL) {
		settle_success(retry);
		return;
	}
	if (event_timer_is_started(&retry->timer))
		return;
	retry->failures++;
	if (retry->failures == RETRY_WORTH_A_LINE)
		log_warning("cannot %s %s: %s; trying again until it works", trouble->what,
			    trouble->name, strerror(trouble->error));
	event_timer_start(retry->loop, &retry->timer, retry_delay(retry->failures), retry->handler,
			  retry->state);
}

void retry_close(struct retry *retry)
{
	event_timer_stop(&retry->timer);
}
