/* How a handler ends the control loop. */
#ifndef UDP_ENCAP_TUN_ENDING_H
#define UDP_ENCAP_TUN_ENDING_H

#include "base/event_loop.h"
#include "control/control.h"

struct ending {
	event_loop *loop;
	enum control_outcome
		outcome; /* a signal counts for more than what ended it in the same round */
	bool has_come;
};

static inline void ending_come(struct ending *ending, enum control_outcome outcome)
{
	if (!ending->has_come || outcome == CONTROL_WAS_STOPPED)
		ending->outcome = outcome;
	ending->has_come = true;
	event_loop_stop(ending->loop);
}

#endif
