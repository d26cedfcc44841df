/* The exchange; see exchange.h for the theory of operation. */
#include "exchange/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	/* what may come while the control thread is busy for some milliseconds */
	CONTROL_RECORDS = 512,
	SOCKET_RECORDS = 4,
};

static int open_channel(struct channel *channel)
{
	int error = ring_open(&channel->to_control, sizeof(struct control_record), CONTROL_RECORDS);

	if (error < 0)
		return error;
	return ring_open(&channel->to_worker, sizeof(struct socket_record), SOCKET_RECORDS);
}

int exchange_open(struct exchange *exchange, size_t workers)
{
	int error = 0;

	exchange->channel_count = 0;
	exchange->notices.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (exchange->notices.event < 0)
		return -errno;
	exchange->channels = aligned_alloc(64, workers * sizeof(*exchange->channels));
	if (exchange->channels == NULL) {
		exchange_close(exchange);
		return -ENOMEM;
	}
	memset(exchange->channels, 0, workers * sizeof(*exchange->channels));
	exchange->channel_count = workers;
	for (size_t i = 0; error == 0 && i < workers; i++)
		error = open_channel(&exchange->channels[i]);
	if (error < 0)
		exchange_close(exchange);
	return error;
}

static void close_sockets_on_their_way(struct ring *to_worker)
{
	const struct socket_record *record;

	while ((record = ring_front(to_worker)) != NULL) {
		close(record->socket);
		if (record->path_mtu_socket >= 0)
			close(record->path_mtu_socket);
		ring_pop(to_worker);
	}
}

static void close_channel(struct channel *channel)
{
	if (channel->to_worker.slots != NULL)
		close_sockets_on_their_way(&channel->to_worker);
	ring_close(&channel->to_worker);
	ring_close(&channel->to_control);
}

void exchange_close(struct exchange *exchange)
{
	for (size_t i = 0; i < exchange->channel_count; i++)
		close_channel(&exchange->channels[i]);
	free(exchange->channels);
	if (exchange->notices.event > 0)
		close(exchange->notices.event);
	memset(exchange, 0, sizeof(*exchange));
}

bool channel_give_sockets(struct channel *channel, const struct socket_record *sockets)
{
	struct socket_record *record = ring_slot(&channel->to_worker);

	if (record == NULL)
		return false;
	*record = *sockets;
	ring_push(&channel->to_worker);
	ring_wake(&channel->to_worker);
	return true;
}
