/*
 * The tunnel interface: a multi-queue TUN device, made or taken over, and its queues' I/O.
 *
 * Theory of operation. Every worker has a queue of its own. The kernel picks the queue of a packet
 * by a steering program (tun_steering.c) that depends on addresses and ports alone, so a flow stays
 * on one queue for life; without such a program the tun driver's flow table moves flows between
 * queues, which reorders them, so there is then only one queue. With virtio_net headers the kernel
 * hands over TCP super-packets and takes them back (TUNSETOFFLOAD, Linux drivers/net/tun.c).
 *
 * An interface that exists is taken over if it is persistent, multi-queue and no queue of it takes
 * packets; a network manager may hold a detached one. Whether somebody uses it is found out before
 * anything is said against it, so that no advice is about somebody else's interface.
 */
#ifndef UDP_ENCAP_TUN_TUN_INTERFACE_H
#define UDP_ENCAP_TUN_TUN_INTERFACE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
	TUN_MAX_QUEUES = 256, /* MAX_TAP_QUEUES, Linux include/linux/if_tap.h */
};

/** What the kernel does not give of the offloads that were asked for. */
enum tun_offload_gap {
	TUN_OFFLOAD_IS_WHOLE,
	TUN_OFFLOAD_LACKS_ECN,          /* segmentation of packets with CWR */
	TUN_OFFLOAD_LACKS_SEGMENTATION, /* of any */
	TUN_OFFLOAD_LACKS_HEADER,       /* the interface was made without it, and is held so */
};

struct tun_interface {
	char name[IFNAMSIZ];
	unsigned ifindex;
	bool is_made;         /* by this process: it vanishes with its queues */
	bool has_vnet_header; /* packets are read and written behind a struct virtio_net_hdr */
	enum tun_offload_gap offload_gap;
	int steering_error; /* why there is one queue only: positive errno, 0: there is no why */
	size_t queue_count;
	int queues[TUN_MAX_QUEUES];
};

/** Why the interface cannot be used. */
enum tun_obstacle {
	TUN_CANNOT_BE_READ,    /* rtnetlink says no */
	TUN_HAS_NO_DEVICE,     /* /dev/net/tun is not there */
	TUN_DEVICE_IS_CLOSED,  /* /dev/net/tun cannot be opened */
	TUN_IS_ANOTHER_KIND,   /* an interface of that name that is no tun device */
	TUN_IS_IN_USE,         /* by another process */
	TUN_IS_TAP,            /* layer 2, and no process uses it */
	TUN_IS_SINGLE_QUEUE,   /* made without multi_queue, and no process uses it */
	TUN_HAS_OTHER_HEADERS, /* in front of its packets, and is held so by another process */
	TUN_WAS_TAKEN,         /* got another holder while it was being taken over */
	TUN_IS_NOT_PERMITTED,  /* a queue is refused: EPERM */
	TUN_QUEUE_IS_BUSY,     /* a queue is refused: EBUSY */
	TUN_QUEUE_IS_REFUSED,  /* a queue is refused otherwise */
	TUN_HEADER_IS_REFUSED, /* the size of the offload header */
	TUN_HAS_VANISHED,      /* while it was being set up */
};

struct tun_failure {
	enum tun_obstacle obstacle;
	int error; /* positive errno where there is one */
};

/**
 * Makes the interface or takes it over, and opens its queues. Main thread.
 * @queues: how many; fewer are opened when flows cannot be steered
 * @offload: false: no virtio_net header
 * Returns false with `failure` filled and nothing left open.
 */
bool tun_interface_open(struct tun_interface *tun, const char *name, size_t queues, bool offload,
			struct tun_failure *failure);

/**
 * Gives the interface up. One that was made vanishes; another one is left without offloads and
 * steering, and keeps its MTU, queue length and sysctls. Main thread, after the workers ended.
 */
void tun_interface_close(struct tun_interface *tun);

/**
 * Throws away what has come into the queues so far. What came before all of them were there may lie
 * in another one than where its flow belongs; TCP sends it again. Main thread, before the workers.
 */
void tun_interface_drain(const struct tun_interface *tun);

/**
 * Attaches the steering program to a queue's interface. Main thread.
 * Returns 0 or a negative errno.
 */
int tun_steering_attach(int queue);

/** Takes the steering program away again. */
void tun_steering_detach(int queue);

/**
 * Reads one packet. Worker.
 * @buffer: room for a virtio_net header, if the interface has them, and a packet
 * @size: bytes of room
 * Returns the bytes read, header included, or a negative errno (-EAGAIN: nothing there).
 */
ssize_t tun_read(int queue, void *buffer, size_t size);

/** Writes one packet. Worker. Returns 0 or a negative errno (-EAGAIN: no room). */
int tun_write(int queue, const struct iovec *iov, size_t count);

#endif
