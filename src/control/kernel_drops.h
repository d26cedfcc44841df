/*
 * What the kernel drops before the program sees it: packets that the tunnel interface's queue has
 * no room for, and what comes when a socket's receive buffer has none.
 *
 * Theory of operation. The kernel counts these and tells nobody. Its counts are read whenever the
 * counters are asked for, and what they grew by is added to counters of the control thread. The
 * interface's may be older than the program: what it says at the start is where counting begins.
 * The sockets' are read by duplicates, for workers close theirs when they please; before other
 * sockets take their places the old ones are read for the last time. A look that fails adds
 * nothing, and the next one makes up for it.
 */
#ifndef UDP_ENCAP_TUN_KERNEL_DROPS_H
#define UDP_ENCAP_TUN_KERNEL_DROPS_H

#include "base/counters.h"
#include "cli/options.h"

struct kernel_drops {
	struct counters *counters; /* the control thread's */
	unsigned tunnel_ifindex;
	bool knows_tunnel; /* it was read before */
	uint64_t of_tunnel;
	size_t socket_count;
	struct {
		int fd; /* negative: it could not be duplicated, and is not counted */
		uint32_t drops;
	} sockets[MAX_THREADS];
};

/**
 * Begins to count. Main thread, before the workers start.
 * @counters: the control thread's
 * @sockets: one for each worker, duplicated
 */
void kernel_drops_start(struct kernel_drops *drops, struct counters *counters,
			unsigned tunnel_ifindex, const int *sockets, size_t socket_count);

/** Counts what was dropped since the last call. Control thread. */
void kernel_drops_count(struct kernel_drops *drops);

/** The workers get other sockets. Control thread. @sockets: as many as there were, duplicated */
void kernel_drops_renew_sockets(struct kernel_drops *drops, const int *sockets);

void kernel_drops_close(struct kernel_drops *drops);

#endif
