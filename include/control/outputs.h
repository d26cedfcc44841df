/*
 * Where the log and the counters go, and what is said and counted of lines that got lost.
 *
 * Theory of operation. The log goes to standard error, the counters to standard output, each
 * through an output that does not wait (base/output.h); where both are the same, through one, so
 * that their order stays. When something has to wait for room, the loop tells when there is some.
 *
 * The log's lines begin with the time, unless they go to the journal, which notes it itself. A pipe
 * gets it too: whether a file behind tee or a syslog reads there cannot be told, and a time that
 * stands there twice harms nobody, while one that is missing cannot be found again.
 *
 * Whoever closed these descriptors before the start finds /dev/null there, so that no socket gets
 * their numbers and the log's lines.
 */
#ifndef UDP_ENCAP_TUN_OUTPUTS_H
#define UDP_ENCAP_TUN_OUTPUTS_H

#include "base/counters.h"
#include "base/event_loop.h"
#include "base/output.h"

/** One of the two, and the watch for its room. */
struct watched_output {
	struct output output;
	event_loop *loop; /* NULL: not followed */
	struct event_watch watch;
	uint64_t lost_told;
};

/** Both. */
struct outputs {
	struct watched_output log;
	struct watched_output records; /* standard output, unused where it is the same as `log` */
	bool are_same;
	uint64_t lost_counted;
};

/** Opens both and has the log use them. Main thread, first of all. */
void outputs_open(struct outputs *outputs);

/** Where the counters go. */
struct output *outputs_records(struct outputs *outputs);

/** Follows with a loop when there is room again. */
void outputs_start(struct outputs *outputs, event_loop *loop);

/** Counts the lines that were lost since the last call. @counters: the control thread's */
void outputs_count(struct outputs *outputs, struct counters *counters);

/**
 * The last words come: from now on readers are waited for, for a moment in all.
 */
void outputs_be_patient(struct outputs *outputs);

/** Says what was lost since that was said last. */
void outputs_tell_lost(struct outputs *outputs);

/** Leaves the loop, which is about to go. */
void outputs_stop(struct outputs *outputs);

/** Gives the readers what is left of that moment. Main thread, last of all. */
void outputs_close(struct outputs *outputs);

#endif
