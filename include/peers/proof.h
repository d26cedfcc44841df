/*
 * Proof: whether the peer of a provisional entry has shown that it receives what is sent to it
 * (rule R7). For the open server.
 *
 * Theory of operation. A segment's end, the sequence number behind its data, SYN and FIN counted,
 * is acknowledged only by who was told of it: each TCP begins at a number that nobody can guess.
 * So the end of one segment that went to the entry's peer is remembered, the first one at once, and
 * another in its place once a second at most, or when the first was an answer to an opening and the
 * other is none; and who acknowledges exactly that is proven. It costs nobody a datagram, and each
 * TCP does it. Pure acknowledgments count as segments: what they end at stands in everything that a
 * peer sends who was sent nothing else. A RST does not: its number is the one that it refuses,
 * which whoever is refused knows. What comes in as SYN-ACK or RST answers nothing but a SYN.
 *
 * The end and what it was of are two words. Who sees one of them without the other compares with
 * the end of another segment that was sent: no less a proof.
 *
 * What else was sent decides who goes first when others need room, and whether the address needs a
 * quarantine: after SYN-ACK and RST alone, no server's socket goes on talking to it.
 */
#ifndef UDP_ENCAP_TUN_PROOF_H
#define UDP_ENCAP_TUN_PROOF_H

#include "peers/peers.h"

/**
 * Remembers what is sent to a provisional entry's peer. Worker, under RCU.
 * @tcp_flags: of the segment, or of all of a packet's
 * @end: the sequence number behind it, host byte order
 * @now: monotonic seconds
 */
void peers_note_sent(struct peer_entry *entry, uint8_t tcp_flags, uint32_t end, uint32_t now);

/**
 * Looks at a segment of a provisional entry's peer, which may prove it. Worker, under RCU.
 * @acknowledgment: host byte order
 * Returns whether it did.
 */
bool peers_note_heard(struct peers *peers, struct peer_entry *entry, uint8_t tcp_flags,
		      uint32_t acknowledgment);

#endif
