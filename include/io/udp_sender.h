/*
 * Sending: batches of UDP messages (sendmmsg), each of which the kernel may have to cut into
 * datagrams (UDP_SEGMENT).
 *
 * Theory of operation. A send call stops at the first message that fails; only that message is
 * dealt with, and sending goes on behind it. A message of several datagrams that fails is tried
 * again with one datagram at a time; when that works several times in a row, it is the offload that
 * does not work here (a device without checksum offload, an old kernel), and it is given up. A
 * source address that the interface has lost is left to the kernel's choice. A full socket is no
 * failure: what is unsent stays in the batch.
 */
#ifndef UDP_ENCAP_TUN_UDP_SENDER_H
#define UDP_ENCAP_TUN_UDP_SENDER_H

#include "packet/encapsulate.h"

#include <netinet/in.h>
#include <sys/socket.h>

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
	uint64_t gso_fallbacks;
};

struct udp_sender {
	bool has_given_up_gso;
	int gso_error;         /* errno of the message that made it do so */
	unsigned gso_failures; /* in a row, of messages whose segments went out singly */
	size_t next_message;   /* of the batch; those before it are done with */
	bool is_split;         /* the next message goes out singly */
	int split_error;       /* errno that it failed with as a whole, 0: none */
	struct mmsghdr headers[SEND_MAX_MESSAGES];
	struct sockaddr_in names[SEND_MAX_MESSAGES];
	_Alignas(struct cmsghdr) uint8_t control[SEND_MAX_MESSAGES][SEND_CONTROL_SIZE];
};

enum send_outcome {
	SEND_IS_DONE,    /* the whole batch; it can be cleared */
	SEND_IS_BLOCKED, /* the socket is full: call again when it is writable */
	SEND_HAS_FAILED, /* see struct send_failure; call again for the rest */
};

/** Segments that were not sent and never will be. */
struct send_failure {
	struct transport_address destination;
	size_t first_segment; /* of the batch */
	size_t segments;
	size_t segment_size; /* UDP payload of each but perhaps the last, bytes */
	int error;           /* errno */
};

/** Prepares a sender for a new socket. */
void udp_sender_init(struct udp_sender *sender);

/** Tells the sender that the batch was cleared. */
void udp_sender_restart(struct udp_sender *sender);

/**
 * Sends what is left of a batch, without waiting. Worker.
 * @totals: added to
 * @failure: filled when SEND_HAS_FAILED is returned
 */
enum send_outcome udp_send(struct udp_sender *sender, int fd, struct outbound_batch *batch,
			   struct send_totals *totals, struct send_failure *failure);

#endif
