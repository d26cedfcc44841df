/*
 * The tunnel interface: a multi-queue TUN device, made or taken over, and its queues' I/O.
 *
 * Theory of operation. Every worker has a queue of its own. The kernel picks the queue of a packet
 * by a steering program (tun_steering.c) that depends on addresses and ports alone, so a flow stays
 * on one queue for life; without such a program the tun driver's flow table moves flows between
 * queues, which reorders them, so there is then only one queue. With virtio_net headers the kernel
 * hands over TCP super-packets and takes them back (TUNSETOFFLOAD, Linux drivers/net/tun.c).
 */
#ifndef UDP_ENCAP_TUN_TUN_INTERFACE_H
#define UDP_ENCAP_TUN_TUN_INTERFACE_H

#include "cli/options.h"

#include <sys/uio.h>

struct tun_interface {
	char name[IFNAMSIZ];
	unsigned index;
	bool is_made;         /* by this process: it vanishes with its queues */
	bool has_vnet_header; /* packets are read and written behind a struct virtio_net_hdr */
	size_t queue_count;
	int queues[MAX_THREADS];
};

/**
 * Makes the interface or takes it over, and opens its queues. Main thread.
 * @queues: how many; fewer are opened when flows cannot be steered
 * @offload: false: no virtio_net header
 * Returns false after an error was logged that says what to do.
 */
bool tun_interface_open(struct tun_interface *tun, const char *name, size_t queues, bool offload);

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
