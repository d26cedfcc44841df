/* What the files of the control room offer each other. */
#ifndef UDP_ENCAP_TUN_CONTROL_ROOMS_H
#define UDP_ENCAP_TUN_CONTROL_ROOMS_H

#include "control/control.h"

/* watch.c: interfaces */

/** Looks at both interfaces again and follows what changed; false: the tunnel interface is gone. */
bool watch_look(struct control *control);

/* housekeeping.c: entries */

/** Removes expired entries, sends keepalives that are due, and says when to come again. */
void housekeeping_sweep(struct control *control);

/** Logs the peers that came. */
void housekeeping_log_newcomers(struct control *control);

/** Told of each entry that goes, for the log. `argument` is the struct control. */
void housekeeping_log_removed(const struct peer_entry *connection, void *argument);

#endif
