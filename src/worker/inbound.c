/* From UDP to the tunnel interface; see inbound.h for the theory of operation. */
#include "worker/inbound.h"

#include "base/clock.h"
#include "peers/proof.h"
#include "worker/new_entries.h"

enum {
	/* Full receive calls in a row, from which on what is received counts as backlog. What
	 * 100,000 datagrams a second bring in 20 ms is none: so long a worker may wait for a
	 * processor. The socket holds ten times as many. */
	GROWING_RECEIVES = 32,
	/* More than the socket holds: it would have come to an end if those that come again were
	 * few; and then, if it were of newcomers at all. */
	LONG_RECEIVES = 512,
	USELESS_RECEIVES = 4096,
};

static const enum counter refusal_counter[] = {
	[ADMISSION_HAS_NO_TUNNEL_ADDRESS] = COUNTER_discard_in_no_address,
	[ADMISSION_HAS_NO_ROOM] = COUNTER_discard_in_refused,
	[ADMISSION_IS_UNSOLICITED] = COUNTER_discard_in_unsolicited,
};

static void count(struct inbound *inbound, enum counter counter, uint64_t amount)
{
	counter_add(inbound->counters, counter, amount);
}

/* One message on its way through. */
struct passage {
	const struct received_message *message;
	const struct round *round;
	bool is_judged; /* admission was asked for */
	struct admission admission;
	size_t origin;      /* number of it, of the batch */
	size_t last_length; /* of the message's last datagram; 0: it was not taken in yet */
	struct carried carried;
};

static void judge(struct inbound *inbound, struct passage *passage)
{
	const struct received_message *message = passage->message;
	const struct arrival arrival = {
		.from = message->from,
		.own_address = message->own_address,
		.own_port = inbound->own_port,
		.backlog = inbound->backlog,
		.milliseconds = passage->round->milliseconds,
	};
	struct admission *admission = &passage->admission;

	peers_admit(inbound->peers, &arrival, passage->round->seconds, admission);
	new_entries_note(inbound->peers, admission->obtained, admission->wants_spares,
			 inbound->counters, inbound->notices);
	passage->is_judged = true;
	if (admission->verdict != ADMITTED)
		return;
	passage->origin = inbound_batch_origin(&inbound->writer.batch,
					       &(const struct inbound_origin){
						       .source = admission->source,
						       .destination = admission->destination,
						       .udp_port = message->from.port,
						       .tos = message->tos,
					       });
}

/* A control datagram goes to the control thread; what does not fit is counted. */
static void hand_over(struct inbound *inbound, const struct received_message *message,
		      const uint8_t *payload, size_t length)
{
	struct control_record *record = ring_slot(inbound->to_control);

	if (record == NULL) {
		count(inbound, COUNTER_discard_in_control_overflow, 1);
		return;
	}
	if (inbound->received_at == 0)
		inbound->received_at = monotonic_nanoseconds();
	control_record_fill(record, payload, length, &message->from, &message->own_address,
			    inbound->own_port, inbound->worker, inbound->received_at);
	ring_push(inbound->to_control);
}

/* Whether the segment of a peer that is not proven yet shows that it receives. */
static void look_for_proof(struct inbound *inbound, struct admission *admission, const uint8_t *tcp)
{
	if (peers_note_heard(inbound->peers, admission->entry, tcp[TCP_FLAGS],
			     load_be32(tcp + TCP_ACKNOWLEDGMENT)))
		admission->is_provisional = false;
}

/* Takes in a TCP segment. Returns false, to be called again, when the tunnel interface is full. */
static bool take_segment(struct inbound *inbound, struct passage *passage, const uint8_t *payload,
			 size_t length)
{
	if (!decapsulate(&inbound->writer.batch, payload, length, passage->origin)) {
		if (!tunnel_writer_flush(&inbound->writer, passage->round))
			return false;
		/* an empty batch takes every segment */
		(void)decapsulate(&inbound->writer.batch, payload, length, passage->origin);
	}
	passage->carried.segments++;
	passage->carried.bytes += length;
	return true;
}

/* Takes in one datagram. Returns false, to be called again, when the tunnel interface is full. */
static bool take_datagram(struct inbound *inbound, struct passage *passage, const uint8_t *payload,
			  size_t length)
{
	enum payload_kind kind = payload_classify(payload, length);

	if (kind == PAYLOAD_IS_MALFORMED) {
		count(inbound, COUNTER_discard_in_malformed, 1);
		return true;
	}
	if (kind == PAYLOAD_IS_CONTROL) {
		hand_over(inbound, passage->message, payload, length);
		return true;
	}
	if (!passage->is_judged)
		judge(inbound, passage);
	if (passage->admission.verdict != ADMITTED) {
		count(inbound, refusal_counter[passage->admission.verdict], 1);
		return true;
	}
	if (kind == PAYLOAD_IS_KEEPALIVE) {
		count(inbound, COUNTER_in_keepalives, 1);
		return true;
	}
	if (passage->admission.is_provisional)
		look_for_proof(inbound, &passage->admission, payload);
	return take_segment(inbound, passage, payload, length);
}

/* For an endpoint's control thread, which asks for data that does not go on. All datagrams of a
 * message come from one far end, and the last one is as good as any to tell what it is about. */
static void note_data(struct inbound *inbound, const struct passage *passage)
{
	const struct received_message *message = passage->message;
	const uint8_t *tcp = message->payload + message->length - passage->last_length;

	if (inbound->peers->settings.store.gives_tunnel_address ||
	    passage->last_length < TCP_MIN_HEADER_SIZE)
		return;
	if (peer_entry_note_data(passage->admission.entry,
				 (tcp[TCP_FLAGS] & (TCP_FIN | TCP_RST)) != 0,
				 passage->last_length > tcp_header_length(tcp)))
		notices_raise(inbound->notices, NOTICE_DATA_CAME);
}

/* Counts what the message brought so far, once for all of it. */
static void count_carried(struct inbound *inbound, const struct passage *passage)
{
	const struct carried *carried = &passage->carried;
	struct peer_entry *entry;
	struct peer_record *record;

	if (carried->segments == 0)
		return; /* and perhaps nobody was asked about the message */
	count(inbound, COUNTER_in_segments, carried->segments);
	count(inbound, COUNTER_in_bytes, carried->bytes);
	inbound->carried.segments += carried->segments;
	inbound->carried.bytes += carried->bytes;
	entry = passage->admission.entry;
	if (entry == NULL)
		return;
	peers_note_tcp(inbound->peers, entry, passage->round->seconds);
	note_data(inbound, passage);
	record = connection_store_record(inbound->peers->store, entry);
	if (record != NULL)
		atomic_fetch_add_explicit(&record->bytes_in, carried->bytes, memory_order_relaxed);
}

/* Takes in the message's datagrams from `next_offset` on; false: the tunnel interface is full. */
static bool take_datagrams(struct inbound *inbound, struct passage *passage)
{
	const struct received_message *message = passage->message;
	size_t length;

	do {
		length = message->length - inbound->next_offset;
		if (length > message->datagram_size)
			length = message->datagram_size;
		if (!take_datagram(inbound, passage, message->payload + inbound->next_offset,
				   length))
			return false;
		inbound->next_offset += length;
	} while (inbound->next_offset < message->length);
	passage->last_length = length;
	return true;
}

/* Takes in the next message, or goes on with it. Returns false when the interface is full. */
static bool take_message(struct inbound *inbound, const struct round *round)
{
	struct received_message message;
	struct passage passage;
	bool is_through;

	udp_received_message(&inbound->receiver, inbound->next_message, &message);
	if (message.is_truncated) {
		count(inbound, COUNTER_discard_in_truncated, 1);
		return true;
	}
	/* RFC 768: no port, so nobody that could be answered */
	if (message.from.port == 0) {
		count(inbound, COUNTER_discard_in_malformed, 1);
		return true;
	}
	passage.message = &message;
	passage.round = round;
	passage.is_judged = false;
	passage.last_length = 0;
	passage.carried = (struct carried){0};
	is_through = take_datagrams(inbound, &passage);
	count_carried(inbound, &passage);
	if (!is_through)
		return false;
	count(inbound, COUNTER_in_messages, 1);
	if (message.length > message.datagram_size)
		count(inbound, COUNTER_in_gro_messages, 1);
	return true;
}

/* Takes in the messages that were received. Returns false when the tunnel interface is full. */
static bool take_messages(struct inbound *inbound, const struct round *round)
{
	for (; inbound->next_message < inbound->message_count; inbound->next_message++) {
		if (!take_message(inbound, round))
			return false;
		inbound->next_offset = 0;
	}
	return true;
}

/* Not so many are asked for when it is bulk data: that begins no backlog and ends none. */
static void note_backlog(struct inbound *inbound, unsigned offered, int received)
{
	if (received < (int)offered)
		inbound->full_receives = 0;
	else if (offered == RECEIVE_MAX_MESSAGES)
		inbound->full_receives++;
	inbound->backlog = BACKLOG_NONE;
	if (inbound->full_receives > GROWING_RECEIVES)
		inbound->backlog = BACKLOG_GROWS;
	if (inbound->full_receives > LONG_RECEIVES && inbound->full_receives <= USELESS_RECEIVES)
		inbound->backlog = BACKLOG_IS_LONG;
}

/* Returns false when there is nothing, or an error that poll() shows again. */
static bool receive(struct inbound *inbound, int socket)
{
	unsigned offered = inbound->receiver.offered;
	int received = udp_receive(&inbound->receiver, socket);

	note_backlog(inbound, offered, received);
	if (received <= 0)
		return false;
	count(inbound, COUNTER_in_calls, 1);
	inbound->message_count = (size_t)received;
	inbound->next_message = 0;
	inbound->next_offset = 0;
	inbound->received_at = 0;
	return true;
}

struct carried inbound_run(struct inbound *inbound, int socket, const struct round *round)
{
	inbound->carried = (struct carried){0};
	if (inbound->writer.is_blocked && !tunnel_writer_flush(&inbound->writer, round))
		return inbound->carried;
	tunnel_writer_begin_round(&inbound->writer, round);
	if (inbound->next_message == inbound->message_count && !receive(inbound, socket))
		return inbound->carried;
	if (take_messages(inbound, round))
		(void)tunnel_writer_flush(&inbound->writer, round);
	/* once for all that this batch handed over */
	ring_wake(inbound->to_control);
	return inbound->carried;
}
