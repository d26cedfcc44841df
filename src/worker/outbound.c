/*
 * From the tunnel interface to UDP: packets are read into an arena until it is full or nothing is
 * left to read, cut into segments, and sent together. What the socket does not take stays where it
 * is, and nothing more is read until it does.
 */
#include "io/tun_interface.h"
#include "packet/encapsulate.h"
#include "packet/icmp_error.h"
#include "worker/worker_state.h"

#include <errno.h>

static const enum counter verdict_counter[] = {
	[PACKET_IS_NOT_IPV4] = COUNTER_discard_out_not_ipv4,
	[PACKET_IS_NOT_TCP] = COUNTER_discard_out_not_tcp,
	[PACKET_HAS_IP_OPTIONS] = COUNTER_discard_out_ip_options,
	[PACKET_IS_FRAGMENT] = COUNTER_discard_out_fragment,
	[PACKET_HAS_BAD_LENGTH] = COUNTER_discard_out_length,
	[PACKET_HAS_BAD_TCP_HEADER] = COUNTER_discard_out_malformed_tcp,
};

static void count_totals(struct worker *worker, const struct send_totals *totals)
{
	count(worker, COUNTER_out_calls, totals->calls);
	count(worker, COUNTER_out_messages, totals->messages);
	count(worker, COUNTER_out_gso_messages, totals->gso_messages);
	count(worker, COUNTER_out_segments, totals->segments);
	count(worker, COUNTER_out_bytes, totals->bytes);
	count(worker, COUNTER_gso_fallbacks, totals->gso_fallbacks);
}

/* Tells each packet that a refused message was made of how much the path takes. */
static void reject_too_big(struct worker *worker, const struct send_failure *failure)
{
	const struct outbound_segment *segments = worker->outbound.batch.segments;
	uint32_t mtu = path_mtu(&worker->path_mtu, &failure->destination.address, worker->now);
	const uint8_t *told = NULL;

	if (mtu == 0 || outbound_outer_size(failure->segment_size) <= mtu)
		return;
	for (size_t i = 0; i < failure->segments; i++) {
		const uint8_t *packet = segments[failure->first_segment + i].packet;

		if (packet != told)
			reject_packet(worker, packet, ICMP_QUOTED_SIZE,
				      ICMP_CODE_FRAGMENTATION_NEEDED, outbound_inner_mtu(mtu));
		told = packet;
	}
}

static void discard_failed(struct worker *worker, const struct send_failure *failure)
{
	enum counter counter = COUNTER_discard_out_send_error;

	switch (failure->error) {
	case EMSGSIZE:
		counter = COUNTER_discard_out_too_big;
		reject_too_big(worker, failure);
		break;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENODEV:
	case ENXIO:
	case EADDRNOTAVAIL:
		counter = COUNTER_discard_out_unreachable;
		break;
	case EPERM:
	case EACCES:
		counter = COUNTER_discard_out_refused_locally;
		break;
	default:
		break;
	}
	count(worker, counter, failure->segments);
}

static void note_gso(struct worker *worker, const struct send_totals *totals)
{
	struct notices *notices = &worker->forwarding->notices;

	if (totals->gso_given_up == 0)
		return;
	atomic_store_explicit(&notices->gso_error, totals->gso_given_up, memory_order_relaxed);
	notices_raise(notices, NOTICE_GSO_GIVEN_UP);
}

/* Sends the batch. Returns false, with the rest kept, when the socket is full. */
static bool flush(struct worker *worker)
{
	struct outbound *outbound = &worker->outbound;
	struct send_totals totals = {0};
	struct send_failure failure;
	enum send_outcome outcome;

	while ((outcome = udp_send(&outbound->sender, worker->socket, &outbound->batch, &totals,
				   &failure)) == SEND_HAS_FAILED)
		discard_failed(worker, &failure);
	count_totals(worker, &totals);
	note_gso(worker, &totals);
	if (outcome == SEND_IS_BLOCKED) {
		if (!outbound->is_blocked)
			count(worker, COUNTER_backpressure_udp, 1);
		standing_queue_blocked(&outbound->queue, worker->milliseconds);
		outbound->is_blocked = true;
		return false;
	}
	outbound->is_blocked = false;
	outbound_batch_clear(&outbound->batch, udp_sender_message_segments(&outbound->sender));
	udp_sender_restart(&outbound->sender);
	return true;
}

/* For --log-peers: what is sent to the peer, if nothing stops it later. */
static void count_for_log(const struct worker *worker, const struct peer_entry *connection,
			  const struct tunnel_packet *packet)
{
	if (worker->forwarding->options->log_peers)
		atomic_fetch_add_explicit(
			&connection_store_record(worker->forwarding->store, connection)->bytes_out,
			packet->data_length + packet->segments * packet->tcp_header_size,
			memory_order_relaxed);
}

/* Server mode: the peer that holds the packet's destination. */
static bool route_to_peer(struct worker *worker, const struct tunnel_packet *packet)
{
	struct datagram_route *route = &worker->outbound.route;
	struct peer_entry *connection = connection_store_find_tunnel_address(
		worker->forwarding->store, &packet->destination);
	const struct destination *there;

	if (connection == NULL) {
		count(worker, COUNTER_discard_out_unknown_destination, 1);
		reject_packet(worker, packet->ip, packet->length, ICMP_CODE_HOST_UNREACHABLE, 0);
		return false;
	}
	there = peer_entry_destination(connection);
	if (there == NULL) {
		count(worker, COUNTER_discard_out_unreachable, packet->segments);
		return false;
	}
	route->destination = there->peer.remote;
	route->source = destination_own_address(there);
	count_for_log(worker, connection, packet);
	return true;
}

/* Endpoint mode: the packet's own destination, which is remembered for keepalives. */
static bool route_to_destination(struct worker *worker, const struct tunnel_packet *packet)
{
	struct datagram_route *route = &worker->outbound.route;
	enum obtain_result result;
	struct peer_entry *connection;

	struct peer peer = {.own_port = worker->own_port};

	peer.remote.address = packet->destination;
	peer.remote.port = htons((uint16_t)worker->forwarding->options->endpoint_port);
	memset(route, 0, sizeof(*route));
	route->destination = peer.remote;
	connection = connection_store_obtain(worker->forwarding->store, &peer, NULL, worker->now,
					     &result);
	if (connection == NULL) {
		count(worker, COUNTER_connections_refused, 1);
		notices_raise(&worker->forwarding->notices, NOTICE_PEER_REFUSED);
		/* carried all the same, only without keepalives; but no answer would be let in */
		if (!worker->forwarding->options->solicited_only)
			return true;
		count(worker, COUNTER_discard_out_not_remembered, packet->segments);
		reject_packet(worker, packet->ip, packet->length, ICMP_CODE_HOST_UNREACHABLE, 0);
		return false;
	}
	if (result == ENTRY_MADE) {
		count(worker, COUNTER_connections_made, 1);
		if (worker->forwarding->options->log_peers)
			notices_raise(&worker->forwarding->notices, NOTICE_NEWCOMER);
	}
	peer_entry_refresh(&connection->last_sent, worker->now);
	peer_entry_refresh(&connection->last_tcp, worker->now);
	count_for_log(worker, connection, packet);
	return true;
}

/* Puts the rest of the current packet into the batch; false when the socket is full. */
static bool encapsulate_rest(struct worker *worker)
{
	struct outbound *outbound = &worker->outbound;

	for (;;) {
		outbound->next_segment += encapsulate(&outbound->batch, &outbound->packet,
						      outbound->next_segment, &outbound->route);
		if (outbound->next_segment == outbound->packet.segments)
			return true;
		if (!flush(worker))
			return false;
	}
}

/* Tells TCP to slow down: by a mark on this packet where both ends know ECN, else by a lost
 * segment. */
static void signal_standing_queue(struct worker *worker)
{
	struct outbound *outbound = &worker->outbound;

	if (outbound->packet.data_length == 0 ||
	    !standing_queue_signal(&outbound->queue, worker->milliseconds))
		return;
	if (tunnel_packet_knows_ecn(&outbound->packet)) {
		datagram_route_mark_ce(&outbound->route);
		count(worker, COUNTER_out_ce_marked, 1);
		return;
	}
	outbound->next_segment = 1;
	count(worker, COUNTER_discard_out_standing_queue, 1);
}

/* Begins a packet that was accepted. Returns false when the socket is full. */
static bool forward_packet(struct worker *worker)
{
	struct forwarding *forwarding = worker->forwarding;
	struct outbound *outbound = &worker->outbound;
	struct tunnel_packet *packet = &outbound->packet;

	outbound->next_segment = packet->segments; /* until it turns out that it is carried */
	count(worker, COUNTER_out_packets, 1);
	if (packet->segments > 1)
		count(worker, COUNTER_out_super_packets, 1);
	if (atomic_load_explicit(&forwarding->tunnel_address, memory_order_relaxed) == 0) {
		count(worker, COUNTER_discard_out_no_address, packet->segments);
		return true;
	}
	if (tunnel_packet_segment_size(packet) > forwarding->max_payload) {
		count(worker, COUNTER_discard_out_too_big, packet->segments);
		reject_packet(worker, packet->ip, packet->length, ICMP_CODE_FRAGMENTATION_NEEDED,
			      (uint32_t)outbound_inner_size(forwarding->max_payload));
		return true;
	}
	if (options_server_mode(forwarding->options) ? !route_to_peer(worker, packet)
						     : !route_to_destination(worker, packet))
		return true;
	outbound->route.tos = packet->tos;
	outbound->next_segment = 0;
	signal_standing_queue(worker);
	return encapsulate_rest(worker);
}

/* Takes in one packet as it was read. Returns false when the socket is full. */
static bool take_packet(struct worker *worker, uint8_t *bytes, size_t length)
{
	struct tunnel_packet *packet = &worker->outbound.packet;
	enum packet_verdict verdict =
		tunnel_packet_parse(bytes, length, worker->forwarding->with_vnet_header, packet);

	if (verdict == PACKET_IS_TCP)
		return forward_packet(worker);
	count(worker, verdict_counter[verdict], 1);
	if (verdict == PACKET_IS_NOT_TCP)
		reject_packet(worker, packet->ip, packet->length, ICMP_CODE_PROTOCOL_UNREACHABLE,
			      0);
	return true;
}

/* Reads until nothing is left or the arena is full. Returns false when the socket is full. */
static bool read_packets(struct worker *worker)
{
	struct outbound *outbound = &worker->outbound;

	for (size_t packets = 0; packets < OUTBOUND_MAX_PACKETS; packets++) {
		uint8_t *at = outbound->arena + outbound->arena_used;
		ssize_t length;

		if (outbound->arena_used + OUTBOUND_PACKET_ROOM > OUTBOUND_ARENA_SIZE)
			return true;
		length = tun_read(worker->queue, at, OUTBOUND_PACKET_ROOM);
		if (length < 0) {
			/* nothing left; a queue that is gone shows in poll() */
			standing_queue_emptied(&outbound->queue);
			return true;
		}
		outbound->arena_used += ((size_t)length + 63) & ~(size_t)63;
		if (!take_packet(worker, at, (size_t)length))
			return false;
	}
	return true;
}

void outbound_run(struct worker *worker)
{
	struct outbound *outbound = &worker->outbound;

	if (outbound->is_blocked) {
		if (!flush(worker))
			return;
		if (outbound->next_segment < outbound->packet.segments && !encapsulate_rest(worker))
			return;
	}
	if (read_packets(worker) && flush(worker)) {
		standing_queue_sent(&outbound->queue);
		outbound->arena_used = 0;
	}
}
