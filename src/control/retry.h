/*
 * What failed for a passing reason, and when it is tried again.
 *
 * Theory of operation. A look at the interfaces notes what it could not read or change. While there
 * is something, a timer has it repeated, ever more rarely; what the kernel says in between is an
 * attempt more and does not make the timer slower. One failure is nobody's concern; a person hears
 * when it goes on, and when it is over.
 */
#ifndef UDP_ENCAP_TUN_RETRY_H
#define UDP_ENCAP_TUN_RETRY_H

#include "base/event_loop.h"

#include <net/if.h>

/** The first thing that a look could not do; all zero: it could do everything. */
struct trouble {
	const char *what; /* "read the addresses of": stands after "cannot", before the name */
	char name[IFNAMSIZ];
	int error; /* positive errno */
};

struct retry {
	event_loop *loop;
	struct event_timer timer;
	event_handler *handler;
	void *state;
	unsigned failures; /* in a row */
};

/** Notes what failed. @what: a literal. @error: negative errno */
void trouble_note(struct trouble *trouble, const char *what, const char *name, int error);

/** Whether a change that failed so can succeed later, all else being the same. @error: negative */
bool trouble_is_passing(int error);

/** Milliseconds until the attempt after so many failures. @failures: from 1 on */
uint64_t retry_delay(unsigned failures);

/** @handler: looks again, and calls retry_settle() */
void retry_start(struct retry *retry, event_loop *loop, event_handler *handler, void *state);

/** After each look: has it repeated if there was trouble. Control thread. */
void retry_settle(struct retry *retry, const struct trouble *trouble);

void retry_close(struct retry *retry);

#endif
