/* From UDP to the tunnel interface; see inbound.h for the theory of operation. */
#include "worker/inbound.h"

#include "base/clock.h"
#include "io/tun_interface.h"
#include "worker/new_entries.h"

#include <errno.h>

static const enum counter refusal_counter[] = {
	[ADMISSION_HAS_NO_TUNNEL_ADDRESS] = COUNTER_discard_in_no_address,
	[ADMISSION_HAS_NO_ROOM] = COUNTER_discard_in_refused,
	[ADMISSION_IS_UNSOLICITED] = COUNTER_discard_in_unsolicited,
};

static void count(struct inbound *inbound, enum counter counter, uint64_t amount)
{
	counter_add(inbound->counters, counter, amount);
}

static int write_pieces(const struct inbound *inbound, const struct iovec *iov, size_t pieces)
{
	int error;

	do
		error = tun_write(inbound->queue, iov, pieces);
	while (error == -EINTR);
	return error;
}

/*
 * Whether an error is about the packet itself, so that the same data may pass in another form.
 *
 * EINVAL: the virtio_net header is not accepted (tun_get_user(), Linux drivers/net/tun.c, and
 * virtio_net_hdr_to_skb(), include/linux/virtio_net.h, which versions of it do for what is right).
 * EMSGSIZE: too many pages for one packet (alloc_skb_with_frags(), net/core/skbuff.c). The others
 * are none: EAGAIN is a full interface, EIO and EBADFD are about the interface, which is down or
 * gone; ENOMEM and ENOBUFS say that the kernel has no memory, and a packet for each segment would
 * ask for more of it; EFAULT would be a fault of this program.
 */
static bool is_refusal(int error)
{
	return error == -EINVAL || error == -EMSGSIZE;
}

static void count_lost(struct inbound *inbound, int error, size_t segments)
{
	count(inbound,
	      error == -EIO || error == -EBADFD ? COUNTER_discard_in_tunnel_down
						: COUNTER_discard_in_write_error,
	      segments);
}

static void count_written(struct inbound *inbound, const struct inbound_packet *packet)
{
	count(inbound, COUNTER_in_packets, 1);
	if (packet->segments == 1)
		return;
	count(inbound, COUNTER_in_super_packets, 1);
	coalescing_taken(&inbound->coalescing);
}

/* @refusal: what the packet was refused with, 0: it is not even tried as a whole */
static void begin_split(struct inbound *inbound, int refusal)
{
	const struct inbound_batch *batch = &inbound->batch;

	inbound_single_first(batch, inbound->next_packet, &inbound->single);
	inbound->is_split = true;
	/* a packet of one segment was the single already, but for its checksum */
	inbound->with_checksum = batch->packets[inbound->next_packet].segments == 1;
	inbound->has_taken_segment = false;
	inbound->refusal = refusal;
}

/* That its segments were taken shows that it was for the coalescing. */
static void blame_coalescing(struct inbound *inbound, const struct round *round)
{
	if (inbound->refusal == 0 || !inbound->has_taken_segment ||
	    !coalescing_refused(&inbound->coalescing, round->milliseconds))
		return;
	atomic_store_explicit(&inbound->notices->coalescing_error, inbound->refusal,
			      memory_order_relaxed);
	notices_raise(inbound->notices, NOTICE_COALESCING_GIVEN_UP);
}

static void end_split(struct inbound *inbound, const struct round *round)
{
	if (inbound->batch.packets[inbound->next_packet].segments > 1) {
		count(inbound, COUNTER_tun_fallbacks, 1);
		blame_coalescing(inbound, round);
	}
	inbound->is_split = false;
	inbound->next_packet++;
}

/* Writes the segment at hand, one way or the other. Returns 0 or a negative errno. */
static int write_single(struct inbound *inbound)
{
	for (;;) {
		struct iovec iov[2];
		size_t pieces = inbound_single_finish(&inbound->batch, inbound->next_packet,
						      &inbound->single, inbound->with_checksum,
						      iov);
		int error = write_pieces(inbound, iov, pieces);

		if (!is_refusal(error) || inbound->with_checksum)
			return error;
		inbound->with_checksum = true;
	}
}

/* Writes the rest of a packet segment by segment. Returns false when the interface is full. */
static bool write_singles(struct inbound *inbound, const struct round *round)
{
	do {
		int error = write_single(inbound);

		if (error == -EAGAIN)
			return false;
		if (error == 0) {
			count(inbound, COUNTER_in_packets, 1);
			inbound->has_taken_segment = true;
		} else {
			count_lost(inbound, error, 1);
		}
		inbound->with_checksum = false;
	} while (inbound_single_next(&inbound->batch, inbound->next_packet, &inbound->single));
	end_split(inbound, round);
	return true;
}

/* Writes a packet as it is, or begins to split it. Returns false when the interface is full. */
static bool write_packet(struct inbound *inbound, const struct round *round)
{
	struct inbound_batch *batch = &inbound->batch;
	const struct inbound_packet *packet = &batch->packets[inbound->next_packet];
	struct iovec iov[INBOUND_MAX_COALESCED + 1];
	int error;

	if (packet->segments > 1 &&
	    !coalescing_may_try(&inbound->coalescing, round->milliseconds)) {
		begin_split(inbound, 0);
		return true;
	}
	error = write_pieces(inbound, iov, inbound_packet_finish(batch, inbound->next_packet, iov));
	if (error == -EAGAIN)
		return false;
	if (is_refusal(error) && batch->with_vnet_header) {
		begin_split(inbound, -error);
		return true;
	}
	if (error == 0)
		count_written(inbound, packet);
	else
		count_lost(inbound, error, packet->segments);
	inbound->next_packet++;
	return true;
}

/* An empty batch: what is put together in it depends on what the interface takes. */
static void begin_batch(struct inbound *inbound, const struct round *round)
{
	inbound_batch_coalesce(&inbound->batch,
			       coalescing_may_try(&inbound->coalescing, round->milliseconds));
}

/* Writes the batch. Returns false, with the rest kept, when the tunnel interface is full. */
static bool flush(struct inbound *inbound, const struct round *round)
{
	while (inbound->next_packet < inbound->batch.packet_count) {
		if (inbound->is_split ? write_singles(inbound, round)
				      : write_packet(inbound, round))
			continue;
		if (!inbound->is_blocked)
			count(inbound, COUNTER_backpressure_tun, 1);
		inbound->is_blocked = true;
		return false;
	}
	inbound->is_blocked = false;
	inbound->next_packet = 0;
	inbound_batch_clear(&inbound->batch);
	begin_batch(inbound, round);
	return true;
}

/* One message on its way through. */
struct passage {
	const struct received_message *message;
	const struct round *round;
	bool is_judged; /* admission was asked for */
	struct admission admission;
	size_t origin; /* number of it, of the batch */
	struct carried carried;
};

static void judge(struct inbound *inbound, struct passage *passage)
{
	const struct received_message *message = passage->message;
	const struct arrival arrival = {message->from, message->own_address, inbound->own_port};
	struct admission *admission = &passage->admission;

	peers_admit(inbound->peers, &arrival, passage->round->seconds, admission);
	new_entries_note(inbound->peers, admission->obtained, admission->wants_spares,
			 inbound->counters, inbound->notices);
	passage->is_judged = true;
	if (admission->verdict != ADMITTED)
		return;
	passage->origin = inbound_batch_origin(&inbound->batch,
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

/* Takes in a TCP segment. Returns false, to be called again, when the tunnel interface is full. */
static bool take_segment(struct inbound *inbound, struct passage *passage, const uint8_t *payload,
			 size_t length)
{
	if (!decapsulate(&inbound->batch, payload, length, passage->origin)) {
		if (!flush(inbound, passage->round))
			return false;
		/* an empty batch takes every segment */
		(void)decapsulate(&inbound->batch, payload, length, passage->origin);
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
	return take_segment(inbound, passage, payload, length);
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
	record = connection_store_record(inbound->peers->store, entry);
	if (record != NULL)
		atomic_fetch_add_explicit(&record->bytes_in, carried->bytes, memory_order_relaxed);
}

/* Takes in the message's datagrams from `next_offset` on; false: the tunnel interface is full. */
static bool take_datagrams(struct inbound *inbound, struct passage *passage)
{
	const struct received_message *message = passage->message;

	do {
		size_t length = message->length - inbound->next_offset;

		if (length > message->datagram_size)
			length = message->datagram_size;
		if (!take_datagram(inbound, passage, message->payload + inbound->next_offset,
				   length))
			return false;
		inbound->next_offset += length;
	} while (inbound->next_offset < message->length);
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

/* Returns false when there is nothing, or an error that poll() shows again. */
static bool receive(struct inbound *inbound, int socket)
{
	int received = udp_receive(&inbound->receiver, socket);

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
	if (inbound->is_blocked && !flush(inbound, round))
		return inbound->carried;
	begin_batch(inbound, round);
	if (inbound->next_message == inbound->message_count && !receive(inbound, socket))
		return inbound->carried;
	if (take_messages(inbound, round))
		(void)flush(inbound, round);
	/* once for all that this batch handed over */
	ring_wake(inbound->to_control);
	return inbound->carried;
}
