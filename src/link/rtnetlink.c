/* Requests to rtnetlink: most on a socket of their own, for they are rare, and none can disturb
 * another. */
#include "link/rtnetlink.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/time.h>

/* The kernel has its answer ready when the request is sent: one that is not there was lost. */
enum { ANSWER_MICROSECONDS = 250000 };

/* The kernel may say that it had to leave something out, of which libmnl makes nothing. */
static bool is_overrun(const void *answer, int length)
{
	const struct nlmsghdr *message = answer;

	for (; mnl_nlmsg_ok(message, length); message = mnl_nlmsg_next(message, &length)) {
		if (message->nlmsg_type == NLMSG_OVERRUN)
			return true;
	}
	return false;
}

/* A signal such as SIGCONT is no reason to lose the answer. */
static ssize_t receive(struct mnl_socket *netlink, void *answer, size_t size)
{
	ssize_t length;

	do
		length = mnl_socket_recvfrom(netlink, answer, size);
	while (length < 0 && errno == EINTR);
	return length;
}

static int receive_answer(struct mnl_socket *netlink, unsigned sequence, mnl_cb_t callback,
			  void *argument)
{
	char answer[32768]; /* the kernel builds dumps of up to 32 KiB */
	unsigned port = mnl_socket_get_portid(netlink);
	int left;

	do {
		/* a message that does not fit is ENOSPC, one that got lost ENOBUFS */
		ssize_t length = receive(netlink, answer, sizeof(answer));

		if (length < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (is_overrun(answer, (int)length))
			return -EOVERFLOW;
		/* EINTR for a dump during which something changed (NLM_F_DUMP_INTR) */
		left = mnl_cb_run(answer, (size_t)length, sequence, port, callback, argument);
		if (left < 0)
			return -errno;
	} while (left > MNL_CB_STOP);
	return 0;
}

struct mnl_socket *rtnetlink_open(void)
{
	const struct timeval patience = {.tv_usec = ANSWER_MICROSECONDS};
	struct mnl_socket *netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int error;

	if (netlink == NULL)
		return NULL;
	if (setsockopt(mnl_socket_get_fd(netlink), SOL_SOCKET, SO_RCVTIMEO, &patience,
		       sizeof(patience)) == 0 &&
	    mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) == 0)
		return netlink;
	error = errno;
	mnl_socket_close(netlink);
	errno = error;
	return NULL;
}

int rtnetlink_ask(struct mnl_socket *netlink, struct nlmsghdr *request, mnl_cb_t callback,
		  void *argument)
{
	/* of all sockets together: an answer that comes too late answers no other request */
	static unsigned sequence;

	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = ++sequence;
	if (mnl_socket_sendto(netlink, request, request->nlmsg_len) < 0)
		return -errno;
	return receive_answer(netlink, request->nlmsg_seq, callback, argument);
}

int rtnetlink_talk(struct nlmsghdr *request, mnl_cb_t callback, void *argument)
{
	struct mnl_socket *netlink = rtnetlink_open();
	int result;

	if (netlink == NULL)
		return -errno;
	result = rtnetlink_ask(netlink, request, callback, argument);
	mnl_socket_close(netlink);
	return result;
}
