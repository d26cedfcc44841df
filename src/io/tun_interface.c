/* The tunnel interface; see tun_interface.h for the theory of operation. */
#include "io/tun_interface.h"

#include "link/link.h"
#include "packet/headers.h"
#include "packet/vnet_header.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool fail(struct tun_failure *failure, enum tun_obstacle obstacle, int error)
{
	failure->obstacle = obstacle;
	failure->error = error;
	return false;
}

static int open_device(struct tun_failure *failure)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		(void)fail(failure,
			   errno == ENOENT || errno == ENODEV ? TUN_HAS_NO_DEVICE
							      : TUN_DEVICE_IS_CLOSED,
			   errno);
	return fd;
}

/*
 * Whether some process uses it. One that is not persistent is there only as long as a process holds
 * it. The kernel tells of queues only of one that is multi-queue; there, one that is detached keeps
 * the carrier up (systemd-networkd's KeepCarrier=) and takes no packet. Of another one the carrier
 * says that it has its queue.
 */
static bool is_in_use(const struct link_state *state)
{
	const struct link_tun *tun = &state->tun;

	if (!tun->is_persistent)
		return true;
	return tun->is_multi_queue ? tun->queues > 0 : state->has_carrier;
}

/* Whether an interface that exists can be taken over. That nobody uses it is the first question,
 * for what is said about any other obstacle is how to replace it. */
static bool may_take_over(const struct link_state *state, struct tun_failure *failure)
{
	const struct link_tun *tun = &state->tun;

	if (!tun->is_tun)
		return fail(failure, TUN_IS_ANOTHER_KIND, 0);
	if (is_in_use(state))
		return fail(failure, TUN_IS_IN_USE, 0);
	if (!tun->is_layer_3)
		return fail(failure, TUN_IS_TAP, 0);
	if (!tun->is_multi_queue)
		return fail(failure, TUN_IS_SINGLE_QUEUE, 0);
	return true;
}

static enum tun_obstacle queue_obstacle(int error)
{
	switch (error) {
	case EPERM:
		return TUN_IS_NOT_PERMITTED;
	case EBUSY:
		return TUN_QUEUE_IS_BUSY;
	default:
		return TUN_QUEUE_IS_REFUSED;
	}
}

static bool attach_queue(struct tun_interface *tun, short flags, struct tun_failure *failure)
{
	struct ifreq request = {.ifr_flags = flags};
	int fd = open_device(failure);

	if (fd < 0)
		return false;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", tun->name);
	if (ioctl(fd, TUNSETIFF, &request) == 0) {
		tun->queues[tun->queue_count++] = fd;
		return true;
	}
	(void)fail(failure, queue_obstacle(errno), errno);
	close(fd);
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
static bool negotiate_offload(struct tun_interface *tun, struct tun_failure *failure)
{
	static const struct {
		unsigned features;
		enum tun_offload_gap gap;
	} wishes[] = {
		{TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN, TUN_OFFLOAD_IS_WHOLE},
		{TUN_F_CSUM | TUN_F_TSO4, TUN_OFFLOAD_LACKS_ECN},
		{TUN_F_CSUM, TUN_OFFLOAD_LACKS_SEGMENTATION},
		{0, TUN_OFFLOAD_LACKS_SEGMENTATION},
	};
	enum { NOTHING = sizeof(wishes) / sizeof(wishes[0]) - 1 };
	size_t wish = tun->has_vnet_header ? 0 : NOTHING;
	int header_size = VNET_HEADER_SIZE;

	if (tun->has_vnet_header && ioctl(tun->queues[0], TUNSETVNETHDRSZ, &header_size) < 0)
		return fail(failure, TUN_HEADER_IS_REFUSED, errno);
	while (wish < NOTHING && ioctl(tun->queues[0], TUNSETOFFLOAD, wishes[wish].features) < 0)
		wish++;
	if (wish == NOTHING)
		(void)ioctl(tun->queues[0], TUNSETOFFLOAD, 0);
	if (tun->has_vnet_header)
		tun->offload_gap = wishes[wish].gap;
	return true;
}

/*
 * An interface that existed, once it has a queue of ours. Between the look at it and that queue,
 * another process may have come. Where one holds a queue, a detached one too, the headers are what
 * the interface was made with (Linux drivers/net/tun.c, tun_set_iff()), whatever was asked for.
 * @flags: what was asked for
 */
static bool suits(struct tun_interface *tun, short flags, struct tun_failure *failure)
{
	struct link_state state;
	int error = link_read(tun->name, &state);

	if (error < 0)
		return fail(failure, TUN_CANNOT_BE_READ, -error);
	if (state.tun.queues > 1)
		return fail(failure, TUN_WAS_TAKEN, 0);
	if (state.tun.has_packet_info || (state.tun.has_vnet_header && !(flags & IFF_VNET_HDR)))
		return fail(failure, TUN_HAS_OTHER_HEADERS, 0);
	if (tun->has_vnet_header && !state.tun.has_vnet_header)
		tun->offload_gap = TUN_OFFLOAD_LACKS_HEADER;
	tun->has_vnet_header = state.tun.has_vnet_header;
	return true;
}

static bool open_first_queue(struct tun_interface *tun, bool offload, bool exists,
			     struct tun_failure *failure)
{
	int probe = open_device(failure);
	short flags;

	if (probe < 0)
		return false;
	flags = queue_flags(probe, offload);
	close(probe);
	tun->has_vnet_header = (flags & IFF_VNET_HDR) != 0;
	if (!attach_queue(tun, exists ? flags : (short)(flags | (short)IFF_TUN_EXCL), failure))
		return false;
	tun->is_made = !exists;
	if (!exists || suits(tun, flags, failure))
		return true;
	/* only the queue: offloads and steering are another process's */
	close(tun->queues[--tun->queue_count]);
	return false;
}

static bool open_other_queues(struct tun_interface *tun, size_t queues, struct tun_failure *failure)
{
	short flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE;

	if (queues == 1)
		return true;
	tun->steering_error = -tun_steering_attach(tun->queues[0]);
	if (tun->steering_error != 0)
		return true;
	if (tun->has_vnet_header)
		flags |= IFF_VNET_HDR;
	while (tun->queue_count < queues) {
		if (!attach_queue(tun, flags, failure))
			return false;
	}
	return true;
}

bool tun_interface_open(struct tun_interface *tun, const char *name, size_t queues, bool offload,
			struct tun_failure *failure)
{
	struct link_state state;
	int error;

	memset(tun, 0, sizeof(*tun));
	snprintf(tun->name, sizeof(tun->name), "%s", name);
	error = link_read(name, &state);
	if (error < 0)
		return fail(failure, TUN_CANNOT_BE_READ, -error);
	if (state.ifindex != 0 && !may_take_over(&state, failure))
		return false;
	if (!open_first_queue(tun, offload, state.ifindex != 0, failure) ||
	    !open_other_queues(tun, queues, failure) || !negotiate_offload(tun, failure)) {
		tun_interface_close(tun);
		return false;
	}
	if (link_read(name, &state) < 0 || state.ifindex == 0) {
		tun_interface_close(tun);
		return fail(failure, TUN_HAS_VANISHED, 0);
	}
	tun->ifindex = state.ifindex;
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
