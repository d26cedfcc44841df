/*
 * The exchange: all that goes between the workers and the control thread while both run.
 *
 * Theory of operation. A worker tells that something is the case by a notice (notices.h), which
 * costs a bit and no memory however often it is raised. What has contents goes through rings
 * (ring.h), two for each worker: control datagrams to the control thread, new sockets from it. The
 * worker's ring also wakes it. Neither side ever waits for the other.
 */
#ifndef UDP_ENCAP_TUN_EXCHANGE_H
#define UDP_ENCAP_TUN_EXCHANGE_H

#include "exchange/notices.h"
#include "exchange/records.h"
#include "exchange/ring.h"

/** One worker's two rings. */
struct channel {
	struct ring to_control; /* struct control_record */
	struct ring to_worker;  /* struct socket_record */
};

struct exchange {
	struct notices notices;
	size_t channel_count;
	struct channel *channels; /* by the worker's number */
};

/**
 * Opens an exchange that is all zero. Before the workers start.
 * Returns 0 or a negative errno; it is closed then.
 */
int exchange_open(struct exchange *exchange, size_t workers);

/** Closes it, and the sockets that are still on their way. After the workers ended. */
void exchange_close(struct exchange *exchange);

/**
 * Gives a worker new sockets, which are its own from then on. Control thread.
 * Returns false, with the sockets left alone, when the worker did not take the ones before yet.
 */
bool channel_give_sockets(struct channel *channel, const struct socket_record *sockets);

#endif
