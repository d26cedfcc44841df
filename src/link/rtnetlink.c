/* Requests to rtnetlink, each on a socket of its own: they are rare, and none can disturb another.
 */
#include "link/rtnetlink.h"

#include <errno.h>

static int receive_answer(struct mnl_socket *netlink, unsigned sequence, mnl_cb_t callback,
			  void *argument)
{
	char answer[32768]; /* the kernel builds dumps of up to 32 KiB */
	unsigned port = mnl_socket_get_portid(netlink);
	int left;

	do {
		ssize_t length = mnl_socket_recvfrom(netlink, answer, sizeof(answer));

		if (length < 0)
			return -errno;
		left = mnl_cb_run(answer, (size_t)length, sequence, port, callback, argument);
		if (left < 0)
			return -errno;
	} while (left > MNL_CB_STOP);
	return 0;
}

int rtnetlink_talk(struct nlmsghdr *request, mnl_cb_t callback, void *argument)
{
	struct mnl_socket *netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int result = 0;

	if (netlink == NULL)
		return -errno;
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = 1;
	if (mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(netlink, request, request->nlmsg_len) < 0)
		result = -errno;
	else
		result = receive_answer(netlink, request->nlmsg_seq, callback, argument);
	mnl_socket_close(netlink);
	return result;
}
