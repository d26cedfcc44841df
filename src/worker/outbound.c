/* From the tunnel interface to UDP; see outbound.h for the theory of operation. */
#include "worker/outbound.h"

#include "io/tun_interface.h"
#include "peers/proof.h"
#include "worker/new_entries.h"

#include <errno.h>

enum {
	/* TCP does not make its packets smaller, whatever it is told: net.ipv4.route.min_pmtu of
	 * Linux, 552 since that exists. Where somebody raised it, what it holds up comes without DF
	 * and may be fragmented for that. */
	TCP_LEAST_PATH_MTU = 552,
};

static const enum counter verdict_counter[] = {
	[PACKET_IS_NOT_IPV4] = COUNTER_discard_out_not_ipv4,
	[PACKET_IS_NOT_TCP] = COUNTER_discard_out_not_tcp,
	[PACKET_HAS_IP_OPTIONS] = COUNTER_discard_out_ip_options,
	[PACKET_IS_FRAGMENT] = COUNTER_discard_out_fragment,
	[PACKET_HAS_BAD_LENGTH] = COUNTER_discard_out_length,
	[PACKET_HAS_BAD_TCP_HEADER] = COUNTER_discard_out_malformed_tcp,
	[PACKET_HAS_BAD_CHECKSUM] = COUNTER_discard_out_bad_checksum,
};

static void count(struct outbound *outbound, enum counter counter, uint64_t amount)
{
	counter_add(outbound->counters, counter, amount);
}

static void reject(struct outbound *outbound, const struct round *round, const uint8_t *packet,
		   enum icmp_unreachable_code code, size_t mtu)
{
	reject_packet(&outbound->rejecter, packet, ICMP_QUOTED_SIZE, code, (uint32_t)mtu,
		      round->seconds);
}

static void count_totals(struct outbound *outbound, const struct send_totals *totals)
{
	count(outbound, COUNTER_out_calls, totals->calls);
	count(outbound, COUNTER_out_messages, totals->messages);
	count(outbound, COUNTER_out_gso_messages, totals->gso_messages);
	count(outbound, COUNTER_out_segments, totals->segments);
	count(outbound, COUNTER_out_bytes, totals->bytes);
	count(outbound, COUNTER_out_fragmentable, totals->fragmentable);
	count(outbound, COUNTER_gso_fallbacks, totals->gso_fallbacks);
	outbound->carried.segments += totals->segments;
	outbound->carried.bytes += totals->bytes;
	if (totals->gso_given_up == 0)
		return;
	atomic_store_explicit(&outbound->notices->gso_error, totals->gso_given_up,
			      memory_order_relaxed);
	notices_raise(outbound->notices, NOTICE_GSO_GIVEN_UP);
}

/* Whether TCP cannot make its segments small enough. @mtu: the path's, 0: unknown */
static bool is_tiny(uint32_t mtu)
{
	return mtu != 0 && outbound_inner_mtu(mtu) < TCP_LEAST_PATH_MTU;
}

/* Tells each packet that a refused message was made of how much the path takes. */
static void reject_too_big(struct outbound *outbound, const struct send_failure *failure,
			   uint32_t mtu, const struct round *round)
{
	const struct outbound_segment *segments = outbound->batch.segments;
	const uint8_t *told = NULL;

	if (mtu == 0 || outbound_outer_size(failure->segment_size) <= mtu)
		return;
	for (size_t i = 0; i < failure->segments; i++) {
		const uint8_t *packet = segments[failure->first_segment + i].packet;

		if (packet != told)
			reject(outbound, round, packet, ICMP_CODE_FRAGMENTATION_NEEDED,
			       outbound_inner_mtu(mtu));
		told = packet;
	}
}

static enum counter failure_counter(int error)
{
	switch (error) {
	case EMSGSIZE:
		return COUNTER_discard_out_too_big;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENODEV:
	case ENXIO:
	case EBADF: /* there is no socket yet, see socket_record */
		return COUNTER_discard_out_unreachable;
	case EADDRNOTAVAIL:
		return COUNTER_discard_out_no_source;
	case EPERM:
	case EACCES:
		return COUNTER_discard_out_refused_locally;
	default:
		return COUNTER_discard_out_send_error;
	}
}

/* Does what can be done about segments that the path does not take. Returns false when nothing
 * can, and they are lost. */
static bool answer_too_big(struct outbound *outbound, const struct send_failure *failure,
			   const struct round *round)
{
	uint32_t mtu = path_mtu(&outbound->path_mtu, &failure->destination.address,
				&failure->source, round->seconds);

	if (is_tiny(mtu) && !failure->may_fragment) {
		outbound->tiny_path_at = round->seconds;
		udp_sender_fragment(&outbound->sender, &outbound->batch);
		return true;
	}
	reject_too_big(outbound, failure, mtu, round);
	return false;
}

/* Deals with what the sender tells before the batch is through. */
static void answer_sender(struct outbound *outbound, enum send_outcome outcome,
			  const struct send_failure *failure, const struct round *round)
{
	struct peer_entry *entry;

	if (outcome == SEND_HAS_FALLEN_BACK) {
		entry = peers_find_routed(outbound->peers, &failure->destination, &failure->source,
					  outbound->own_port);
		/* without one the sender remembers it alone, among the last few */
		if (entry != NULL)
			connection_store_send_singly(entry, round->seconds + GSO_RETRY_SECONDS);
		return;
	}
	if (failure->error != EMSGSIZE || !answer_too_big(outbound, failure, round))
		count(outbound, failure_counter(failure->error), failure->segments);
}

/* Sends the batch. Returns false, with the rest kept, when the socket is full. */
static bool flush(struct outbound *outbound, int socket, const struct round *round)
{
	struct send_totals totals = {0};
	struct send_failure failure;
	enum send_outcome outcome;

	for (;;) {
		outcome = udp_send(&outbound->sender, socket, &outbound->batch, round->seconds,
				   &totals, &failure);
		if (outcome == SEND_IS_DONE || outcome == SEND_IS_BLOCKED)
			break;
		answer_sender(outbound, outcome, &failure, round);
	}
	count_totals(outbound, &totals);
	if (outcome == SEND_IS_BLOCKED) {
		if (!outbound->is_blocked)
			count(outbound, COUNTER_backpressure_udp, 1);
		standing_queue_blocked(&outbound->standing_queue, round->milliseconds);
		outbound->is_blocked = true;
		return false;
	}
	outbound->is_blocked = false;
	outbound_batch_clear(&outbound->batch, udp_sender_message_segments(&outbound->sender));
	udp_sender_restart(&outbound->sender);
	return true;
}

/*
 * What comes in goes to the tunnel's address (rule R4), so no answer would reach this sender. A RST
 * wants none: where the kernel sends one for a socket that is gone, it does not know any more which
 * device that was bound to, so routers with several tunnels have such ones in normal operation.
 */
static void discard_foreign(struct outbound *outbound, const struct tunnel_packet *packet,
			    const struct round *round)
{
	struct notices *notices = outbound->notices;
	uint32_t source = ip_address_ipv4(&packet->source);

	count(outbound, COUNTER_discard_out_foreign_source, 1);
	if (packet->tcp_flags & TCP_RST)
		return;
	reject(outbound, round, packet->ip, ICMP_CODE_ADMINISTRATIVELY_PROHIBITED, 0);
	if (atomic_load_explicit(&notices->foreign_source, memory_order_relaxed) != source)
		atomic_store_explicit(&notices->foreign_source, source, memory_order_relaxed);
	notices_raise(notices, NOTICE_FOREIGN_SOURCE);
}

/* Counts why a packet goes nowhere, and tells its sender what it can act on. */
static void discard(struct outbound *outbound, const struct tunnel_packet *packet,
		    const struct routing *routing, const struct round *round)
{
	switch (routing->verdict) {
	case ROUTING_HAS_NO_TUNNEL_ADDRESS:
		count(outbound, COUNTER_discard_out_no_address, packet->segments);
		break;
	case ROUTING_HAS_FOREIGN_SOURCE:
		discard_foreign(outbound, packet, round);
		break;
	case ROUTING_IS_TOO_BIG:
		count(outbound, COUNTER_discard_out_too_big, packet->segments);
		reject(outbound, round, packet->ip, ICMP_CODE_FRAGMENTATION_NEEDED,
		       outbound_inner_size(routing->max_payload));
		break;
	case ROUTING_KNOWS_NO_DESTINATION:
		count(outbound, COUNTER_discard_out_unknown_destination, 1);
		reject(outbound, round, packet->ip, ICMP_CODE_HOST_UNREACHABLE, 0);
		break;
	case ROUTING_CANNOT_REMEMBER:
		count(outbound, COUNTER_discard_out_not_remembered, packet->segments);
		reject(outbound, round, packet->ip, ICMP_CODE_HOST_UNREACHABLE, 0);
		break;
	case ROUTING_HAS_LOST_ITS_PEER:
		/* it may be back in a moment: its connections shall wait, not end */
		count(outbound, COUNTER_discard_out_unreachable, packet->segments);
		break;
	case ROUTING_HAS_NO_SOURCE:
		/* the same: an address comes back */
		count(outbound, COUNTER_discard_out_no_source, packet->segments);
		break;
	case ROUTED:
		break;
	}
}

/* For --log-peers: what is sent to the peer, if nothing stops it later. */
static void count_for_log(const struct outbound *outbound, const struct peer_entry *entry,
			  const struct tunnel_packet *packet)
{
	struct peer_record *record = connection_store_record(outbound->peers->store, entry);

	if (record != NULL)
		atomic_fetch_add_explicit(&record->bytes_out,
					  packet->data_length +
						  packet->segments * packet->tcp_header_size,
					  memory_order_relaxed);
}

/* For a peer that has yet to show that it receives: what it could show that by. */
static void note_sent(struct peer_entry *entry, const struct tunnel_packet *packet, uint32_t now)
{
	uint8_t flags = packet->tcp_flags;
	uint32_t end = load_be32(packet->ip + IPV4_HEADER_SIZE + TCP_SEQUENCE) +
		       packet->data_length + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);

	peers_note_sent(entry, flags, end, now);
}

/* How the packet's segments leave, as far as that is known before they do. */
static void choose_manner(struct outbound *outbound, const struct peer_entry *entry,
			  const struct round *round)
{
	const struct tunnel_packet *packet = &outbound->packet;
	struct datagram_route *route = &outbound->route;
	uint32_t mtu;

	route->may_fragment = packet->may_fragment;
	route->goes_singly = entry != NULL && connection_store_sends_singly(entry, round->seconds);
	if (outbound->tiny_path_at != round->seconds)
		return;
	mtu = path_mtu_known(&outbound->path_mtu, &route->destination.address, &route->source,
			     round->seconds);
	if (is_tiny(mtu) && outbound_outer_size(tunnel_packet_segment_size(packet)) > mtu)
		route->may_fragment = true;
}

/* Finds the packet's way. Returns false when it has none and was discarded. */
static bool find_route(struct outbound *outbound, const struct round *round)
{
	const struct tunnel_packet *packet = &outbound->packet;
	const struct departure departure = {
		.source = packet->source,
		.destination = packet->destination,
		.payload = tunnel_packet_segment_size(packet),
		.own_port = outbound->own_port,
	};
	struct routing routing;

	peers_route(outbound->peers, &departure, round->seconds, &routing);
	new_entries_note(outbound->peers, routing.obtained, false, outbound->counters,
			 outbound->notices);
	if (routing.verdict != ROUTED) {
		discard(outbound, packet, &routing, round);
		return false;
	}
	if (routing.is_provisional)
		note_sent(routing.entry, packet, round->seconds);
	if (routing.entry != NULL)
		count_for_log(outbound, routing.entry, packet);
	outbound->route.destination = routing.destination;
	outbound->route.source = routing.source;
	outbound->route.tos = packet->tos;
	choose_manner(outbound, routing.entry, round);
	return true;
}

/*
 * Tells TCP to slow down when a queue stands: by a mark on this packet where both ends know ECN,
 * else by a lost segment. Returns how many segments are dropped, from the first one on.
 */
static size_t shorten_standing_queue(struct outbound *outbound, const struct round *round)
{
	if (outbound->packet.data_length == 0 ||
	    !standing_queue_signal(&outbound->standing_queue, round->milliseconds))
		return 0;
	if (tunnel_packet_knows_ecn(&outbound->packet)) {
		datagram_route_mark_ce(&outbound->route);
		count(outbound, COUNTER_out_ce_marked, 1);
		return 0;
	}
	count(outbound, COUNTER_discard_out_standing_queue, 1);
	return 1;
}

/* Puts the rest of the current packet into the batch; false when the socket is full. */
static bool encapsulate_rest(struct outbound *outbound, int socket, const struct round *round)
{
	for (;;) {
		outbound->next_segment += encapsulate(&outbound->batch, &outbound->packet,
						      outbound->next_segment, &outbound->route);
		outbound->has_rest = outbound->next_segment < outbound->packet.segments;
		if (!outbound->has_rest)
			return true;
		if (!flush(outbound, socket, round))
			return false;
	}
}

/* Forwards a TCP packet. Returns false when the socket is full. */
static bool forward_packet(struct outbound *outbound, int socket, const struct round *round)
{
	count(outbound, COUNTER_out_packets, 1);
	if (outbound->packet.segments > 1)
		count(outbound, COUNTER_out_super_packets, 1);
	if (!find_route(outbound, round))
		return true;
	outbound->next_segment = shorten_standing_queue(outbound, round);
	return encapsulate_rest(outbound, socket, round);
}

/* Takes in one packet as it was read. Returns false when the socket is full. */
static bool take_packet(struct outbound *outbound, uint8_t *bytes, size_t length, int socket,
			const struct round *round)
{
	enum packet_verdict verdict = tunnel_packet_parse(bytes, length, outbound->with_vnet_header,
							  &outbound->packet);

	if (verdict == PACKET_IS_TCP)
		return forward_packet(outbound, socket, round);
	count(outbound, verdict_counter[verdict], 1);
	if (verdict == PACKET_IS_NOT_TCP)
		reject_packet(&outbound->rejecter, outbound->packet.ip, outbound->packet.length,
			      ICMP_CODE_PROTOCOL_UNREACHABLE, 0, round->seconds);
	return true;
}

/* Reads until nothing is left or the arena is full. Returns false when the socket is full. */
static bool read_packets(struct outbound *outbound, int socket, const struct round *round)
{
	for (size_t packets = 0; packets < OUTBOUND_MAX_PACKETS; packets++) {
		uint8_t *at = outbound->arena + outbound->arena_used;
		ssize_t length;

		if (outbound->arena_used + OUTBOUND_PACKET_ROOM > OUTBOUND_ARENA_SIZE)
			return true;
		length = tun_read(outbound->queue, at, OUTBOUND_PACKET_ROOM);
		if (length < 0) {
			/* nothing left; a queue that is gone shows in poll() */
			standing_queue_emptied(&outbound->standing_queue);
			return true;
		}
		outbound->arena_used += ((size_t)length + 63) & ~(size_t)63;
		if (!take_packet(outbound, at, (size_t)length, socket, round))
			return false;
	}
	return true;
}

/* Goes on with what the socket did not take. Returns false when it is still full. */
static bool resume(struct outbound *outbound, int socket, const struct round *round)
{
	if (!flush(outbound, socket, round))
		return false;
	return !outbound->has_rest || encapsulate_rest(outbound, socket, round);
}

struct carried outbound_run(struct outbound *outbound, int socket, const struct round *round)
{
	outbound->carried = (struct carried){0};
	if (outbound->is_blocked && !resume(outbound, socket, round))
		return outbound->carried;
	if (read_packets(outbound, socket, round) && flush(outbound, socket, round)) {
		standing_queue_sent(&outbound->standing_queue);
		outbound->arena_used = 0;
	}
	return outbound->carried;
}

void outbound_renew(struct outbound *outbound, int path_mtu_socket)
{
	path_mtu_cache_init(&outbound->path_mtu, path_mtu_socket);
	udp_sender_renew(&outbound->sender);
}
