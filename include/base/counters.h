/*
 * Counters: what passed, and one for each reason to discard.
 *
 * Theory of operation. Every thread that counts has a block of its own and is the only one that
 * writes it; readers add the blocks up. A relaxed load and store is then enough, which costs no
 * more than a plain addition, and a reader sees every counter at some recent moment, not all at the
 * same.
 */
#ifndef UDP_ENCAP_TUN_COUNTERS_H
#define UDP_ENCAP_TUN_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* name, and what it counts; "in" is UDP to tunnel interface, "out" the other way */
#define COUNTER_LIST(X)                                                                            \
	X(in_calls, "receive calls that brought something")                                        \
	X(in_messages, "messages received; one message may hold several datagrams")                \
	X(in_gro_messages, "messages that held several datagrams (UDP_GRO)")                       \
	X(in_segments, "TCP segments received")                                                    \
	X(in_bytes, "UDP payload bytes of those segments")                                         \
	X(in_packets, "packets written to the tunnel interface")                                   \
	X(in_super_packets, "of these, packets coalesced of several segments")                     \
	X(in_keepalives, "keepalives received")                                                    \
	X(out_packets, "TCP packets read from the tunnel interface")                               \
	X(out_super_packets, "of these, packets cut into several segments")                        \
	X(out_segments, "TCP segments sent")                                                       \
	X(out_bytes, "UDP payload bytes of those segments")                                        \
	X(out_messages, "messages sent; one message may hold several datagrams")                   \
	X(out_gso_messages, "messages that held several datagrams (UDP_SEGMENT)")                  \
	X(out_calls, "send calls")                                                                 \
	X(keepalives_sent, "keepalives sent")                                                      \
	X(connections_made, "entries made in connection_store")                                    \
	X(connections_expired, "entries that nothing was heard of for too long")                   \
	X(connections_refused, "datagrams or packets for which there was no room for an entry")    \
	X(connections_crowded_out, "entries of peers that showed nothing, forgotten to make room") \
	X(connections_dropped, "entries outside the tunnel interface's new subnet")                \
	X(connections_displaced, "entries whose tunnel address this machine took")                 \
	X(quarantine_cut_short, "tunnel addresses given to another peer before their time")        \
	X(backpressure_udp, "times that the UDP socket was full")                                  \
	X(backpressure_tun, "times that the tunnel interface was full")                            \
	X(in_socket_drops, "messages that a UDP socket's receive buffer had no room for")          \
	X(out_queue_drops, "packets that the tunnel interface's queue had no room for")            \
	X(out_ce_marked, "super-packets marked (ECN) to shorten a queue that stands")              \
	X(out_fragmentable, "segments sent so that they may be fragmented")                        \
	X(gso_fallbacks, "messages whose segments had to go out singly")                           \
	X(tun_fallbacks, "super-packets whose segments had to be written singly")                  \
	X(icmp_sent, "ICMP errors sent to inner senders")                                          \
	X(icmp_suppressed, "ICMP errors not sent: rate limit")                                     \
	X(log_lines_lost, "log lines that did not fit where they go")                              \
	X(discard_in_malformed, "datagrams that are neither TCP, keepalive nor control")           \
	X(discard_in_control, "control datagrams: none is known yet")                              \
	X(discard_in_control_overflow, "control datagrams faster than they could be looked at")    \
	X(discard_in_no_address, "the tunnel interface has no IPv4 address")                       \
	X(discard_in_refused, "peer without an entry, and no room for one")                        \
	X(discard_in_unsolicited, "neither answered nor sent to lately (--solicited-only)")        \
	X(discard_in_truncated, "datagrams longer than the receive buffer")                        \
	X(discard_in_tunnel_down, "the tunnel interface is down")                                  \
	X(discard_in_write_error, "the tunnel interface refused the packet")                       \
	X(discard_out_not_ipv4, "packets that are not IPv4")                                       \
	X(discard_out_not_tcp, "packets that are not TCP")                                         \
	X(discard_out_ip_options, "IPv4 headers longer than 20 bytes")                             \
	X(discard_out_fragment, "IPv4 fragments")                                                  \
	X(discard_out_length, "inconsistent lengths")                                              \
	X(discard_out_malformed_tcp, "TCP headers that contradict the packet's length")            \
	X(discard_out_bad_checksum, "packets that were damaged before they came here")             \
	X(discard_out_foreign_source, "packets whose source is not the tunnel's address")          \
	X(discard_out_no_address, "the tunnel interface has no IPv4 address")                      \
	X(discard_out_not_remembered, "no room for the destination's entry (--solicited-only)")    \
	X(discard_out_unknown_destination, "tunnel addresses that belong to no peer")              \
	X(discard_out_too_big, "segments larger than the path or --mtu allows")                    \
	X(discard_out_standing_queue, "segments dropped to shorten a queue that stands")           \
	X(discard_out_unreachable, "no route, no neighbour, or the device is down or gone")        \
	X(discard_out_no_source, "no address to send from")                                        \
	X(discard_out_refused_locally, "refused by the local firewall")                            \
	X(discard_out_send_error, "other errors of the send call")

enum counter {
#define COUNTER_ENUM(name, meaning) COUNTER_##name,
	COUNTER_LIST(COUNTER_ENUM)
#undef COUNTER_ENUM
		COUNTER_COUNT
};

/** One thread's counters. */
struct counters {
	_Alignas(64) _Atomic uint64_t values[COUNTER_COUNT];
};

/** Adds to a counter. Only the thread that owns the block. */
static inline void counter_add(struct counters *counters, enum counter counter, uint64_t amount)
{
	_Atomic uint64_t *value = &counters->values[counter];

	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + amount,
			      memory_order_relaxed);
}

/** A counter's value in one block. Any thread. */
static inline uint64_t counter_read(const struct counters *counters, enum counter counter)
{
	return atomic_load_explicit(&counters->values[counter], memory_order_relaxed);
}

/** A counter's name, as it is printed. */
const char *counter_name(enum counter counter);

/** What a counter counts, in a few words. */
const char *counter_meaning(enum counter counter);

#endif
