/*
 * Receiving: batches of UDP messages (recvmmsg), each of which may hold several datagrams of one
 * size from one peer (UDP_GRO).
 *
 * Theory of operation. A message needs a buffer for 64 KiB, but many are small. All buffers
 * together are more than a processor's cache holds, so how many are offered follows from what the
 * last batch brought: few for bulk data, whose bytes are then still in the cache when they are
 * written to the tunnel interface, many for small messages, where the cost of a call matters.
 */
#ifndef UDP_ENCAP_TUN_UDP_RECEIVER_H
#define UDP_ENCAP_TUN_UDP_RECEIVER_H

#include "base/socket_address.h"

enum {
	RECEIVE_MAX_MESSAGES = 64,
	RECEIVE_CONTROL_SIZE = 128,
};

/** One received message. */
struct received_message {
	struct transport_address from; /* port 0: nobody that could be answered (RFC 768) */
	struct ip_address own_address; /* of this host, that it was sent to; all zero: unknown */
	const uint8_t *payload;        /* valid until the next udp_receive() */
	size_t length;                 /* bytes */
	size_t datagram_size; /* UDP payload of each datagram but the last, bytes; at least 1 */
	uint8_t tos;
	bool is_truncated;
};

struct udp_receiver {
	uint8_t *buffers;
	unsigned offered; /* messages asked for next time */
	struct mmsghdr headers[RECEIVE_MAX_MESSAGES];
	struct iovec iov[RECEIVE_MAX_MESSAGES];
	struct socket_address names[RECEIVE_MAX_MESSAGES];
	_Alignas(struct cmsghdr) uint8_t control[RECEIVE_MAX_MESSAGES][RECEIVE_CONTROL_SIZE];
};

/** Prepares a receiver; false when there is no memory. Main thread. */
bool udp_receiver_init(struct udp_receiver *receiver);

/** Frees a receiver's memory. */
void udp_receiver_free(struct udp_receiver *receiver);

/**
 * Receives a batch without waiting. Worker.
 * Returns the number of messages or a negative errno (-EAGAIN: nothing there).
 */
int udp_receive(struct udp_receiver *receiver, int fd);

/** Describes message `index` of the batch. Worker. */
void udp_received_message(const struct udp_receiver *receiver, size_t index,
			  struct received_message *message);

#endif
