/* Receiving; see udp_receiver.h for the theory of operation. */
#include "io/udp_receiver.h"

#include <errno.h>
#include <netinet/udp.h>
#include <sys/mman.h>

enum {
	RECEIVE_BUFFER_SIZE = 65536, /* the largest datagram, and the kernel's bound for UDP_GRO */
	/* The extra cache lines keep the buffers' beginnings out of each other's cache sets. */
	RECEIVE_BUFFER_STRIDE = RECEIVE_BUFFER_SIZE + 3 * 64,
	RECEIVE_MEMORY = RECEIVE_MAX_MESSAGES * RECEIVE_BUFFER_STRIDE,
	/* Bytes of a batch that are still in the cache when they are written on. */
	RECEIVE_BATCH_BYTES = 256 * 1024,
	RECEIVE_MIN_MESSAGES = 4,
};

bool udp_receiver_init(struct udp_receiver *receiver)
{
	memset(receiver, 0, sizeof(*receiver));
	receiver->buffers = mmap(NULL, RECEIVE_MEMORY, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (receiver->buffers == MAP_FAILED) {
		receiver->buffers = NULL;
		return false;
	}
	receiver->offered = RECEIVE_MIN_MESSAGES;
	for (size_t i = 0; i < RECEIVE_MAX_MESSAGES; i++) {
		receiver->iov[i].iov_base = receiver->buffers + i * RECEIVE_BUFFER_STRIDE;
		receiver->iov[i].iov_len = RECEIVE_BUFFER_SIZE;
		receiver->headers[i].msg_hdr.msg_iov = &receiver->iov[i];
		receiver->headers[i].msg_hdr.msg_iovlen = 1;
		receiver->headers[i].msg_hdr.msg_name = &receiver->names[i];
		receiver->headers[i].msg_hdr.msg_control = receiver->control[i];
	}
	return true;
}

void udp_receiver_free(struct udp_receiver *receiver)
{
	if (receiver->buffers != NULL)
		munmap(receiver->buffers, RECEIVE_MEMORY);
	receiver->buffers = NULL;
}

/* As many messages as the batch's bytes allow at the last batch's mean size, within the bounds. */
static unsigned next_offer(const struct udp_receiver *receiver, unsigned received)
{
	size_t bytes = 1;
	size_t offer;

	for (size_t i = 0; i < received; i++)
		bytes += receiver->headers[i].msg_len;
	offer = (size_t)RECEIVE_BATCH_BYTES * received / bytes;
	if (offer < RECEIVE_MIN_MESSAGES)
		return RECEIVE_MIN_MESSAGES;
	return offer < RECEIVE_MAX_MESSAGES ? (unsigned)offer : RECEIVE_MAX_MESSAGES;
}

int udp_receive(struct udp_receiver *receiver, int fd)
{
	int received;

	for (size_t i = 0; i < receiver->offered; i++) {
		receiver->headers[i].msg_hdr.msg_namelen = sizeof(receiver->names[i]);
		receiver->headers[i].msg_hdr.msg_controllen = sizeof(receiver->control[i]);
	}
	received = recvmmsg(fd, receiver->headers, receiver->offered, MSG_DONTWAIT, NULL);
	if (received < 0)
		return -errno;
	receiver->offered = next_offer(receiver, (unsigned)received);
	return received;
}

static void read_control(const struct cmsghdr *control, struct received_message *message)
{
	struct in_pktinfo info;
	int size;

	if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TOS)
		message->tos = *(const uint8_t *)CMSG_DATA(control);
	if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
		memcpy(&info, CMSG_DATA(control), sizeof(info));
		message->own_address = ip_address_from_ipv4(info.ipi_spec_dst.s_addr);
	}
	if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO) {
		memcpy(&size, CMSG_DATA(control), sizeof(size));
		if (size > 0)
			message->datagram_size = (size_t)size;
	}
}

void udp_received_message(const struct udp_receiver *receiver, size_t index,
			  struct received_message *message)
{
	/* CMSG_NXTHDR wants a header that it could write to */
	struct msghdr header = receiver->headers[index].msg_hdr;
	struct cmsghdr *control;

	if (!socket_address_read(&receiver->names[index], header.msg_namelen, &message->from))
		memset(&message->from, 0, sizeof(message->from));
	memset(&message->own_address, 0, sizeof(message->own_address));
	message->payload = receiver->iov[index].iov_base;
	message->length = receiver->headers[index].msg_len;
	message->datagram_size = message->length > 0 ? message->length : 1;
	message->tos = 0;
	message->is_truncated = (header.msg_flags & MSG_TRUNC) != 0;
	for (control = CMSG_FIRSTHDR(&header); control != NULL;
	     control = CMSG_NXTHDR(&header, control))
		read_control(control, message);
}
