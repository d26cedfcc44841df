/*
 * socket() of AF_NETLINK fails with ENOBUFS, a passing want of memory, while the file that
 * $INTERPOSE_NETLINK_SOCKETS names is there.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int socket(int family, int type, int protocol)
{
	static int (*real)(int, int, int);
	const char *file = getenv("INTERPOSE_NETLINK_SOCKETS");

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "socket");
	if (family == AF_NETLINK && file != NULL && access(file, F_OK) == 0) {
		errno = ENOBUFS;
		return -1;
	}
	return real(family, type, protocol);
}
