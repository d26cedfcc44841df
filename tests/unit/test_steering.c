/*
 * The steering program, as the kernel runs it: every packet of a flow comes out of the queue that
 * its addresses and ports say, for ever. Needs root: it makes a tunnel interface in a network
 * namespace of its own, which ends with this program.
 */
#include "io/tun_interface.h"

#include "random_traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	SUBNET = 0x0a000000, /* 10.0.0.0/8 */
	FLOWS = 300,
	VNET_SIZE = 10,
};

static int sender = -1; /* a raw socket that takes whole IPv4 packets */

static int enter_own_network(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) != 0) {
		print_error("no network namespace of its own: %s (root is needed)\n",
			    strerror(errno));
		return -1;
	}
	sender = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	return sender < 0 ? -1 : 0;
}

static int leave_own_network(void **state)
{
	(void)state;
	return close(sender);
}

static struct sockaddr_in socket_address(uint32_t address)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = network_order(address)};
}

/* Gives the interface 10.0.0.1/8 and brings it up. */
static void bring_up(const struct tun_interface *tun)
{
	const struct sockaddr_in address = socket_address(SUBNET + 1);
	const struct sockaddr_in mask = socket_address(0xff000000);
	struct ifreq request = {.ifr_flags = 0};

	memcpy(request.ifr_name, tun->name, sizeof(request.ifr_name));
	memcpy(&request.ifr_addr, &address, sizeof(address));
	assert_int_equal(ioctl(sender, SIOCSIFADDR, &request), 0);
	memcpy(&request.ifr_netmask, &mask, sizeof(mask));
	assert_int_equal(ioctl(sender, SIOCSIFNETMASK, &request), 0);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	assert_int_equal(ioctl(sender, SIOCSIFFLAGS, &request), 0);
}

/*
 * The queue of a flow, from its description: source, destination and both ports as numbers, each
 * step times 2^32 less 2^32 over the golden ratio; the upper 16 bits modulo the number of queues.
 */
static size_t expected_queue(const struct tcp_packet *flow, size_t queues)
{
	const uint32_t multiplier = 1640531527;
	uint32_t ports = (uint32_t)flow->source_port * 65536 + flow->destination_port;
	uint32_t hash = flow->source * multiplier;

	hash = (hash ^ flow->destination) * multiplier;
	hash = (hash ^ ports) * multiplier;
	return hash / 65536 % queues;
}

static void send_packet(const struct tcp_packet *flow)
{
	struct sockaddr_in to = socket_address(flow->destination);
	size_t length;
	uint8_t *bytes = make_ipv4(flow, &length);
	ssize_t sent = sendto(sender, bytes, length, 0, (struct sockaddr *)&to, sizeof(to));

	assert_int_equal(sent, length);
	free(bytes);
}

/* The queue that the next TCP packet from this flow's ports comes out of. */
static size_t queue_of(const struct tun_interface *tun, const struct tcp_packet *flow)
{
	struct pollfd queues[8];
	uint8_t bytes[4096];

	for (size_t i = 0; i < tun->queue_count; i++)
		queues[i] = (struct pollfd){.fd = tun->queues[i], .events = POLLIN};
	for (;;) {
		assert_true(poll(queues, tun->queue_count, 5000) > 0);
		for (size_t i = 0; i < tun->queue_count; i++) {
			ssize_t length;
			size_t ip_at = tun->has_vnet_header ? VNET_SIZE : 0;

			if (!(queues[i].revents & POLLIN))
				continue;
			length = tun_read(tun->queues[i], bytes, sizeof(bytes));
			/* what the kernel itself says on a new interface is no business of ours */
			if (length >= (ssize_t)ip_at + 40 && bytes[ip_at] == 0x45 &&
			    bytes[ip_at + 9] == 6 &&
			    bytes[ip_at + 20] * 256 + bytes[ip_at + 21] == flow->source_port)
				return i;
		}
	}
}

static void flows_keep_their_queue(size_t queues, bool offload)
{
	struct dice dice = dice_for(__func__);
	struct tcp_packet flows[FLOWS];
	size_t used[8] = {0};
	struct tun_interface tun;
	struct tun_failure failure;

	assert_true(tun_interface_open(&tun, "steered", queues, offload, &failure));
	assert_int_equal(tun.queue_count, queues);
	bring_up(&tun);
	for (size_t i = 0; i < FLOWS; i++) {
		flows[i] = random_tcp_packet(&dice);
		flows[i].destination = SUBNET + dice_between(&dice, 2, 0xfffffe);
		/* a host that the kernel may send from */
		flows[i].source = dice_between(&dice, 0x0b000000, 0x7e000000);
	}
	/* several times, with other flows in between, and other flags, options and lengths */
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < FLOWS; i++) {
			size_t expected = expected_queue(&flows[i], queues);

			flows[i].flags = (uint8_t)dice_roll(&dice);
			flows[i].tos = (uint8_t)dice_roll(&dice);
			flows[i].option_length = (size_t)4 * dice_below(&dice, 11);
			flows[i].sequence = (uint32_t)dice_roll(&dice);
			send_packet(&flows[i]);
			assert_int_equal(queue_of(&tun, &flows[i]), expected);
			used[expected]++;
		}
	}
	for (size_t i = 0; i < queues; i++)
		assert_true(used[i] > (size_t)3 * FLOWS / queues / 2);
	tun_interface_close(&tun);
}

static void steering_with_offload(void **state)
{
	(void)state;
	for (size_t queues = 1; queues <= 8; queues++)
		flows_keep_their_queue(queues, true);
}

static void steering_without_offload(void **state)
{
	(void)state;
	flows_keep_their_queue(4, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steering_with_offload),
		cmocka_unit_test(steering_without_offload),
	};

	return report_seed(cmocka_run_group_tests_name("steering", tests, enter_own_network,
						       leave_own_network));
}
