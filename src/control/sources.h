/*
 * From which addresses an endpoint sends (rule T5): asked of the kernel, told to the workers.
 *
 * Theory of operation. The kernel is asked for the device (with an address that follows the default
 * route) and for each entry's destination, at the start, when an entry was made, and when an
 * address, a route or a rule changed; word of a change is only a reason to look again. The device's
 * source is asked for first and at once, for it is what entries use that were not asked for yet.
 * Then the entries are gone through in slices, each of which is followed by a pause of several
 * times its own length, so that neither a large store nor a full table of routes that keep changing
 * takes the thread. Where the place is that comes next, and how many are left, is all that a pass
 * consists of: another change in the middle of one lets it go once around from there.
 *
 * Routes may change thousands of times a second. After a look at their word the monitor is left
 * alone for a while, what it has to say meanwhile is one reason for one look, and what does not fit
 * into its socket says the same.
 *
 * While the device is gone or down the kernel sends nothing and answers nothing: all stays as it
 * was. What cannot be asked for a passing reason is asked again, ever later.
 */
#ifndef UDP_ENCAP_TUN_SOURCES_H
#define UDP_ENCAP_TUN_SOURCES_H

#include "control/retry.h"
#include "control/source_log.h"
#include "exchange/notices.h"
#include "peers/peers.h"

struct sources_settings {
	struct peers *peers;
	struct notices *notices;
	const char *device; /* the bound one's name */
	uint32_t fwmark;    /* of the sockets, 0: none */
	uint16_t own_port;  /* of the first socket, network byte order */
};

struct sources {
	struct sources_settings settings;
	event_loop *loop; /* NULL: a server, nothing is asked for */
	int monitor;      /* of routes, negative: none */
	struct event_watch watch;
	struct event_timer calm;  /* until the monitor is looked at again */
	struct event_timer next;  /* the next slice */
	struct event_timer quiet; /* until new entries are looked for again */
	struct source_log log;
	bool device_is_due;
	uint32_t cursor;   /* the place that is looked at next */
	uint32_t all_left; /* places whose entries are asked for */
	uint32_t new_left; /* places whose entries are, if they were never */
	bool has_missing;  /* some entry was told that it has no source */
	bool asks_all;     /* this pass began with all entries */
	bool lacks_way;    /* some destination had no route or no address since such a pass began */
	struct retry retry; /* of a question that could not be asked */
};

/** Begins to listen to the kernel, and looks once. Main thread, registered with RCU. Returns 0 or a
 * negative errno; sources_close() is due all the same. */
int sources_start(struct sources *sources, event_loop *loop,
		  const struct sources_settings *settings);

/** The device or an address changed: looks at once. Control thread. */
void sources_look(struct sources *sources);

/** NOTICE_SOURCE_WANTED is up: asks for the entries that are new, and lowers it. Control thread. */
void sources_want(struct sources *sources);

void sources_close(struct sources *sources);

#endif
