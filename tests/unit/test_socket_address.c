/* Addresses of the socket calls: both families, both ways, and what is no address of either. */
#include "base/socket_address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct transport_address address_of(const char *text, uint16_t port)
{
	struct transport_address address = {.port = htons(port)};
	struct in_addr ipv4;

	if (inet_pton(AF_INET, text, &ipv4) == 1)
		address.address = ip_address_from_ipv4(ipv4.s_addr);
	else
		assert_int_equal(inet_pton(AF_INET6, text, address.address.bytes), 1);
	return address;
}

static struct socket_address garbage(void)
{
	struct socket_address name;

	memset(&name, 0xa5, sizeof(name)); /* nothing may depend on what was there */
	return name;
}

static void ipv4_becomes_af_inet(void **state)
{
	struct transport_address address = address_of("192.0.2.17", 12345);
	struct socket_address name = garbage();

	(void)state;
	assert_int_equal(socket_address_make(&name, &address), sizeof(struct sockaddr_in));
	assert_int_equal(name.any.sa_family, AF_INET);
	assert_int_equal(name.ipv4.sin_port, htons(12345));
	assert_int_equal(name.ipv4.sin_addr.s_addr, inet_addr("192.0.2.17"));
}

static void ipv6_becomes_af_inet6(void **state)
{
	struct transport_address address = address_of("2001:db8::17", 12345);
	struct socket_address name = garbage();

	(void)state;
	assert_int_equal(socket_address_make(&name, &address), sizeof(struct sockaddr_in6));
	assert_int_equal(name.any.sa_family, AF_INET6);
	assert_int_equal(name.ipv6.sin6_port, htons(12345));
	assert_int_equal(name.ipv6.sin6_flowinfo, 0);
	assert_int_equal(name.ipv6.sin6_scope_id, 0);
	assert_memory_equal(&name.ipv6.sin6_addr, address.address.bytes, 16);
}

static void there_and_back_is_the_same(void **state)
{
	static const char *const texts[] = {
		"0.0.0.0",           "255.255.255.255",  "192.0.2.17", "::", "::1",
		"2001:db8::17",      "::192.0.2.17", /* compatible is not mapped */
		"::fffe:192.0.2.17", "ffff::192.0.2.17",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct transport_address address = address_of(texts[i], (uint16_t)(i * 7919));
		struct transport_address back = {.port = 1};
		struct socket_address name = garbage();
		socklen_t length = socket_address_make(&name, &address);

		assert_true(socket_address_read(&name, length, &back));
		assert_true(transport_address_equal(&address, &back));
	}
}

/* What a socket of both families hands over for an IPv4 peer. */
static void a_mapped_ipv6_address_is_ipv4(void **state)
{
	struct transport_address address = address_of("192.0.2.17", 12345), back;
	struct socket_address name = garbage();

	(void)state;
	name.ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(12345)};
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.17", &name.ipv6.sin6_addr), 1);
	assert_true(socket_address_read(&name, sizeof(name.ipv6), &back));
	assert_true(transport_address_equal(&address, &back));
}

static void assert_unreadable(const struct socket_address *name, socklen_t length)
{
	struct transport_address before = address_of("198.51.100.1", 1), after = before;

	assert_false(socket_address_read(name, length, &after));
	assert_true(transport_address_equal(&before, &after));
}

static void another_family_is_not_read(void **state)
{
	(void)state;
	for (unsigned family = 0; family < 64; family++) {
		struct socket_address name = garbage();

		if (family == AF_INET || family == AF_INET6)
			continue;
		name.any.sa_family = (sa_family_t)family;
		assert_unreadable(&name, sizeof(name));
	}
}

static void what_is_not_complete_is_not_read(void **state)
{
	static const char *const texts[] = {"192.0.2.17", "2001:db8::17"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct transport_address address = address_of(texts[i], 12345);
		struct socket_address name = garbage();
		socklen_t length = socket_address_make(&name, &address);

		for (socklen_t shorter = 0; shorter < length; shorter++)
			assert_unreadable(&name, shorter);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_becomes_af_inet),
		cmocka_unit_test(ipv6_becomes_af_inet6),
		cmocka_unit_test(there_and_back_is_the_same),
		cmocka_unit_test(a_mapped_ipv6_address_is_ipv4),
		cmocka_unit_test(another_family_is_not_read),
		cmocka_unit_test(what_is_not_complete_is_not_read),
	};

	return cmocka_run_group_tests_name("socket address", tests, NULL, NULL);
}
