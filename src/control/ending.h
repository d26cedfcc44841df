/* How a handler ends the control loop. */
#ifndef UDP_ENCAP_TUN_ENDING_H
#define UDP_ENCAP_TUN_ENDING_H

#include "base/event_loop.h"
#include "control/control.h"

struct ending {
	event_loop *loop;
	enum control_outcome outcome;
	bool has_come;
};

/* The first reason counts, but for a signal that comes in the same round: it asked for the end. */
static inline void ending_come(struct ending *ending, enum control_outcome outcome)
{
	if (!ending->has_come || outcome == CONTROL_WAS_STOPPED)
		ending->outcome = outcome;
	ending->has_come = true;
	event_loop_stop(ending->loop);
}

#endif
