/* Writing to the tunnel interface; see tunnel_writer.h for the theory of operation. */
#include "worker/tunnel_writer.h"

#include "io/tun_interface.h"

#include <errno.h>

static void count(struct tunnel_writer *writer, enum counter counter, uint64_t amount)
{
	counter_add(writer->counters, counter, amount);
}

static int write_pieces(const struct tunnel_writer *writer, const struct iovec *iov, size_t pieces)
{
	int error;

	do
		error = tun_write(writer->queue, iov, pieces);
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

static void count_lost(struct tunnel_writer *writer, int error, size_t segments)
{
	count(writer,
	      error == -EIO || error == -EBADFD ? COUNTER_discard_in_tunnel_down
						: COUNTER_discard_in_write_error,
	      segments);
}

static void count_written(struct tunnel_writer *writer, const struct inbound_packet *packet)
{
	count(writer, COUNTER_in_packets, 1);
	if (packet->segments == 1)
		return;
	count(writer, COUNTER_in_super_packets, 1);
	coalescing_taken(&writer->coalescing);
}

/* @refusal: what the packet was refused with, 0: it is not even tried as a whole */
static void begin_split(struct tunnel_writer *writer, int refusal)
{
	const struct inbound_batch *batch = &writer->batch;

	inbound_single_first(batch, writer->next_packet, &writer->single);
	writer->is_split = true;
	/* a packet of one segment was the single already, but for its checksum */
	writer->with_checksum = batch->packets[writer->next_packet].segments == 1;
	writer->has_taken_segment = false;
	writer->refusal = refusal;
}

/* That its segments were taken shows that it was for the coalescing. */
static void blame_coalescing(struct tunnel_writer *writer, const struct round *round)
{
	if (writer->refusal == 0 || !writer->has_taken_segment ||
	    !coalescing_refused(&writer->coalescing, round->milliseconds))
		return;
	atomic_store_explicit(&writer->notices->coalescing_error, writer->refusal,
			      memory_order_relaxed);
	notices_raise(writer->notices, NOTICE_COALESCING_GIVEN_UP);
}

static void end_split(struct tunnel_writer *writer, const struct round *round)
{
	if (writer->batch.packets[writer->next_packet].segments > 1) {
		count(writer, COUNTER_tun_fallbacks, 1);
		blame_coalescing(writer, round);
	}
	writer->is_split = false;
	writer->next_packet++;
}

/* Writes the segment at hand, one way or the other. Returns 0 or a negative errno. */
static int write_single(struct tunnel_writer *writer)
{
	for (;;) {
		struct iovec iov[2];
		size_t pieces = inbound_single_finish(&writer->batch, writer->next_packet,
						      &writer->single, writer->with_checksum, iov);
		int error = write_pieces(writer, iov, pieces);

		if (!is_refusal(error) || writer->with_checksum)
			return error;
		writer->with_checksum = true;
	}
}

/* Writes the rest of a packet segment by segment. Returns false when the interface is full. */
static bool write_singles(struct tunnel_writer *writer, const struct round *round)
{
	do {
		int error = write_single(writer);

		if (error == -EAGAIN)
			return false;
		if (error == 0) {
			count(writer, COUNTER_in_packets, 1);
			writer->has_taken_segment = true;
		} else {
			count_lost(writer, error, 1);
		}
		writer->with_checksum = false;
	} while (inbound_single_next(&writer->batch, writer->next_packet, &writer->single));
	end_split(writer, round);
	return true;
}

/* Writes a packet as it is, or begins to split it. Returns false when the interface is full. */
static bool write_packet(struct tunnel_writer *writer, const struct round *round)
{
	struct inbound_batch *batch = &writer->batch;
	const struct inbound_packet *packet = &batch->packets[writer->next_packet];
	struct iovec iov[INBOUND_MAX_COALESCED + 1];
	int error;

	if (packet->segments > 1 && !coalescing_may_try(&writer->coalescing, round->milliseconds)) {
		begin_split(writer, 0);
		return true;
	}
	error = write_pieces(writer, iov, inbound_packet_finish(batch, writer->next_packet, iov));
	if (error == -EAGAIN)
		return false;
	if (is_refusal(error) && batch->with_vnet_header) {
		begin_split(writer, -error);
		return true;
	}
	if (error == 0)
		count_written(writer, packet);
	else
		count_lost(writer, error, packet->segments);
	writer->next_packet++;
	return true;
}

void tunnel_writer_begin_round(struct tunnel_writer *writer, const struct round *round)
{
	inbound_batch_coalesce(&writer->batch,
			       coalescing_may_try(&writer->coalescing, round->milliseconds));
}

bool tunnel_writer_flush(struct tunnel_writer *writer, const struct round *round)
{
	while (writer->next_packet < writer->batch.packet_count) {
		if (writer->is_split ? write_singles(writer, round) : write_packet(writer, round))
			continue;
		if (!writer->is_blocked)
			count(writer, COUNTER_backpressure_tun, 1);
		writer->is_blocked = true;
		return false;
	}
	writer->is_blocked = false;
	writer->next_packet = 0;
	inbound_batch_clear(&writer->batch);
	return true;
}
