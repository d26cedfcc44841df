/*
 * The UDP sockets: one for each worker, all on the listen port of the bound device, or each on a
 * port of its own from the listen port on (--port-per-worker).
 *
 * Theory of operation. On one port, the first socket is bound plain and gets SO_REUSEPORT only
 * then, so a port that another process holds is an error instead of being shared unnoticed; the
 * others join it. The kernel's reuseport hash keeps a peer's datagrams on one socket. Datagrams
 * carry DF; IP_RECVERR stays off, for with it one dead peer makes sends to healthy ones fail.
 *
 * Receive buffers are as large as an interruption of a worker asks for, as long as all together
 * take no more than a part of what the kernel lets all UDP sockets of the machine hold
 * (net.ipv4.udp_mem): what else there is needs some too, and on a router with little memory a flood
 * would otherwise take it from everything. The kernel shows that bound in its first network
 * namespace only; in another one the buffers are as they should be.
 */
#ifndef UDP_ENCAP_TUN_UDP_SOCKET_H
#define UDP_ENCAP_TUN_UDP_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct udp_socket_settings {
	const char *device;
	uint16_t port;   /* host byte order; of the first socket */
	bool port_each;  /* every socket has the port after the one before, none is shared */
	uint32_t fwmark; /* 0: none */
	bool gro;        /* receive coalesced datagrams (UDP_GRO) where the kernel can */
};

/** What is done to open a socket, in this order. */
enum udp_socket_step {
	UDP_SOCKET_IS_MADE,
	UDP_SOCKET_GETS_OPTIONS,
	UDP_SOCKET_GETS_DEVICE, /* and the mark, where there is one */
	UDP_SOCKET_GETS_PORT,
};

/** Why the sockets could not be opened. */
struct udp_socket_failure {
	enum udp_socket_step step; /* that failed */
	uint16_t port;             /* of the socket, host byte order */
	int error;                 /* positive errno */
};

/**
 * Opens the sockets. Main and control thread.
 * @sockets: room for `count` descriptors
 * Returns false with nothing left open and `failure` filled.
 */
bool udp_sockets_open(const struct udp_socket_settings *settings, int *sockets, size_t count,
		      struct udp_socket_failure *failure);

/** What the system grants of a socket's buffers, bytes as they were asked for. */
struct udp_socket_buffers {
	int receive, receive_wanted;
	int receive_wished; /* where memory does not matter: as much as wanted, or more */
	int send, send_wanted;
};

/**
 * Reads what a socket's buffers are. Main or control thread.
 * @count: of the sockets that were opened together
 */
struct udp_socket_buffers udp_socket_buffers_of(int fd, size_t count);

/**
 * What each of several sockets may ask for as its receive buffer, bytes; the kernel doubles it.
 * @udp_mem: what /proc/sys/net/ipv4/udp_mem says, "": nothing
 * @page_size: of the kernel, bytes
 * @count: of the sockets, more than 0
 */
int udp_socket_receive_share(const char *udp_mem, size_t page_size, size_t count);

/**
 * Reads how often a socket had no room for what came, from its making on; messages, each of which
 * may hold several datagrams. It wraps with its 32 bits. Any thread.
 * Returns false when the kernel does not say.
 */
bool udp_socket_drops(int fd, uint32_t *drops);

/** The ifindex of the device that a socket is bound to, 0: of none. Any thread. */
unsigned udp_socket_ifindex(int fd);

/** Puts a socket on a device and gives it a mark (0: none). Returns 0 or a negative errno. */
int udp_socket_bind_to_device(int fd, const char *device, uint32_t fwmark);

#endif
