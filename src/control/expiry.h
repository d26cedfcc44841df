/*
 * Entries that have had their time, and keepalives that are due.
 *
 * Theory of operation. A sweep looks at every entry, removes those whose time is over, sends the
 * keepalives that are due (destinations.h), and says after how many seconds something may be due
 * again; a timer brings the next one, sooner when an entry was made. No sweep sends more than a few
 * hundred keepalives; where more are due the next one follows at once. Keepalives leave by
 * duplicates of the workers' sockets: of the first one, or of each that has a port of its own; and
 * from the address that datagrams to the destination leave from. Where there is none, none is sent,
 * and it is tried again each second.
 */
#ifndef UDP_ENCAP_TUN_EXPIRY_H
#define UDP_ENCAP_TUN_EXPIRY_H

#include "base/counters.h"
#include "base/event_loop.h"
#include "control/destinations.h"
#include "control/peer_log.h"

enum {
	/* Not so many that they fill the socket, and as many as the most destinations that there
	 * are by default need, 65,536, when all begin at the same time and want one each 5 s. */
	KEEPALIVES_AT_ONCE = 256,
};

struct expiry_settings {
	const struct peers *peers;
	struct peer_log *peer_log;
	struct counters *counters;
	bool is_server;                   /* rule R3, else destinations that are kept alive */
	struct destination_limits limits; /* of a server only the connection time-out */
	uint16_t first_port;              /* of the sockets, host byte order */
	size_t socket_count;              /* from the first port on */
};

struct expiry {
	struct expiry_settings settings;
	event_loop *loop;
	struct event_timer timer;
	uint64_t due; /* when it is, monotonic milliseconds */
	int *sockets; /* to send keepalives from */
};

/**
 * Prepares it, without a sweep yet.
 * @sockets: `socket_count` of them, duplicated; negative: expiry_renew_sockets() brings them later
 * Returns 0 or a negative errno; expiry_close() is due all the same.
 */
int expiry_open(struct expiry *expiry, event_loop *loop, const struct expiry_settings *settings,
		const int *sockets);

/** Sweeps now, and from then on whenever something may be due. */
void expiry_start(struct expiry *expiry);

/** An endpoint's entries were made: sweeps no later than they may need. Control thread. */
void expiry_note_newcomers(struct expiry *expiry);

/**
 * Sends a keepalive to an entry's destination. Control thread.
 * @now: monotonic seconds
 * Returns false when it could not be sent, such as when the socket is full.
 */
bool expiry_send_keepalive(const struct expiry *expiry, struct peer_entry *entry, uint32_t now);

/** Sends from the duplicates of other sockets from now on. @sockets: as many as there were */
void expiry_renew_sockets(struct expiry *expiry, const int *sockets);

void expiry_close(struct expiry *expiry);

#endif
