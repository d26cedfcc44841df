/*
 * The daemon: one tunnel, from its set-up to its take-down.
 *
 * Theory of operation. What could disturb others is done last: the port is taken before the
 * interface is touched, and workers start when everything else stands. Everything is taken down in
 * the reverse order, whichever step failed.
 */
#ifndef UDP_ENCAP_TUN_DAEMON_H
#define UDP_ENCAP_TUN_DAEMON_H

#include "cli/options.h"

/** How the program ends. */
enum exit_status { EXIT_CLEAN = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/**
 * Runs a tunnel until a signal or the loss of its interface ends it. Main thread, before any other.
 * Returns an exit status; what went wrong was logged.
 */
int daemon_run(const struct options *options);

#endif
