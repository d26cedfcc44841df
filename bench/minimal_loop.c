/*
 * The least that a tunnel can do: one read and one sendto for each packet one way, one recvfrom and
 * one write the other way, a thread for each. No batches, no offloads, no store, no checks worth
 * the name. It is what the plain path (--offload off) is measured against, and nothing to use.
 *
 *     minimal-loop TUNNEL-INTERFACE TUNNEL-ADDRESS DEVICE PORT
 *
 * Makes the interface; the caller gives it its address and routes. Both ends run the same: packets
 * go to their own destination, and come from where the datagram came from.
 */
#include "packet/checksum.h"
#include "packet/headers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_SIZE = 2048 };

static int tunnel, udp;
static in_port_t port;
static uint32_t own_address;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *out(void *unused)
{
	uint8_t packet[BUFFER_SIZE];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = port};

	(void)unused;
	for (;;) {
		ssize_t length = read(tunnel, packet, sizeof(packet));

		if (length < IPV4_HEADER_SIZE + TCP_MIN_HEADER_SIZE ||
		    packet[IPV4_PROTOCOL] != IPPROTO_TCP)
			continue;
		to.sin_addr.s_addr = load_u32(packet + IPV4_DESTINATION);
		(void)sendto(udp, packet + IPV4_HEADER_SIZE, (size_t)length - IPV4_HEADER_SIZE, 0,
			     (const struct sockaddr *)&to, sizeof(to));
	}
	return NULL;
}

static void build_header(uint8_t *packet, uint32_t source, size_t segment_length)
{
	uint8_t *check = packet + IPV4_HEADER_SIZE + TCP_CHECKSUM;
	uint64_t sum = checksum_tcp_pseudo_header(source, own_address, (uint32_t)segment_length);

	memset(packet, 0, IPV4_HEADER_SIZE);
	packet[IPV4_VERSION_IHL] = 0x45;
	store_be16(packet + IPV4_TOTAL_LENGTH, (uint16_t)(IPV4_HEADER_SIZE + segment_length));
	packet[IPV4_TTL] = 64;
	packet[IPV4_PROTOCOL] = IPPROTO_TCP;
	store_u32(packet + IPV4_SOURCE, source);
	store_u32(packet + IPV4_DESTINATION, own_address);
	store_u16(packet + IPV4_CHECKSUM,
		  (uint16_t)~checksum_fold(checksum_add(0, packet, IPV4_HEADER_SIZE)));
	store_u16(check, 0);
	sum = checksum_add(sum, packet + IPV4_HEADER_SIZE, segment_length);
	store_u16(check, (uint16_t)~checksum_fold(sum));
}

static void in(void)
{
	uint8_t packet[BUFFER_SIZE];

	for (;;) {
		struct sockaddr_in from = {0};
		socklen_t size = sizeof(from);
		ssize_t length = recvfrom(udp, packet + IPV4_HEADER_SIZE,
					  sizeof(packet) - IPV4_HEADER_SIZE, 0,
					  (struct sockaddr *)&from, &size);

		if (length < TCP_MIN_HEADER_SIZE)
			continue;
		build_header(packet, from.sin_addr.s_addr, (size_t)length);
		if (write(tunnel, packet, IPV4_HEADER_SIZE + (size_t)length) < 0)
			continue;
	}
}

int main(int argc, char **argv)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	struct sockaddr_in own = {.sin_family = AF_INET};
	pthread_t thread;

	if (argc != 5) {
		fprintf(stderr,
			"usage: minimal-loop TUNNEL-INTERFACE TUNNEL-ADDRESS DEVICE PORT\n");
		return 2;
	}
	own_address = inet_addr(argv[2]);
	port = htons((uint16_t)strtoul(argv[4], NULL, 10));
	own.sin_port = port;
	own.sin_addr.s_addr = own_address;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", argv[1]);
	tunnel = open("/dev/net/tun", O_RDWR);
	if (tunnel < 0 || ioctl(tunnel, TUNSETIFF, &request) < 0)
		die("tunnel interface");
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (udp < 0 ||
	    setsockopt(udp, SOL_SOCKET, SO_BINDTODEVICE, argv[3], (socklen_t)strlen(argv[3])) < 0 ||
	    bind(udp, (const struct sockaddr *)&own, sizeof(own)) < 0)
		die("UDP socket");
	if (pthread_create(&thread, NULL, out, NULL) != 0)
		die("thread");
	fprintf(stderr, "ready:\n");
	in();
}
