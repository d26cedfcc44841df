/* How a handler ends the control loop. */
#ifndef UDP_ENCAP_TUN_ENDING_H
#define UDP_ENCAP_TUN_ENDING_H

#include "base/event_loop.h"
#include "control/control.h"

struct ending {
	event_loop *loop;
	enum control_outcome outcome; /* the first reason counts */
	bool has_come;
};

static inline void ending_come(struct ending *ending, enum control_outcome outcome)
{
	if (!ending->has_come)
		ending->outcome = outcome;
	ending->has_come = true;
	event_loop_stop(ending->loop);
}

#endif
