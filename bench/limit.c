/*
 * What the kernel's interfaces allow: the smallest program that carries TCP in UDP with the same
 * offloads as udp-encap-tun. One thread, one peer, no store, no checks worth the name, no counters.
 * It is what the program's speed is measured against on each machine, and nothing to use. It has
 * what won in the program since it was first written: batches outward, and super-packets no larger
 * than one UDP message takes.
 *
 *     limit --interface NAME --listen-port PORT --bind-to-interface NAME [--endpoint-port PORT]
 *           [--address CIDR]
 *
 * Other options are ignored, so that it can be started like the program itself. Outward, packets
 * of the tunnel interface are read until none is left or the arena is full, and what they make is
 * sent by one sendmmsg. A super-packet is cut by UDP_SEGMENT: header copy and data in place for
 * each segment; a run of small packets of one size shares a message in the same way. Inward, what
 * UDP_GRO brings is put together again, one super-packet at a time, its data in place as well.
 * Without --endpoint-port, whoever sent last is the one peer, and has the tunnel address after the
 * interface's own.
 */
#include "packet/checksum.h"
#include "packet/headers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	BUFFER_SIZE = 65536, /* of the largest packet, and of the largest UDP message */
	MAX_SEGMENTS = 64,   /* of a message and of a super-packet */
	MESSAGES = 4,        /* of one recvmmsg */
	RECEIVE_CALLS = 4,   /* before the other direction's turn */
	BATCH_PACKETS = 64,  /* read, and sent together */
	BATCH_SEGMENTS = 512,
	BATCH_MESSAGES = 64,
	ARENA_SIZE = 5 * 65536, /* at least four super-packets */
	PACKET_ROOM = sizeof(struct virtio_net_hdr) + IPV4_MAX_TOTAL_LENGTH,
	CONTROL_SIZE = CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint16_t)),
	RECEIVE_BUFFER_SIZE = 8 * 1024 * 1024, /* the program's, or it would lose what that keeps */
	TCP_WINDOW = 14,
	TCP_URGENT = 18,
	TCP_ECE = 0x40,
};

static int tunnel, udp;
static const char *interface;
static uint32_t own_address;
static bool is_server;
static struct sockaddr_in peer;       /* who is sent to; endpoint mode: the port only */
static struct in_pktinfo answer_from; /* server mode: the address that the peer sent to */

static void die(const char *what)
{
	fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* After a read that failed: it may be because nothing was there, and for no other reason. */
static void expect_none_there(const char *what)
{
	if (errno != EAGAIN && errno != EINTR)
		die(what);
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Outward: tunnel interface to UDP. */

/* Packets as they were read, and the messages that they are cut into, all to the one peer. */
static struct {
	_Alignas(64) uint8_t arena[ARENA_SIZE];
	struct mmsghdr messages[BATCH_MESSAGES];
	_Alignas(struct cmsghdr) uint8_t control[BATCH_MESSAGES][CONTROL_SIZE];
	struct iovec iov[2 * BATCH_SEGMENTS];
	uint8_t headers[BATCH_SEGMENTS][TCP_MAX_HEADER_SIZE];
	size_t message_count;
	size_t iov_count;
	size_t segment_count; /* of all messages */
	/* of the last message, which more segments may join: */
	uint16_t segment_size; /* of each segment but perhaps the last */
	size_t segments;
	size_t room; /* bytes that it takes yet: none behind a shorter segment */
} batch;

/* A full socket makes it wait, and any other error loses a message: TCP sends it again. */
static void send_batch(void)
{
	for (size_t at = 0; at < batch.message_count;) {
		int sent = sendmmsg(udp, batch.messages + at, (unsigned)(batch.message_count - at),
				    0);

		at += sent > 0 ? (size_t)sent : 1;
	}
	batch.message_count = batch.iov_count = batch.segment_count = 0;
}

static void put_control(struct msghdr *message, int level, int type, const void *value, size_t size)
{
	uint8_t *control = message->msg_control;
	struct cmsghdr *item = (struct cmsghdr *)(control + message->msg_controllen);

	item->cmsg_level = level;
	item->cmsg_type = type;
	item->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(item), value, size);
	message->msg_controllen += CMSG_SPACE(size);
}

static struct msghdr *begin_message(size_t segment_size)
{
	struct msghdr *message = &batch.messages[batch.message_count].msg_hdr;

	*message = (struct msghdr){
		.msg_name = &peer,
		.msg_namelen = sizeof(peer),
		.msg_iov = batch.iov + batch.iov_count,
		.msg_control = batch.control[batch.message_count++],
	};
	if (is_server)
		put_control(message, IPPROTO_IP, IP_PKTINFO, &answer_from, sizeof(answer_from));
	batch.segment_size = (uint16_t)segment_size;
	batch.segments = 0;
	batch.room = UDP_MAX_PAYLOAD;
	return message;
}

/* Adds a segment to the last message, or to a new one; the kernel cuts a message of several. */
static void put_segment(const struct iovec *pieces, size_t count, size_t size)
{
	bool fits = batch.message_count > 0 && size <= smaller(batch.segment_size, batch.room) &&
		    batch.segments < MAX_SEGMENTS;
	struct msghdr *message = fits ? &batch.messages[batch.message_count - 1].msg_hdr
				      : begin_message(size);

	if (++batch.segments == 2)
		put_control(message, IPPROTO_UDP, UDP_SEGMENT, &batch.segment_size,
			    sizeof(batch.segment_size));
	memcpy(batch.iov + batch.iov_count, pieces, count * sizeof(*pieces));
	batch.iov_count += count;
	message->msg_iovlen += count;
	batch.room = size < batch.segment_size ? 0 : batch.room - size;
	if (++batch.segment_count == BATCH_SEGMENTS || batch.message_count == BATCH_MESSAGES)
		send_batch();
}

/* Cuts a super-packet into segments, each with a sequence number of its own; FIN and PSH belong to
 * the last one, CWR to the first. */
static void put_segments(uint8_t *tcp, size_t length, size_t segment_size)
{
	size_t header = tcp_header_length(tcp);

	for (size_t at = header; at < length; at += segment_size) {
		size_t size = smaller(segment_size, length - at);
		uint8_t *own = batch.headers[batch.segment_count];

		memcpy(own, tcp, header);
		store_be32(own + TCP_SEQUENCE,
			   load_be32(tcp + TCP_SEQUENCE) + (uint32_t)(at - header));
		if (at > header)
			own[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
		if (at + size < length)
			own[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
		put_segment((struct iovec[]){{own, header}, {tcp + at, size}}, 2, header + size);
	}
}

static void take_packet(uint8_t *bytes, size_t size)
{
	struct virtio_net_hdr vnet;
	uint8_t *ip = bytes + sizeof(vnet);
	uint8_t *tcp = ip + IPV4_HEADER_SIZE;
	size_t length = size - sizeof(vnet) - IPV4_HEADER_SIZE;

	memcpy(&vnet, bytes, sizeof(vnet));
	if (ip[IPV4_VERSION_IHL] != 0x45 || ip[IPV4_PROTOCOL] != IPPROTO_TCP)
		return;
	if (!is_server && peer.sin_addr.s_addr != load_u32(ip + IPV4_DESTINATION)) {
		send_batch();
		peer.sin_addr.s_addr = load_u32(ip + IPV4_DESTINATION);
	}
	if (vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE)
		put_segment(&(struct iovec){tcp, length}, 1, length);
	else
		put_segments(tcp, length, vnet.gso_size);
}

static void carry_out(void)
{
	size_t used = 0;

	for (int i = 0; i < BATCH_PACKETS && used + PACKET_ROOM <= ARENA_SIZE; i++) {
		ssize_t got = read(tunnel, batch.arena + used, PACKET_ROOM);

		if (got < 0) {
			expect_none_there("cannot read the tunnel interface");
			break;
		}
		take_packet(batch.arena + used, (size_t)got);
		used += ((size_t)got + 63) & ~(size_t)63;
	}
	send_batch();
}

/* Inward: UDP to tunnel interface. */

/* The super-packet that is being put together. */
static struct {
	struct virtio_net_hdr vnet;
	uint8_t ip[IPV4_HEADER_SIZE];
	uint8_t tcp[TCP_MAX_HEADER_SIZE];
	size_t header;       /* length of the TCP header */
	size_t segment_size; /* data of each segment but perhaps the last */
	size_t data;         /* of all segments together */
	uint32_t source;
	size_t segments;                /* 0: none is open */
	struct iovec iov[MAX_SEGMENTS]; /* their data, in the receive buffers */
} open_packet;

static void write_open_packet(void)
{
	size_t tcp_length = open_packet.header + open_packet.data;
	uint8_t *ip = open_packet.ip;
	struct iovec iov[3 + MAX_SEGMENTS] = {
		{&open_packet.vnet, sizeof(open_packet.vnet)},
		{ip, IPV4_HEADER_SIZE},
		{open_packet.tcp, open_packet.header},
	};

	if (open_packet.segments == 0)
		return;
	memset(ip, 0, IPV4_HEADER_SIZE);
	ip[IPV4_VERSION_IHL] = 0x45;
	store_be16(ip + IPV4_TOTAL_LENGTH, (uint16_t)(IPV4_HEADER_SIZE + tcp_length));
	store_be16(ip + IPV4_FRAGMENT, IPV4_DONT_FRAGMENT);
	ip[IPV4_TTL] = 64;
	ip[IPV4_PROTOCOL] = IPPROTO_TCP;
	store_u32(ip + IPV4_SOURCE, open_packet.source);
	store_u32(ip + IPV4_DESTINATION, own_address);
	store_u16(ip + IPV4_CHECKSUM,
		  (uint16_t)~checksum_fold(checksum_add(0, ip, IPV4_HEADER_SIZE)));
	store_u16(open_packet.tcp + TCP_CHECKSUM,
		  checksum_fold(checksum_tcp_pseudo_header(open_packet.source, own_address,
							   (uint32_t)tcp_length)));
	open_packet.vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = open_packet.segments > 1 ? VIRTIO_NET_HDR_GSO_TCPV4
						     : VIRTIO_NET_HDR_GSO_NONE,
		.hdr_len = (uint16_t)(IPV4_HEADER_SIZE + open_packet.header),
		.gso_size = open_packet.segments > 1 ? (uint16_t)open_packet.segment_size : 0,
		.csum_start = IPV4_HEADER_SIZE,
		.csum_offset = TCP_CHECKSUM,
	};
	memcpy(iov + 3, open_packet.iov, open_packet.segments * sizeof(struct iovec));
	/* what the interface does not take is lost: TCP sends it again */
	(void)!writev(tunnel, iov, (int)(3 + open_packet.segments));
	open_packet.segments = 0;
}

/* True when a segment is the open super-packet's next: all is the same but the sequence number,
 * which goes on, FIN and PSH, and the checksum, which means nothing here. */
static bool continues(const uint8_t *tcp, size_t length, uint32_t source)
{
	const uint8_t *first = open_packet.tcp;
	size_t header = open_packet.header;

	return open_packet.segments > 0 && source == open_packet.source && length > header &&
	       length - header <= open_packet.segment_size &&
	       IPV4_HEADER_SIZE + open_packet.data + length <= IPV4_MAX_TOTAL_LENGTH &&
	       memcmp(tcp + TCP_PORTS, first + TCP_PORTS, 4) == 0 &&
	       load_be32(tcp + TCP_SEQUENCE) ==
		       load_be32(first + TCP_SEQUENCE) + (uint32_t)open_packet.data &&
	       memcmp(tcp + TCP_ACKNOWLEDGMENT, first + TCP_ACKNOWLEDGMENT, 5) == 0 &&
	       (tcp[TCP_FLAGS] & ~(TCP_FIN | TCP_PSH)) == first[TCP_FLAGS] &&
	       memcmp(tcp + TCP_WINDOW, first + TCP_WINDOW, 2) == 0 &&
	       memcmp(tcp + TCP_URGENT, first + TCP_URGENT, header - TCP_URGENT) == 0;
}

static void take_segment(uint8_t *tcp, size_t length, uint32_t source)
{
	size_t header = length < TCP_MIN_HEADER_SIZE ? 0 : tcp_header_length(tcp);
	size_t data = length - header;
	uint8_t flags;

	if (header < TCP_MIN_HEADER_SIZE || header > length)
		return;
	flags = tcp[TCP_FLAGS];
	if (!continues(tcp, length, source)) {
		write_open_packet();
		memcpy(open_packet.tcp, tcp, header);
		open_packet.header = header;
		open_packet.segment_size = data;
		open_packet.data = 0;
		open_packet.source = source;
	}
	open_packet.tcp[TCP_FLAGS] |= flags & (TCP_FIN | TCP_PSH);
	open_packet.iov[open_packet.segments++] = (struct iovec){tcp + header, data};
	open_packet.data += data;
	/* nothing comes behind a short one, a pushed one, or one that is not plain data */
	if (data == 0 || data < open_packet.segment_size || (flags & ~TCP_ECE) != TCP_ACK ||
	    open_packet.segments == MAX_SEGMENTS)
		write_open_packet();
}

/* Cuts a message into its datagrams, and takes its sender for the peer in server mode. */
static void take_message(struct msghdr *message, uint8_t *bytes, size_t length)
{
	const struct sockaddr_in *from = message->msg_name;
	uint32_t source = from->sin_addr.s_addr;
	size_t datagram_size = length;

	for (struct cmsghdr *item = CMSG_FIRSTHDR(message); item != NULL;
	     item = CMSG_NXTHDR(message, item)) {
		if (item->cmsg_level == IPPROTO_UDP && item->cmsg_type == UDP_GRO) {
			int size;

			memcpy(&size, CMSG_DATA(item), sizeof(size));
			datagram_size = (size_t)size;
		} else if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
			memcpy(&answer_from, CMSG_DATA(item), sizeof(answer_from));
		}
	}
	if (is_server) {
		peer = *from;
		source = htonl(ntohl(own_address) + 1);
	}
	for (size_t at = 0; at < length; at += datagram_size)
		take_segment(bytes + at, smaller(datagram_size, length - at), source);
}

/* What the caller gave the interface, when --address did not; 0 while there is none. */
static uint32_t read_own_address(void)
{
	struct ifreq request = {0};
	struct sockaddr_in address;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(udp, SIOCGIFADDR, &request) < 0)
		return 0;
	memcpy(&address, &request.ifr_addr, sizeof(address));
	return address.sin_addr.s_addr;
}

static bool carry_in(void)
{
	static uint8_t buffers[MESSAGES][BUFFER_SIZE];
	_Alignas(struct cmsghdr) static uint8_t control[MESSAGES][128];
	struct sockaddr_in from[MESSAGES];
	struct iovec iov[MESSAGES];
	struct mmsghdr messages[MESSAGES];
	int count;

	if (own_address == 0)
		own_address = read_own_address();
	for (size_t i = 0; i < MESSAGES; i++) {
		iov[i] = (struct iovec){buffers[i], BUFFER_SIZE};
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = &from[i],
			.msg_namelen = sizeof(from[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
			.msg_control = control[i],
			.msg_controllen = sizeof(control[i]),
		};
	}
	count = recvmmsg(udp, messages, MESSAGES, MSG_DONTWAIT, NULL);
	if (count < 0)
		expect_none_there("cannot receive");
	for (int i = 0; i < count; i++)
		take_message(&messages[i].msg_hdr, buffers[i], messages[i].msg_len);
	write_open_packet();
	return count == MESSAGES;
}

static _Noreturn void carry(void)
{
	struct pollfd ready[] = {{.fd = tunnel, .events = POLLIN}, {.fd = udp, .events = POLLIN}};

	for (;;) {
		if (poll(ready, 2, -1) < 0)
			die("cannot wait");
		if (ready[0].revents != 0)
			carry_out();
		for (int i = 0; ready[1].revents != 0 && i < RECEIVE_CALLS && carry_in(); i++)
			;
	}
}

/* Setting up. */

static void set_interface(const char *what, unsigned long command, struct ifreq *request)
{
	snprintf(request->ifr_name, sizeof(request->ifr_name), "%s", interface);
	if (ioctl(udp, command, request) < 0)
		die(what);
}

static void open_tunnel(void)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};

	tunnel = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	if (tunnel < 0)
		die("cannot open /dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(tunnel, TUNSETIFF, &request) < 0 ||
	    ioctl(tunnel, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN) < 0)
		die("cannot make the tunnel interface");
}

static void open_socket(const char *device, uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	const int on = 1, size = RECEIVE_BUFFER_SIZE;

	udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (udp < 0 ||
	    setsockopt(udp, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0 ||
	    setsockopt(udp, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0 ||
	    setsockopt(udp, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) < 0 ||
	    setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    bind(udp, (const struct sockaddr *)&any, sizeof(any)) < 0)
		die("cannot open the UDP socket");
}

/* Keeps a super-packet to what one UDP message takes. The kernel means its own headers, 320 bytes
 * at most, by that size too; TCP's have 32 with timestamps, and longer ones have an eighth of a
 * segment. A kernel that refuses sends what is over in a message of its own. */
static void bound_super_packets(uint32_t payload)
{
	uint32_t segments = UDP_MAX_PAYLOAD / payload;
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
		struct rtattr attribute;
		uint32_t size;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_NEWLINK,
			   .nlmsg_flags = NLM_F_REQUEST},
		.link.ifi_index = (int)if_nametoindex(interface),
		.attribute = {RTA_LENGTH(sizeof(request.size)), IFLA_GSO_MAX_SIZE},
		.size = segments * (payload - 32) + 320 + payload / 8,
	};
	int netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	if (netlink < 0)
		die("cannot open a netlink socket");
	if (segments < MAX_SEGMENTS)
		(void)!send(netlink, &request, sizeof(request), 0);
	close(netlink);
}

static void set_properties(const char *device)
{
	struct ifreq request = {.ifr_qlen = 2000};
	char path[64];
	int file;

	set_interface("cannot set the queue length", SIOCSIFTXQLEN, &request);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	if (ioctl(udp, SIOCGIFMTU, &request) < 0)
		die("cannot read the device's MTU");
	request.ifr_mtu = (int)smaller((size_t)request.ifr_mtu - UDP_HEADER_SIZE, 1492);
	set_interface("cannot set the MTU", SIOCSIFMTU, &request);
	bound_super_packets((uint32_t)request.ifr_mtu - IPV4_HEADER_SIZE);
	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", interface);
	file = open(path, O_WRONLY);
	if (file < 0 || write(file, "2", 1) != 1)
		die(path);
	close(file);
}

static void set_address(uint32_t address, unsigned long prefix)
{
	struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr.s_addr = address};
	struct ifreq request = {0};

	memcpy(&request.ifr_addr, &value, sizeof(value));
	set_interface("cannot set the address", SIOCSIFADDR, &request);
	value.sin_addr.s_addr = htonl((uint32_t)(0xffffffff00000000 >> prefix));
	memcpy(&request.ifr_netmask, &value, sizeof(value));
	set_interface("cannot set the netmask", SIOCSIFNETMASK, &request);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	set_interface("cannot bring the interface up", SIOCSIFFLAGS, &request);
}

/* The command line. */

static _Noreturn void usage(const char *option, const char *takes)
{
	fprintf(stderr, "limit: %s takes %s\n", option, takes);
	exit(2);
}

/* What follows an option; all others are passed over. */
static const char *value_of(char **argv, const char *option)
{
	for (; *argv != NULL; argv++) {
		if (strcmp(*argv, option) == 0)
			return argv[1];
	}
	return NULL;
}

static const char *name_of(char **argv, const char *option)
{
	const char *name = value_of(argv, option);

	if (name == NULL || strlen(name) >= IFNAMSIZ)
		usage(option, "the name of a network interface");
	return name;
}

static uint16_t port_of(char **argv, const char *option)
{
	const char *text = value_of(argv, option);
	unsigned long port = text == NULL ? 0 : strtoul(text, NULL, 10);

	if (port < 1 || port > UINT16_MAX)
		usage(option, "a port, 1 to 65535");
	return (uint16_t)port;
}

static void address_of(const char *cidr, uint32_t *address, unsigned long *prefix)
{
	char text[INET_ADDRSTRLEN];
	const char *slash = strchr(cidr, '/');

	snprintf(text, sizeof(text), "%.*s", slash == NULL ? 0 : (int)(slash - cidr), cidr);
	*prefix = slash == NULL ? 0 : strtoul(slash + 1, NULL, 10);
	if (inet_pton(AF_INET, text, address) != 1 || *prefix < 1 || *prefix > 32)
		usage("--address", "an IPv4 address and a prefix length, such as 10.80.0.1/16");
}

int main(int argc, char **argv)
{
	const char *device = name_of(argv, "--bind-to-interface");
	uint16_t port = port_of(argv, "--listen-port");
	const char *cidr = value_of(argv, "--address");
	unsigned long prefix = 0;

	(void)argc;
	interface = name_of(argv, "--interface");
	peer.sin_family = AF_INET;
	is_server = value_of(argv, "--endpoint-port") == NULL;
	if (!is_server)
		peer.sin_port = htons(port_of(argv, "--endpoint-port"));
	if (cidr != NULL)
		address_of(cidr, &own_address, &prefix);
	open_tunnel();
	open_socket(device, port);
	set_properties(device);
	if (cidr != NULL)
		set_address(own_address, prefix);
	fprintf(stderr, "ready: %s\n", interface);
	carry();
}
