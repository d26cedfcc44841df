/* The path MTU over the loopback interface: asking, keeping the answer, and what a question leaves
 * behind. Needs no privilege. */
#include "io/path_mtu.h"

#include "base/socket_address.h"

#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOW = 1000, IPV4_MAX_MTU = 65535 };

static struct path_mtu_cache cache;
static const struct ip_address any; /* the kernel chooses the source */

static struct ip_address ipv4(uint32_t address)
{
	return ip_address_from_ipv4(htonl(address));
}

static int start(void **state)
{
	(void)state;
	memset(&cache, 0xa5, sizeof(cache)); /* nothing may depend on what was there */
	path_mtu_cache_init(&cache, path_mtu_socket_open("lo", 0));
	return cache.fd < 0 ? -1 : 0;
}

static int finish(void **state)
{
	(void)state;
	return close(cache.fd);
}

/* The loopback interface's MTU, 65,536 bytes unless somebody changed it; no IPv4 packet is larger
 * than 65,535. */
static uint32_t loopback_mtu(void)
{
	struct ifreq request = {.ifr_name = "lo"};

	assert_int_equal(ioctl(cache.fd, SIOCGIFFLAGS, &request), 0);
	if (!(request.ifr_flags & IFF_UP))
		skip();
	assert_int_equal(ioctl(cache.fd, SIOCGIFMTU, &request), 0);
	return request.ifr_mtu < IPV4_MAX_MTU ? (uint32_t)request.ifr_mtu : IPV4_MAX_MTU;
}

static void the_kernel_is_asked(void **state)
{
	struct ip_address peer = ipv4(INADDR_LOOPBACK);
	struct ip_address another = ipv4(INADDR_LOOPBACK + 1);

	(void)state;
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW), loopback_mtu());
	assert_int_equal(path_mtu(&cache, &another, &any, NOW), loopback_mtu());
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW + 1), loopback_mtu());
}

static void an_answer_is_kept_for_the_second(void **state)
{
	struct ip_address peer = ipv4(INADDR_LOOPBACK);
	const uint32_t mtu = loopback_mtu();
	int fd = cache.fd;

	(void)state;
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW), mtu);
	cache.fd = -1; /* from now on the kernel cannot be asked */
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW), mtu);
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW + 1), 0);
	cache.fd = fd;
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW + 1), 0);
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW + 2), mtu);
}

/* Peers that share a place push each other out, and no answer is another peer's. */
static void an_answer_is_of_one_peer(void **state)
{
	struct ip_address peer = ipv4(INADDR_LOOPBACK);
	struct ip_address neighbour = ipv4(INADDR_LOOPBACK + PATH_MTU_CACHE_SIZE);
	int fd = cache.fd;

	(void)state;
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW), loopback_mtu());
	cache.fd = -1;
	assert_int_equal(path_mtu(&cache, &neighbour, &any, NOW), 0);
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW), 0);
	cache.fd = fd;
}

/* Asked from one address after another, and from none again; an answer is of one source. */
static void the_source_is_part_of_the_question(void **state)
{
	struct ip_address peer = ipv4(INADDR_LOOPBACK);
	struct ip_address first = ipv4(INADDR_LOOPBACK + 1), second = ipv4(INADDR_LOOPBACK + 2);
	struct ip_address foreign = ipv4(0xc0000201); /* 192.0.2.1 */
	const uint32_t mtu = loopback_mtu();
	int fd = cache.fd;

	(void)state;
	assert_int_equal(path_mtu(&cache, &peer, &first, NOW), mtu);
	assert_int_equal(path_mtu(&cache, &peer, &second, NOW), mtu);
	/* one that cannot be bound to is left out of the question */
	assert_int_equal(path_mtu(&cache, &peer, &foreign, NOW), mtu);
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW), mtu);
	assert_int_equal(path_mtu(&cache, &peer, &first, NOW), mtu);
	cache.fd = -1;
	assert_int_equal(path_mtu(&cache, &peer, &second, NOW), 0);
	cache.fd = fd;
}

static void what_is_known_needs_no_question(void **state)
{
	struct ip_address peer = ipv4(INADDR_LOOPBACK), source = ipv4(INADDR_LOOPBACK + 1);
	const uint32_t mtu = loopback_mtu();

	(void)state;
	assert_int_equal(path_mtu_known(&cache, &peer, &source, NOW), 0);
	assert_int_equal(path_mtu(&cache, &peer, &source, NOW), mtu);
	assert_int_equal(path_mtu_known(&cache, &peer, &source, NOW), mtu);
	assert_int_equal(path_mtu_known(&cache, &peer, &any, NOW), 0);
	assert_int_equal(path_mtu_known(&cache, &source, &source, NOW), 0);
	assert_int_equal(path_mtu_known(&cache, &peer, &source, NOW + 1), 0);
}

static void without_a_route_it_is_unknown(void **state)
{
	struct ip_address everybody = ipv4(INADDR_BROADCAST); /* EACCES */
	struct ip_address ipv6 = {.bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
	struct ip_address loopback = ipv4(INADDR_LOOPBACK);

	(void)state;
	assert_int_equal(path_mtu(&cache, &everybody, &any, NOW), 0);
	assert_int_equal(path_mtu(&cache, &ipv6, &any, NOW), 0);
	/* a question that failed does not spoil the next one */
	assert_int_equal(path_mtu(&cache, &loopback, &any, NOW), loopback_mtu());
}

static void a_question_leaves_neither_port_nor_peer(void **state)
{
	struct ip_address peer = ipv4(INADDR_LOOPBACK);
	struct socket_address name;
	socklen_t length = sizeof(name);

	(void)state;
	assert_int_equal(path_mtu(&cache, &peer, &any, NOW), loopback_mtu());
	assert_int_equal(getsockname(cache.fd, &name.any, &length), 0);
	assert_int_equal(name.ipv4.sin_port, 0);
	length = sizeof(name);
	assert_int_equal(getpeername(cache.fd, &name.any, &length), -1);
	assert_int_equal(errno, ENOTCONN);
}

static void a_missing_device_is_an_error(void **state)
{
	int before = dup(STDIN_FILENO), after;

	(void)state;
	close(before);
	assert_int_equal(path_mtu_socket_open("no-such-device", 0), -ENODEV);
	after = dup(STDIN_FILENO);
	close(after);
	assert_int_equal(after, before); /* nothing was left open */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_kernel_is_asked, start, finish),
		cmocka_unit_test_setup_teardown(an_answer_is_kept_for_the_second, start, finish),
		cmocka_unit_test_setup_teardown(an_answer_is_of_one_peer, start, finish),
		cmocka_unit_test_setup_teardown(the_source_is_part_of_the_question, start, finish),
		cmocka_unit_test_setup_teardown(what_is_known_needs_no_question, start, finish),
		cmocka_unit_test_setup_teardown(without_a_route_it_is_unknown, start, finish),
		cmocka_unit_test_setup_teardown(a_question_leaves_neither_port_nor_peer, start,
						finish),
		cmocka_unit_test_setup_teardown(a_missing_device_is_an_error, start, finish),
	};

	return cmocka_run_group_tests_name("path MTU", tests, NULL, NULL);
}
