/*
 * From UDP to the tunnel interface: a batch of messages is received, taken apart into segments,
 * coalesced, and written. What the interface does not take stays where it is, and nothing more is
 * received until it does.
 */
#include "base/clock.h"
#include "io/tun_interface.h"
#include "packet/decapsulate.h"
#include "worker/worker_state.h"

#include <errno.h>

static void count_written(struct worker *worker, const struct inbound_packet *packet)
{
	count(worker, COUNTER_in_packets, 1);
	if (packet->segments > 1)
		count(worker, COUNTER_in_super_packets, 1);
}

/* Writes the batch. Returns false, with the rest kept, when the tunnel interface is full. */
static bool flush(struct worker *worker)
{
	struct inbound *inbound = &worker->inbound;
	struct inbound_batch *batch = &inbound->batch;

	for (; inbound->next_packet < batch->packet_count; inbound->next_packet++) {
		const struct inbound_packet *packet = &batch->packets[inbound->next_packet];
		struct iovec iov[INBOUND_MAX_COALESCED + 1];
		size_t pieces = inbound_packet_finish(batch, inbound->next_packet, iov);
		int error;

		do
			error = tun_write(worker->queue, iov, pieces);
		while (error == -EINTR);
		if (error == -EAGAIN) {
			if (!inbound->is_blocked)
				count(worker, COUNTER_backpressure_tun, 1);
			inbound->is_blocked = true;
			return false;
		}
		if (error == 0)
			count_written(worker, packet);
		else if (error == -EIO || error == -EBADFD)
			count(worker, COUNTER_discard_in_tunnel_down, packet->segments);
		else
			count(worker, COUNTER_discard_in_write_error, packet->segments);
	}
	inbound->is_blocked = false;
	inbound->next_packet = 0;
	inbound_batch_clear(batch);
	return true;
}

static void note_obtained(struct worker *worker, enum obtain_result result)
{
	struct notices *notices = &worker->forwarding->notices;

	switch (result) {
	case ENTRY_MADE_IN_QUARANTINE:
		count(worker, COUNTER_quarantine_cut_short, 1);
		/* fall through */
	case ENTRY_MADE:
		count(worker, COUNTER_connections_made, 1);
		if (worker->forwarding->options->log_peers)
			notices_raise(notices, NOTICE_NEWCOMER);
		break;
	case ENTRY_REFUSED:
		count(worker, COUNTER_connections_refused, 1);
		notices_raise(notices, NOTICE_PEER_REFUSED);
		break;
	default:
		return;
	}
	if (connection_store_wants_spares(worker->forwarding->store))
		notices_raise(notices, NOTICE_RESERVE_LOW);
}

/* Rule R2: the peer's entry, made if there is none. Fills the source of its packets. */
static enum counter admit_peer(struct worker *worker, const struct received_message *message,
			       struct peer_entry **connection, struct ip_address *source)
{
	enum obtain_result result;

	const struct peer peer = {message->from, worker->own_port};

	*connection = connection_store_obtain(worker->forwarding->store, &peer,
					      &message->own_address, worker->now, &result);
	note_obtained(worker, result);
	if (*connection == NULL)
		return result == ENTRY_HAS_NO_POOL ? COUNTER_discard_in_no_address
						   : COUNTER_discard_in_refused;
	peer_entry_refresh(&(*connection)->last_received, worker->now);
	*source = (*connection)->tunnel_address;
	return COUNTER_COUNT;
}

/* Rule R1: endpoint mode takes datagrams from any source, or only from those it sent to. */
static enum counter admit_source(struct worker *worker, const struct received_message *message,
				 struct peer_entry **connection, struct ip_address *source)
{
	const struct options *options = worker->forwarding->options;

	const struct peer peer = {message->from, worker->own_port};

	*connection = connection_store_find_peer(worker->forwarding->store, &peer);
	*source = message->from.address;
	if (options->solicited_only &&
	    (*connection == NULL ||
	     seconds_since(atomic_load_explicit(&(*connection)->last_sent, memory_order_relaxed),
			   worker->now) > options->connection_timeout))
		return COUNTER_discard_in_unsolicited;
	if (*connection != NULL)
		peer_entry_refresh(&(*connection)->last_received, worker->now);
	return COUNTER_COUNT;
}

/*
 * Decides whether a message with TCP segments or keepalives in it is taken.
 * Returns COUNTER_COUNT, or the reason why not.
 */
static enum counter admit(struct worker *worker, const struct received_message *message,
			  struct peer_entry **connection, struct inbound_origin *origin)
{
	struct forwarding *forwarding = worker->forwarding;
	uint32_t tunnel_address = atomic_load_explicit(&forwarding->tunnel_address,
						       memory_order_relaxed);

	origin->destination = ip_address_from_ipv4(tunnel_address);
	origin->udp_port = message->from.port;
	origin->tos = message->tos;
	if (tunnel_address == 0)
		return COUNTER_discard_in_no_address;
	if (options_server_mode(forwarding->options))
		return admit_peer(worker, message, connection, &origin->source);
	return admit_source(worker, message, connection, &origin->source);
}

/* One message on its way through. */
struct passage {
	struct received_message message;
	struct inbound_origin origin;
	size_t origin_number;          /* in the batch */
	struct peer_entry *connection; /* NULL in endpoint mode for an unknown source */
	bool is_judged;                /* admit() was asked */
	enum counter refusal;          /* its answer */
};

static void count_segment(struct worker *worker, const struct passage *passage, size_t length)
{
	struct peer_entry *connection = passage->connection;

	count(worker, COUNTER_in_segments, 1);
	count(worker, COUNTER_in_bytes, length);
	if (connection == NULL)
		return;
	peer_entry_refresh(&connection->last_tcp, worker->now);
	if (worker->forwarding->options->log_peers)
		atomic_fetch_add_explicit(
			&connection_store_record(worker->forwarding->store, connection)->bytes_in,
			length, memory_order_relaxed);
}

/* Takes in one datagram. Returns false, to be called again, when the tunnel interface is full. */
static bool take_datagram(struct worker *worker, struct passage *passage, const uint8_t *payload,
			  size_t length)
{
	struct inbound_batch *batch = &worker->inbound.batch;
	enum payload_kind kind = payload_classify(payload, length);

	if (kind == PAYLOAD_IS_MALFORMED || kind == PAYLOAD_IS_CONTROL) {
		count(worker,
		      kind == PAYLOAD_IS_CONTROL ? COUNTER_discard_in_control
						 : COUNTER_discard_in_malformed,
		      1);
		return true;
	}
	if (!passage->is_judged) {
		passage->refusal = admit(worker, &passage->message, &passage->connection,
					 &passage->origin);
		passage->is_judged = true;
		if (passage->refusal == COUNTER_COUNT)
			passage->origin_number = inbound_batch_origin(batch, &passage->origin);
	}
	if (passage->refusal != COUNTER_COUNT) {
		count(worker, passage->refusal, 1);
		return true;
	}
	if (kind == PAYLOAD_IS_KEEPALIVE) {
		count(worker, COUNTER_in_keepalives, 1);
		return true;
	}
	if (!decapsulate(batch, payload, length, passage->origin_number)) {
		if (!flush(worker))
			return false;
		/* an empty batch takes every segment */
		(void)decapsulate(batch, payload, length, passage->origin_number);
	}
	count_segment(worker, passage, length);
	return true;
}

/* Takes in the next message, or goes on with it. Returns false when the interface is full. */
static bool take_message(struct worker *worker)
{
	struct inbound *inbound = &worker->inbound;
	struct passage passage = {0};
	const struct received_message *message = &passage.message;

	udp_received_message(&inbound->receiver, inbound->next_message, &passage.message);
	if (message->is_truncated) {
		count(worker, COUNTER_discard_in_truncated, 1);
		return true;
	}
	/* RFC 768: no port, so nobody that could be answered */
	if (message->from.port == 0) {
		count(worker, COUNTER_discard_in_malformed, 1);
		return true;
	}
	do {
		size_t length = message->length - inbound->next_offset;

		if (length > message->datagram_size)
			length = message->datagram_size;
		if (!take_datagram(worker, &passage, message->payload + inbound->next_offset,
				   length))
			return false;
		inbound->next_offset += length;
	} while (inbound->next_offset < message->length);
	count(worker, COUNTER_in_messages, 1);
	if (message->length > message->datagram_size)
		count(worker, COUNTER_in_gro_messages, 1);
	return true;
}

/* Takes in the messages that were received. Returns false when the tunnel interface is full. */
static bool take_messages(struct worker *worker)
{
	struct inbound *inbound = &worker->inbound;

	for (; inbound->next_message < inbound->message_count; inbound->next_message++) {
		if (!take_message(worker))
			return false;
		inbound->next_offset = 0;
	}
	return true;
}

void inbound_run(struct worker *worker)
{
	struct inbound *inbound = &worker->inbound;

	if (inbound->is_blocked && !flush(worker))
		return;
	if (inbound->next_message == inbound->message_count) {
		int received = udp_receive(&inbound->receiver, worker->socket);

		/* nothing there, or an error that poll() shows again */
		if (received <= 0)
			return;
		count(worker, COUNTER_in_calls, 1);
		inbound->message_count = (size_t)received;
		inbound->next_message = 0;
		inbound->next_offset = 0;
	}
	if (take_messages(worker))
		(void)flush(worker);
}
