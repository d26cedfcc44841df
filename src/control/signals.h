/*
 * Signals, read from a descriptor.
 *
 * Theory of operation. They are blocked before any other thread starts, so in all of them, and only
 * the descriptor tells of them. One that was ignored when the program started (nohup) is left out:
 * it stays ignored. No other signal is touched but those that a write may cause, which are ignored.
 */
#ifndef UDP_ENCAP_TUN_SIGNALS_H
#define UDP_ENCAP_TUN_SIGNALS_H

#include "control/ending.h"

struct signals {
	int fd; /* signalfd, negative: none */
	struct event_watch watch;
	struct ending *ending;
	event_handler *print; /* what SIGUSR1 asks for */
	void *print_state;
};

/** Blocks them and opens the descriptor. Before other threads start. Returns 0 or a negative errno.
 */
int signals_open(struct signals *signals);

/** Has them answered: SIGUSR1 by `print`, all others by the end. */
void signals_start(struct signals *signals, struct ending *ending, event_handler *print,
		   void *print_state);

void signals_close(struct signals *signals);

#endif
