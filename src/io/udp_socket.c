/* The UDP sockets; see udp_socket.h for the theory of operation. */
#include "io/udp_socket.h"

#include "base/socket_address.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

enum {
	/*
	 * What is sent but still queued on the device, per socket; the kernel doubles it to account
	 * for its own structures. Enough for a device of 10 Gbit/s, whose queue empties in
	 * fractions of a millisecond; small enough that a slow link's backlog waits where TCP can
	 * see it.
	 */
	SEND_BUFFER_SIZE = 128 * 1024,
	/* What may arrive while a worker is held up; the kernel doubles it as well. */
	RECEIVE_BUFFER_SIZE = 8 * 1024 * 1024,
};

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Past the system's limit with CAP_NET_ADMIN, up to it without. */
static void set_buffer(int fd, int forced, int limited, int size)
{
	if (set_option(fd, SOL_SOCKET, forced, size) < 0)
		(void)set_option(fd, SOL_SOCKET, limited, size);
}

/* The kernel grants twice of what is asked for, or of its limit. */
static int granted_buffer(int fd, int name, int wanted)
{
	int granted;
	socklen_t size = sizeof(granted);

	return getsockopt(fd, SOL_SOCKET, name, &granted, &size) < 0 ? wanted : granted / 2;
}

struct udp_socket_buffers udp_socket_buffers_of(int fd)
{
	return (struct udp_socket_buffers){
		.receive = granted_buffer(fd, SO_RCVBUF, RECEIVE_BUFFER_SIZE),
		.receive_wanted = RECEIVE_BUFFER_SIZE,
		.send = granted_buffer(fd, SO_SNDBUF, SEND_BUFFER_SIZE),
		.send_wanted = SEND_BUFFER_SIZE,
	};
}

int udp_socket_bind_to_device(int fd, const char *device, uint32_t fwmark)
{
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
		return -errno;
	if (fwmark != 0)
		return set_option(fd, SOL_SOCKET, SO_MARK, (int)fwmark);
	return 0;
}

unsigned udp_socket_ifindex(int fd)
{
	int ifindex;
	socklen_t size = sizeof(ifindex);

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, &size) < 0)
		return 0;
	return (unsigned)ifindex;
}

/* How a socket gets its port. */
enum port_claim { PORT_ALONE, PORT_FIRST_OF_GROUP, PORT_JOINS_GROUP };

static int bind_to_port(int fd, uint16_t port, enum port_claim claim)
{
	const struct transport_address any = {ip_address_from_ipv4(htonl(INADDR_ANY)), htons(port)};
	struct socket_address name;
	socklen_t length = socket_address_make(&name, &any);

	if (claim == PORT_JOINS_GROUP && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
		return -errno;
	if (bind(fd, &name.any, length) < 0)
		return -errno;
	if (claim == PORT_FIRST_OF_GROUP)
		return set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	return 0;
}

static int set_options(int fd, bool gro)
{
	static const int wanted[] = {IP_RECVTOS, IP_PKTINFO};
	int error = set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);

	for (size_t i = 0; error == 0 && i < sizeof(wanted) / sizeof(wanted[0]); i++)
		error = set_option(fd, IPPROTO_IP, wanted[i], 1);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER_SIZE);
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER_SIZE);
	/* a kernel without it delivers every datagram by itself: slower, not less */
	if (gro)
		(void)set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
	return error;
}

static int open_socket(const struct udp_socket_settings *settings, uint16_t port,
		       enum port_claim claim, struct udp_socket_failure *failure)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	int error;

	failure->port = port;
	failure->step = UDP_SOCKET_IS_MADE;
	if (fd < 0) {
		failure->error = errno;
		return -1;
	}
	failure->step = UDP_SOCKET_GETS_OPTIONS;
	error = set_options(fd, settings->gro);
	if (error == 0) {
		failure->step = UDP_SOCKET_GETS_DEVICE;
		error = udp_socket_bind_to_device(fd, settings->device, settings->fwmark);
	}
	if (error == 0) {
		failure->step = UDP_SOCKET_GETS_PORT;
		error = bind_to_port(fd, port, claim);
	}
	if (error == 0)
		return fd;
	failure->error = -error;
	close(fd);
	return -1;
}

bool udp_sockets_open(const struct udp_socket_settings *settings, int *sockets, size_t count,
		      struct udp_socket_failure *failure)
{
	for (size_t i = 0; i < count; i++) {
		uint16_t port = settings->port;
		enum port_claim claim = i == 0 ? PORT_FIRST_OF_GROUP : PORT_JOINS_GROUP;

		if (settings->port_each) {
			port = (uint16_t)(port + i);
			claim = PORT_ALONE;
		}
		sockets[i] = open_socket(settings, port, claim, failure);
		if (sockets[i] >= 0)
			continue;
		while (i-- > 0)
			close(sockets[i]);
		return false;
	}
	return true;
}
