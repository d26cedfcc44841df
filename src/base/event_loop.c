/* The event loop over libev; see event_loop.h for the theory of operation. */
#include "base/event_loop.h"

#include "base/log.h"
#include "base/rcu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void go_offline(struct ev_loop *loop)
{
	(void)loop;
	rcu_thread_offline();
}

static void go_online(struct ev_loop *loop)
{
	(void)loop;
	rcu_thread_online();
}

/* The loop that this thread runs, because libev does not say whose error it reports. */
static _Thread_local event_loop *running;
static char has_failed; /* a loop's user data leads here once it cannot go on */

/*
 * libev's own answer is abort(), which takes nothing back. What it asked for is not there, such as
 * epoll_wait() itself, and it would ask again for ever, so the run ends. Outside of a run there is
 * nothing that could end.
 */
static void fail(const char *what)
{
	log_error("the event loop cannot go on: %s: %s", what, strerror(errno));
	if (running == NULL)
		exit(EXIT_FAILURE);
	ev_set_userdata(running, &has_failed);
}

/* Comes after each wait. While it waits libev does not listen to ev_break(). */
static void call_handlers(event_loop *loop)
{
	if (ev_userdata(loop) == &has_failed)
		ev_break(loop, EVBREAK_ALL);
	else
		ev_invoke_pending(loop);
}

static void ignore_periodic(struct ev_loop *loop, ev_periodic *periodic, int events)
{
	(void)loop;
	(void)periodic;
	(void)events;
}

/*
 * libev waits 60 seconds at most, lest it miss that somebody sets the clock, unless it has a
 * timerfd that says so; and it opens one with the first periodic watcher and keeps it.
 */
static void have_it_sleep_long(struct ev_loop *loop)
{
	ev_periodic periodic;

	ev_periodic_init(&periodic, ignore_periodic, 0., 86400., NULL);
	ev_periodic_start(loop, &periodic);
	ev_periodic_stop(loop, &periodic);
}

event_loop *event_loop_create(void)
{
	struct ev_loop *loop;

	ev_set_syserr_cb(fail);
	loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	if (loop == NULL)
		loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_POLL);
	if (loop == NULL)
		return NULL;
	have_it_sleep_long(loop);
	ev_set_invoke_pending_cb(loop, call_handlers);
	ev_set_loop_release_cb(loop, go_offline, go_online);
	return loop;
}

void event_loop_destroy(event_loop *loop)
{
	if (loop != NULL)
		ev_loop_destroy(loop);
}

bool event_loop_run(event_loop *loop)
{
	running = loop;
	ev_set_userdata(loop, NULL);
	ev_run(loop, 0);
	running = NULL;
	return ev_userdata(loop) != &has_failed;
}

void event_loop_stop(event_loop *loop)
{
	ev_break(loop, EVBREAK_ALL);
}

static void descriptor_is_ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct event_watch *watch = io->data;

	if (!(events & EV_ERROR)) {
		watch->handler(watch->state);
		return;
	}
	/* who waits for a reader can do without */
	if (io->events & EV_WRITE) {
		watch->loop = NULL;
		return;
	}
	/* there is no memory for it in the kernel, say; libev has stopped it, and nothing would
	 * ever be heard of it again */
	log_error("the event loop cannot go on: it cannot watch descriptor %d", io->fd);
	ev_set_userdata(loop, &has_failed);
	ev_break(loop, EVBREAK_ALL);
}

static void start_watch(event_loop *loop, struct event_watch *watch, int events, int fd,
			enum event_priority priority)
{
	watch->loop = loop;
	ev_io_init(&watch->io, descriptor_is_ready, fd, events);
	ev_set_priority(&watch->io, priority);
	watch->io.data = watch;
	ev_io_start(loop, &watch->io);
}

static void set_handler(struct event_watch *watch, event_handler *handler, void *state)
{
	event_watch_stop(watch);
	watch->handler = handler;
	watch->state = state;
}

void event_watch_start(event_loop *loop, struct event_watch *watch, int fd,
		       enum event_priority priority, event_handler *handler, void *state)
{
	set_handler(watch, handler, state);
	start_watch(loop, watch, EV_READ, fd, priority);
}

void event_watch_start_for_room(event_loop *loop, struct event_watch *watch, int fd,
				enum event_priority priority, event_handler *handler, void *state)
{
	set_handler(watch, handler, state);
	start_watch(loop, watch, EV_WRITE, fd, priority);
}

void event_watch_stop(struct event_watch *watch)
{
	if (watch->loop == NULL)
		return;
	ev_io_stop(watch->loop, &watch->io);
	watch->loop = NULL;
}

static void time_has_passed(struct ev_loop *loop, ev_timer *ev, int events)
{
	struct event_timer *timer = ev->data;

	(void)loop;
	(void)events;
	timer->loop = NULL; /* before the handler, which may start it again */
	timer->handler(timer->state);
}

void event_timer_start(event_loop *loop, struct event_timer *timer, uint64_t milliseconds,
		       event_handler *handler, void *state)
{
	event_timer_stop(timer);
	timer->handler = handler;
	timer->state = state;
	timer->loop = loop;
	/* a handler may have taken its time: what libev takes for now is when the round began */
	ev_now_update(loop);
	ev_timer_init(&timer->timer, time_has_passed, (double)milliseconds / 1000, 0.);
	timer->timer.data = timer;
	ev_timer_start(loop, &timer->timer);
}

void event_timer_stop(struct event_timer *timer)
{
	if (timer->loop == NULL)
		return;
	ev_timer_stop(timer->loop, &timer->timer);
	timer->loop = NULL;
}
