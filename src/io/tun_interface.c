/* The tunnel interface; see tun_interface.h for the theory of operation. */
#include "io/tun_interface.h"

#include "base/log.h"
#include "link/link.h"
#include "packet/headers.h"
#include "packet/vnet_header.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int open_device(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV)
		log_error("/dev/net/tun is not there: load the tun module (modprobe tun), or give "
			  "the container the device");
	else
		log_error("cannot open /dev/net/tun: %s; run as root or with CAP_NET_ADMIN",
			  strerror(errno));
	return -1;
}

/* Says why an interface that exists cannot be taken over; true when it can. */
static bool may_take_over(const char *name, const struct link_tun *tun)
{
	if (!tun->is_tun) {
		log_error("interface %s exists and is no tun device: choose another name for "
			  "--interface",
			  name);
		return false;
	}
	if (!tun->is_layer_3) {
		log_error("interface %s exists and is a tap device: delete it, or make it with "
			  "'ip tuntap add dev %s mode tun multi_queue'",
			  name, name);
		return false;
	}
	if (!tun->is_multi_queue) {
		log_error("interface %s exists without multi_queue: delete it, or make it with "
			  "'ip tuntap add dev %s mode tun multi_queue'",
			  name, name);
		return false;
	}
	if (tun->queues > 0) {
		log_error("interface %s is in use by another process: stop that one, or choose "
			  "another name for --interface",
			  name);
		return false;
	}
	return true;
}

static bool attach_queue(struct tun_interface *tun, short flags)
{
	struct ifreq request = {.ifr_flags = flags};
	int fd = open_device();

	if (fd < 0)
		return false;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", tun->name);
	if (ioctl(fd, TUNSETIFF, &request) == 0) {
		tun->queues[tun->queue_count++] = fd;
		return true;
	}
	if (errno == EPERM)
		log_error("no permission to use tunnel interface %s: run as root or with "
			  "CAP_NET_ADMIN",
			  tun->name);
	else if (errno == EBUSY)
		log_error("tunnel interface %s is in use by another process", tun->name);
	else
		log_error("cannot attach a queue to tunnel interface %s: %s", tun->name,
			  strerror(errno));
	close(fd);
	return false;
}

/* Between the look at a free interface and the first queue, another process may have come. */
static bool is_only_holder(const struct tun_interface *tun)
{
	struct link_state state;

	if (link_read(tun->name, &state) < 0 || state.tun.queues <= 1)
		return true;
	log_error("interface %s is in use by another process", tun->name);
	return false;
}

static short queue_flags(int fd, bool offload)
{
	unsigned features = 0;
	short flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE;

	if (offload && ioctl(fd, TUNGETFEATURES, &features) == 0 && (features & IFF_VNET_HDR))
		flags |= IFF_VNET_HDR;
	return flags;
}

/* Asks for as much as the kernel gives. Everything is set, also to nothing: a persistent interface
 * may still have what its last user asked for. */
static bool negotiate_offload(struct tun_interface *tun)
{
	static const unsigned wishes[] = {
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN,
		TUN_F_CSUM | TUN_F_TSO4,
		TUN_F_CSUM,
		0,
	};
	size_t wish = tun->has_vnet_header ? 0 : 3;
	int header_size = VNET_HEADER_SIZE;

	if (tun->has_vnet_header && ioctl(tun->queues[0], TUNSETVNETHDRSZ, &header_size) < 0) {
		log_error("cannot set the offload header of tunnel interface %s: %s; try --offload "
			  "off",
			  tun->name, strerror(errno));
		return false;
	}

	while (wish < 3 && ioctl(tun->queues[0], TUNSETOFFLOAD, wishes[wish]) < 0)
		wish++;
	if (wish == 3)
		(void)ioctl(tun->queues[0], TUNSETOFFLOAD, 0);
	if (tun->has_vnet_header && wish > 0)
		log_info("the kernel gives tunnel interface %s no %s offload: slower, not less",
			 tun->name, wish > 1 ? "segmentation" : "ECN segmentation");
	return true;
}

static bool open_first_queue(struct tun_interface *tun, bool offload, bool exists)
{
	int probe = open_device();
	short flags;

	if (probe < 0)
		return false;
	flags = queue_flags(probe, offload);
	close(probe);
	tun->has_vnet_header = (flags & IFF_VNET_HDR) != 0;
	if (!attach_queue(tun, exists ? flags : (short)(flags | (short)IFF_TUN_EXCL)))
		return false;
	tun->is_made = !exists;
	if (!exists || is_only_holder(tun))
		return true;
	/* only the queue: offloads and steering are the other process's now */
	close(tun->queues[--tun->queue_count]);
	return false;
}

static bool open_other_queues(struct tun_interface *tun, size_t queues)
{
	short flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE;
	int error;

	if (queues == 1)
		return true;
	error = tun_steering_attach(tun->queues[0]);
	if (error < 0) {
		log_warning("flows cannot be steered to queues (%s; CAP_BPF may be missing): one "
			    "queue and one worker",
			    strerror(-error));
		return true;
	}
	if (tun->has_vnet_header)
		flags |= IFF_VNET_HDR;
	while (tun->queue_count < queues) {
		if (!attach_queue(tun, flags))
			return false;
	}
	return true;
}

bool tun_interface_open(struct tun_interface *tun, const char *name, size_t queues, bool offload)
{
	struct link_state state;
	int error;

	memset(tun, 0, sizeof(*tun));
	snprintf(tun->name, sizeof(tun->name), "%s", name);
	error = link_read(name, &state);
	if (error < 0) {
		log_error("cannot read interface %s: %s", name, strerror(-error));
		return false;
	}
	if (state.index != 0 && !may_take_over(name, &state.tun))
		return false;
	if (!open_first_queue(tun, offload, state.index != 0) || !open_other_queues(tun, queues) ||
	    !negotiate_offload(tun)) {
		tun_interface_close(tun);
		return false;
	}
	if (link_read(name, &state) < 0 || state.index == 0) {
		log_error("tunnel interface %s vanished while it was being set up", name);
		tun_interface_close(tun);
		return false;
	}
	tun->index = state.index;
	return true;
}

void tun_interface_close(struct tun_interface *tun)
{
	if (tun->queue_count > 0 && !tun->is_made) {
		tun_steering_detach(tun->queues[0]);
		(void)ioctl(tun->queues[0], TUNSETOFFLOAD, 0);
	}
	while (tun->queue_count > 0)
		close(tun->queues[--tun->queue_count]);
}

void tun_interface_drain(const struct tun_interface *tun)
{
	static uint8_t thrown_away[VNET_HEADER_SIZE + IPV4_MAX_TOTAL_LENGTH];
	enum { AT_MOST = 100000 }; /* of each queue, however fast they come */

	for (size_t i = 0; i < tun->queue_count; i++) {
		for (int n = 0; n < AT_MOST; n++) {
			if (tun_read(tun->queues[i], thrown_away, sizeof(thrown_away)) < 0)
				break;
		}
	}
}

ssize_t tun_read(int queue, void *buffer, size_t size)
{
	ssize_t length = read(queue, buffer, size);

	return length < 0 ? -errno : length;
}

int tun_write(int queue, const struct iovec *iov, size_t count)
{
	return writev(queue, iov, (int)count) < 0 ? -errno : 0;
}
