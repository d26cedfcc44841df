/*
 * A tunnel interface that refuses what others take. The environment says what, in words:
 *
 *     TUN_REFUSE=coalesced            packets of several segments: EINVAL
 *     TUN_REFUSE=prepared             packets whose checksum the kernel has to complete: EINVAL
 *     TUN_REFUSE=full                 every other packet of one segment: EAGAIN
 *     TUN_REFUSE_WHILE=PATH           only while there is such a file
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

static bool is_asked_for(const char *word)
{
	const char *words = getenv("TUN_REFUSE");
	const char *path = getenv("TUN_REFUSE_WHILE");

	return words != NULL && strstr(words, word) != NULL &&
	       (path == NULL || access(path, F_OK) == 0);
}

static bool is_queue(int fd)
{
	struct ifreq request;

	return ioctl(fd, TUNGETIFF, &request) == 0;
}

/* What the packet is refused with, 0: it is not. */
static int refusal(const struct virtio_net_hdr *header)
{
	static __thread unsigned singles;

	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return is_asked_for("coalesced") ? EINVAL : 0;
	if (is_asked_for("full") && singles++ % 2 == 0)
		return EAGAIN;
	if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && is_asked_for("prepared"))
		return EINVAL;
	return 0;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	static ssize_t (*real_writev)(int, const struct iovec *, int);
	struct virtio_net_hdr header;
	void *found;

	if (real_writev == NULL) {
		found = dlsym(RTLD_NEXT, "writev");
		memcpy(&real_writev, &found, sizeof(found));
	}
	if (count > 0 && iov[0].iov_len > sizeof(header) && is_queue(fd)) {
		memcpy(&header, iov[0].iov_base, sizeof(header));
		errno = refusal(&header);
		if (errno != 0)
			return -1;
	}
	return real_writev(fd, iov, count);
}
