/*
 * Sending: batches of UDP messages (sendmmsg), each of which the kernel may have to cut into
 * datagrams (UDP_SEGMENT).
 *
 * Theory of operation. A send call stops at the first message that fails; only that message is
 * dealt with, and sending goes on behind it.
 *
 * Segmentation. A message of several datagrams that fails is tried again with one datagram at a
 * time. When that works, it is the offload that does not work towards that destination: the caller
 * is told, who remembers it with the peer; what is in the batch already follows. Whether the
 * offload is in use (segmentation.h) is known here alone, and whoever fills a batch asks.
 *
 * Fragmentation. Datagrams carry DF, unless their route says that they may be fragmented. For those
 * the socket is set to it (IP_PMTUDISC_OMIT) around the calls that send them, in the order of the
 * batch, so a flow's segments keep theirs. They leave whole, whatever small MTU the path is claimed
 * to have: only a router that cannot pass one on cuts it. Were they cut here (IP_PMTUDISC_DONT),
 * one forged claim would send fragments to firewalls that drop them. The socket is the worker's
 * own; another thread that sends through a duplicate in that moment sends keepalives, which are
 * shorter than any path. Of what the path is too small for the caller is told and says what becomes
 * of it.
 *
 * What has a source that is no address of this host is sent from no other one: it fails. A full
 * socket is no failure: what is unsent stays in the batch.
 */
#ifndef UDP_ENCAP_TUN_UDP_SENDER_H
#define UDP_ENCAP_TUN_UDP_SENDER_H

#include "base/socket_address.h"
#include "io/segmentation.h"
#include "packet/batch.h"

enum {
	SEND_MAX_MESSAGES = 64,
	SEND_CONTROL_SIZE = CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int)) +
			    CMSG_SPACE(sizeof(struct in_pktinfo)),
};

/** What was sent. */
struct send_totals {
	uint64_t calls;
	uint64_t messages;
	uint64_t gso_messages;
	uint64_t segments;
	uint64_t bytes;
	uint64_t fragmentable; /* segments */
	uint64_t gso_fallbacks;
	int gso_given_up; /* errno that made the sender give segmentation up for the device, 0: it
			     did not, or does so all the time */
};

struct udp_sender {
	bool may_segment; /* as udp_sender_init() was told */
	struct segmentation gso;
	uint32_t now;           /* monotonic seconds */
	size_t next_message;    /* of the batch; those before it are done with */
	bool is_split;          /* the next message goes out singly */
	int split_error;        /* errno that it failed with as a whole, 0: none */
	size_t failed_segments; /* of the next message: they are left out */
	bool lets_fragment;     /* what the socket is set to */
	struct mmsghdr headers[SEND_MAX_MESSAGES];
	struct socket_address names[SEND_MAX_MESSAGES];
	_Alignas(struct cmsghdr) uint8_t control[SEND_MAX_MESSAGES][SEND_CONTROL_SIZE];
};

enum send_outcome {
	SEND_IS_DONE,    /* the whole batch; it can be cleared */
	SEND_IS_BLOCKED, /* the socket is full: call again when it is writable */
	SEND_HAS_FAILED, /* see struct send_failure; call again for the rest */
	/* A message's segments went out singly, not as a whole: see destination, source and
	 * error in struct send_failure; call again for the rest. */
	SEND_HAS_FALLEN_BACK,
};

/** Segments that were not sent, and never will be unless udp_sender_fragment() says so. */
struct send_failure {
	struct transport_address destination;
	struct ip_address source; /* all zero: the kernel chose */
	bool may_fragment;
	size_t first_segment; /* of the batch */
	size_t segments;
	size_t segment_size; /* UDP payload of each but perhaps the last, bytes */
	int error;           /* errno; EADDRNOTAVAIL: the route's source is not this host's */
};

/**
 * Prepares a sender.
 * @may_segment: false: messages have one segment each, for good (UDP_SEGMENT is never used)
 */
void udp_sender_init(struct udp_sender *sender, bool may_segment);

/** Gives what was given up another chance: the socket is a new one, perhaps on another device. */
void udp_sender_renew(struct udp_sender *sender);

/**
 * How many segments a message may have now: what a batch that is cleared has to know. 1: none are
 * put together. A batch that was begun before this changed is sent all the same.
 */
static inline size_t udp_sender_message_segments(const struct udp_sender *sender)
{
	return sender->may_segment && !sender->gso.is_given_up ? MESSAGE_MAX_SEGMENTS : 1;
}

/** Tells the sender that the batch was cleared. */
void udp_sender_restart(struct udp_sender *sender);

/**
 * Sends what is left of a batch, without waiting. Worker.
 * @now: monotonic seconds
 * @totals: added to
 * @failure: filled when SEND_HAS_FAILED or SEND_HAS_FALLEN_BACK is returned
 */
enum send_outcome udp_send(struct udp_sender *sender, int fd, struct outbound_batch *batch,
			   uint32_t now, struct send_totals *totals, struct send_failure *failure);

/**
 * After SEND_HAS_FAILED: the segments are sent all the same, so that they may be fragmented on the
 * way. Worker, before the next udp_send().
 */
void udp_sender_fragment(struct udp_sender *sender, struct outbound_batch *batch);

/**
 * Sends one datagram by itself, without waiting. Any thread.
 * @route: its source and TOS are kept as in a batch; whether it carries DF is the socket's matter
 * Returns 0 or a negative errno (-EAGAIN: the socket is full).
 */
int udp_send_datagram(int fd, const struct datagram_route *route, const void *payload,
		      size_t length);

#endif
