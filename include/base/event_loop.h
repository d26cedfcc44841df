/*
 * An event loop: descriptors and timers with handlers, for the control thread.
 *
 * Theory of operation. libev's, a loop of its own (never the process-wide one), which the
 * environment cannot change (EVFLAG_NOENV). Where it begins and ends to wait, its release and
 * acquire callbacks take the thread offline for RCU and online again: a handler runs inside a
 * read-side critical section, and nobody waits for a thread that waits for events. So a new
 * descriptor or timer costs one call and a handler, and no thought about RCU.
 *
 * Signals are not libev's: whoever wants them reads a signalfd(2). libev alone would wake once a
 * minute to look whether somebody set the clock; with a timerfd it is told (see event_loop.c), so
 * an idle process sleeps until a timer is due.
 *
 * Watches and timers live in their room's own state and are linked into the loop while they are
 * started; all zero is "not started". One that is started is stopped before its memory goes, and a
 * watch before its descriptor is closed: libev would go on to watch whatever gets that number next.
 *
 * Everything here belongs to the thread that runs the loop.
 */
#ifndef UDP_ENCAP_TUN_EVENT_LOOP_H
#define UDP_ENCAP_TUN_EVENT_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct ev_loop event_loop;

/** Called when a watch's descriptor is ready, or a timer is due. @state: as it was started with */
typedef void event_handler(void *state);

/** Watches a descriptor. */
struct event_watch {
	ev_io io;
	event_handler *handler;
	void *state;
	event_loop *loop; /* NULL: not started */
};

/** Waits for a moment. */
struct event_timer {
	ev_timer timer;
	event_handler *handler;
	void *state;
	event_loop *loop; /* NULL: not started, or over */
};

/** What is looked at first when several events are there in the same round. */
enum event_priority { EVENT_IS_URGENT = 1, EVENT_IS_USUAL = 0, EVENT_CAN_WAIT = -1 };

/** Makes a loop. Returns NULL when the system gives no descriptors or memory for it. */
event_loop *event_loop_create(void);

/** Frees a loop in which nothing is started any more; NULL is fine. */
void event_loop_destroy(event_loop *loop);

/**
 * Calls handlers until one of them calls event_loop_stop(). The thread is registered with RCU, and
 * online. Returns false, after an error was logged, when the system does not let it go on.
 */
bool event_loop_run(event_loop *loop);

/** Has event_loop_run() return when the handlers of this round were called. */
void event_loop_stop(event_loop *loop);

/**
 * Calls a handler whenever a descriptor is readable, or in error. One that the system cannot watch
 * ends the loop's run as a failure.
 */
void event_watch_start(event_loop *loop, struct event_watch *watch, int fd,
		       enum event_priority priority, event_handler *handler, void *state);

/**
 * The same whenever a descriptor can be written to, or is in error. One that the system cannot
 * watch is not: whoever waits for a reader must not depend on it.
 */
void event_watch_start_for_room(event_loop *loop, struct event_watch *watch, int fd,
				enum event_priority priority, event_handler *handler, void *state);

/** Stops a watch; one that is not started stays as it is. */
void event_watch_stop(struct event_watch *watch);

/**
 * Calls a handler once when so much time has passed; a timer that is started begins anew. It may
 * start itself again.
 * @milliseconds: from now on
 */
void event_timer_start(event_loop *loop, struct event_timer *timer, uint64_t milliseconds,
		       event_handler *handler, void *state);

/** Stops a timer; one that is not started stays as it is. */
void event_timer_stop(struct event_timer *timer);

/** True until the timer is due. */
static inline bool event_timer_is_started(const struct event_timer *timer)
{
	return timer->loop != NULL;
}

#endif
