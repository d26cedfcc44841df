/* The UDP sockets; see udp_socket.h for the theory of operation. */
#include "io/udp_socket.h"

#include "base/socket_address.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <stdlib.h>
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
	/* One part in so many of what all UDP sockets of the machine may hold. */
	MACHINE_PART = 8,
	KERNEL_FACTOR = 2, /* by which the kernel multiplies what is asked for */
};

/* The third number is the bound, in pages (udp(7)). Returns false when there are not so many. */
static bool read_bound(const char *udp_mem, unsigned long long *pages)
{
	for (int i = 0; i < 3; i++) {
		char *end;

		*pages = strtoull(udp_mem, &end, 10);
		if (end == udp_mem)
			return false;
		udp_mem = end;
	}
	return true;
}

int udp_socket_receive_share(const char *udp_mem, size_t page_size, size_t count)
{
	unsigned long long pages;
	uint64_t share;

	if (!read_bound(udp_mem, &pages) || pages > UINT64_MAX / page_size)
		return RECEIVE_BUFFER_SIZE;
	share = pages * page_size / MACHINE_PART / KERNEL_FACTOR / count;
	return share < RECEIVE_BUFFER_SIZE ? (int)share : RECEIVE_BUFFER_SIZE;
}

static int receive_buffer_of_each(size_t count)
{
	char udp_mem[128] = "";
	int fd = open("/proc/sys/net/ipv4/udp_mem", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, udp_mem, sizeof(udp_mem) - 1) < 0)
			udp_mem[0] = '\0';
		close(fd);
	}
	return udp_socket_receive_share(udp_mem, (size_t)sysconf(_SC_PAGESIZE), count);
}

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

	return getsockopt(fd, SOL_SOCKET, name, &granted, &size) < 0 ? wanted
								     : granted / KERNEL_FACTOR;
}

struct udp_socket_buffers udp_socket_buffers_of(int fd, size_t count)
{
	int receive_wanted = receive_buffer_of_each(count);

	return (struct udp_socket_buffers){
		.receive = granted_buffer(fd, SO_RCVBUF, receive_wanted),
		.receive_wanted = receive_wanted,
		.receive_wished = RECEIVE_BUFFER_SIZE,
		.send = granted_buffer(fd, SO_SNDBUF, SEND_BUFFER_SIZE),
		.send_wanted = SEND_BUFFER_SIZE,
	};
}

bool udp_socket_drops(int fd, uint32_t *drops)
{
	uint32_t memory[SK_MEMINFO_VARS];
	socklen_t size = sizeof(memory);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0 ||
	    size <= SK_MEMINFO_DROPS * sizeof(*memory))
		return false;
	*drops = memory[SK_MEMINFO_DROPS];
	return true;
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

static int set_options(int fd, bool gro, int receive_buffer)
{
	static const int wanted[] = {IP_RECVTOS, IP_PKTINFO};
	int error = set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);

	for (size_t i = 0; error == 0 && i < sizeof(wanted) / sizeof(wanted[0]); i++)
		error = set_option(fd, IPPROTO_IP, wanted[i], 1);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER_SIZE);
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_buffer);
	/* a kernel without it delivers every datagram by itself: slower, not less */
	if (gro)
		(void)set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
	return error;
}

/* What differs between sockets that are opened together is the port. */
static int open_socket(const struct udp_socket_settings *settings, int receive_buffer,
		       uint16_t port, enum port_claim claim, struct udp_socket_failure *failure)
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
	error = set_options(fd, settings->gro, receive_buffer);
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
	int receive_buffer = receive_buffer_of_each(count);

	for (size_t i = 0; i < count; i++) {
		uint16_t port = settings->port;
		enum port_claim claim = i == 0 ? PORT_FIRST_OF_GROUP : PORT_JOINS_GROUP;

		if (settings->port_each) {
			port = (uint16_t)(port + i);
			claim = PORT_ALONE;
		}
		sockets[i] = open_socket(settings, receive_buffer, port, claim, failure);
		if (sockets[i] >= 0)
			continue;
		while (i-- > 0)
			close(sockets[i]);
		return false;
	}
	return true;
}
