/*
 * Makes sendmmsg() fail with EIO, as on a device without checksum offload, for messages that the
 * kernel would have to cut into datagrams (UDP_SEGMENT) and that go to certain destinations: those
 * that stand in the file $REFUSE_SEGMENTATION_TO, one ADDRESS:PORT on a line. Without the file
 * everything is sent.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef int send_function(int fd, struct mmsghdr *messages, unsigned count, int flags);

static bool is_to_be_cut(struct msghdr *message)
{
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL;
	     control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_SEGMENT)
			return true;
	}
	return false;
}

static bool is_listed(const struct sockaddr_in *name)
{
	const char *path = getenv("REFUSE_SEGMENTATION_TO");
	FILE *file = path != NULL ? fopen(path, "re") : NULL;
	char address[INET_ADDRSTRLEN], wanted[64], line[64];
	bool found = false;

	if (file == NULL)
		return false;
	inet_ntop(AF_INET, &name->sin_addr, address, sizeof(address));
	snprintf(wanted, sizeof(wanted), "%s:%u\n", address, ntohs(name->sin_port));
	while (!found && fgets(line, sizeof(line), file) != NULL)
		found = strcmp(line, wanted) == 0;
	fclose(file);
	return found;
}

/* The kernel stops at the first message that fails, and tells of it when none went before. */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	static send_function *real;
	unsigned good = 0;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "sendmmsg");
	while (good < count && !(is_to_be_cut(&messages[good].msg_hdr) &&
				 is_listed(messages[good].msg_hdr.msg_name)))
		good++;
	if (good > 0 || count == 0)
		return real(fd, messages, good, flags);
	errno = EIO;
	return -1;
}
