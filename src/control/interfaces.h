/*
 * Both interfaces, and word of their changes.
 *
 * Theory of operation. The kernel's word of a change is only a reason to look at both again, so one
 * that is lost or repeated does no harm. A look that fails is repeated (retry.h), for word of what
 * it missed may never come again. The tunnel interface is followed by its ifindex: somebody who
 * renames it takes nothing away.
 */
#ifndef UDP_ENCAP_TUN_INTERFACES_H
#define UDP_ENCAP_TUN_INTERFACES_H

#include "control/ending.h"
#include "control/retry.h"
#include "control/sources.h"
#include "control/tunnel_side.h"
#include "control/wan.h"

struct interfaces {
	int monitor; /* rtnetlink, negative: none */
	struct event_watch watch;
	struct retry retry;
	struct ending *ending;
	struct tunnel_side tunnel;
	struct wan wan;
	struct sources *sources; /* told of changes, NULL: nobody is */
};

/** Begins to listen to the kernel. Returns 0 or a negative errno. */
int interfaces_open(struct interfaces *interfaces);

/**
 * Sets the tunnel interface up and follows what both are now and later. Main thread, registered
 * with RCU. Returns false after an error was logged.
 */
bool interfaces_set_up(struct interfaces *interfaces, struct ending *ending,
		       const struct tunnel_side_settings *tunnel, const struct wan_settings *wan);

/** Takes back what was changed. */
void interfaces_close(struct interfaces *interfaces);

#endif
