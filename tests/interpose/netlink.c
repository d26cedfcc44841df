/*
 * Makes requests to rtnetlink fail while the file $NETLINK_FAULT is there. It holds one word:
 *   sendto       no request can be sent (ENOMEM)
 *   newlink      none to change an interface (ENOMEM)
 *   newroute     none to add a route (ENOMEM)
 *   recvmsg      each answer is lost (ENOBUFS)
 *   interrupted  what is listed changes while it is listed (NLM_F_DUMP_INTR)
 *   overrun      the kernel had to leave something out (NLMSG_OVERRUN)
 *   silence      no answer ever comes
 * Word of changes, which the program reads by recv(), still comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_rtnetlink(int fd)
{
	int domain, protocol;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK &&
	       getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
	       protocol == NETLINK_ROUTE;
}

/* Whether this is what has to fail now. */
static bool is_fault(int fd, const char *fault)
{
	const char *path = getenv("NETLINK_FAULT");
	char now[16] = "";
	int saved = errno;
	int file = -1;

	if (path != NULL && is_rtnetlink(fd))
		file = open(path, O_RDONLY | O_CLOEXEC);
	if (file >= 0) {
		if (read(file, now, sizeof(now) - 1) < 0)
			abort();
		close(file);
	}
	errno = saved;
	return strcmp(now, fault) == 0;
}

/* Which fault keeps a request from being sent, beside that which keeps all. */
static const char *fault_of(const struct nlmsghdr *request)
{
	switch (request->nlmsg_type) {
	case RTM_NEWLINK:
		return "newlink";
	case RTM_NEWROUTE:
		return "newroute";
	default:
		return "sendto";
	}
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, __CONST_SOCKADDR_ARG address,
	       socklen_t length)
{
	if (is_fault(fd, "sendto") || (is_rtnetlink(fd) && is_fault(fd, fault_of(data)))) {
		errno = ENOMEM;
		return -1;
	}
	return syscall(SYS_sendto, fd, data, size, flags, address.__sockaddr__, length);
}

/* What libmnl hands over has one part, and the answer begins with a whole header. */
static void spoil(int fd, const struct msghdr *message)
{
	struct nlmsghdr *header = message->msg_iov->iov_base;

	if (is_fault(fd, "interrupted") && (header->nlmsg_flags & NLM_F_MULTI))
		header->nlmsg_flags |= NLM_F_DUMP_INTR;
	if (is_fault(fd, "overrun"))
		header->nlmsg_type = NLMSG_OVERRUN;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t length;

	if (is_fault(fd, "recvmsg")) {
		errno = ENOBUFS;
		return -1;
	}
	do
		length = syscall(SYS_recvmsg, fd, message, flags);
	while (length >= 0 && is_fault(fd, "silence"));
	if (length > 0)
		spoil(fd, message);
	return length;
}
