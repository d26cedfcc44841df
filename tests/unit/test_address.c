/* Addresses, peers and prefixes: how they are held, read, written and compared. */
#include "base/address.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void ipv4_is_held_in_its_mapped_form(void **state)
{
	const uint8_t expected[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
	struct ip_address address = ip_address_from_ipv4(network_order(0xc0000201));

	(void)state;
	assert_memory_equal(address.bytes, expected, 16);
	assert_int_equal(ip_address_ipv4(&address), network_order(0xc0000201));
}

static void equality(void **state)
{
	(void)state;
	for (size_t i = 0; i < 128; i++) {
		struct peer one = peer_of(0xc0000201, 12345);
		struct peer other = one;

		assert_true(ip_address_equal(&one.remote.address, &other.remote.address));
		assert_true(peer_equal(&one, &other));
		other.remote.address.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_false(ip_address_equal(&one.remote.address, &other.remote.address));
		assert_false(transport_address_equal(&one.remote, &other.remote));
		assert_false(peer_equal(&one, &other));
		other = one;
		other.remote.port ^= (uint16_t)(1 << i % 16);
		assert_false(transport_address_equal(&one.remote, &other.remote));
		assert_false(peer_equal(&one, &other));
	}
}

/* A far end that talks to another of our ports is another peer. */
static void own_ports_tell_peers_apart(void **state)
{
	struct peer one = peer_of(0xc0000201, 7), other = one;

	(void)state;
	other.own_port = 1;
	assert_false(peer_equal(&one, &other));
	one.own_port = 1;
	assert_true(peer_equal(&one, &other));
}

/* A far end that talks to another of our addresses is another peer. */
static void own_addresses_tell_peers_apart(void **state)
{
	struct peer one = peer_of(0xc0000201, 7), other;

	(void)state;
	one.own_address = ipv4_address(0xc6336401);
	for (size_t i = 0; i < 128; i++) {
		other = one;
		assert_true(peer_equal(&one, &other));
		other.own_address.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_false(peer_equal(&one, &other));
	}
}

static bool bit(const struct ip_address *address, size_t number)
{
	return (address->bytes[number / 8] >> (7 - number % 8)) & 1;
}

static void contains_and_covers_bit_by_bit(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 100000; round++) {
		struct ip_prefix outer = {.length = (uint8_t)dice_between(&dice, 0, 128)};
		struct ip_prefix inner = {.length = (uint8_t)dice_between(&dice, 0, 128)};
		size_t flipped = dice_below(&dice, 128);
		bool contains = true;

		dice_fill(&dice, outer.address.bytes, 16);
		inner.address = outer.address;
		if (dice_once_in(&dice, 4))
			dice_fill(&dice, inner.address.bytes, 16);
		else
			inner.address.bytes[flipped / 8] ^= (uint8_t)(0x80 >> flipped % 8);
		for (size_t i = 0; i < outer.length; i++)
			contains = contains && bit(&outer.address, i) == bit(&inner.address, i);
		assert_int_equal(ip_prefix_contains(&outer, &inner.address), contains);
		assert_int_equal(ip_prefix_covers(&outer, &inner),
				 contains && outer.length <= inner.length);
	}
}

static void networks_bit_by_bit(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (unsigned length = 0; length <= 128; length++) {
		for (int round = 0; round < 50; round++) {
			struct ip_prefix prefix = {.length = (uint8_t)length};
			struct ip_address network;

			dice_fill(&dice, prefix.address.bytes, 16);
			network = ip_prefix_network(&prefix);
			for (size_t i = 0; i < 128; i++)
				assert_int_equal(bit(&network, i),
						 i < length && bit(&prefix.address, i));
		}
	}
}

static void what_is_a_prefix(void **state)
{
	static const struct {
		const char *text;
		uint32_t address;
		uint8_t length;
	} prefixes[] = {
		{"10.0.0.1/24", 0x0a000001, 96 + 24},    {"0.0.0.0/0", 0, 96},
		{"255.255.255.255/32", 0xffffffff, 128}, {"192.168.255.1/31", 0xc0a8ff01, 127},
		{"100.64.0.0/10", 0x64400000, 96 + 10},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		struct ip_address expected = ipv4_address(prefixes[i].address);
		struct ip_prefix prefix;

		assert_true(ip_prefix_parse(prefixes[i].text, &prefix));
		/* the host part is kept */
		assert_memory_equal(prefix.address.bytes, expected.bytes, 16);
		assert_int_equal(prefix.length, prefixes[i].length);
	}
}

static void every_prefix_length(void **state)
{
	(void)state;
	for (unsigned length = 0; length <= 300; length++) {
		struct ip_prefix prefix;
		char text[32];

		snprintf(text, sizeof(text), "10.1.2.3/%u", length);
		assert_int_equal(ip_prefix_parse(text, &prefix), length <= 32);
		if (length <= 32)
			assert_int_equal(prefix.length, 96 + length);
	}
}

static void what_is_no_prefix(void **state)
{
	static const char *const texts[] = {
		"",
		"/",
		"/24",
		"10.0.0.1",
		"10.0.0.1/",
		"10.0.0.1/33",
		"10.0.0.1/-1",
		"10.0.0.1/+24",
		"10.0.0.1/ 24",
		"10.0.0.1/24 ",
		" 10.0.0.1/24",
		"10.0.0.1 /24",
		"10.0.0.1/24/24",
		"10.0.0.1//24",
		"10.0.0.1/0x18",
		"10.0.0.1/2a",
		"10.0.0.1/4294967320",           /* 24 + 2^32 */
		"10.0.0.1/18446744073709551640", /* 24 + 2^64 */
		"10.0.0/24",
		"10.0.0.1.2/24",
		"10.0.0.256/24",
		"10.0.0.a/24",
		"255.255.255.2555/24",
		"255.255.255.255.255.255/24",
		"2001:db8::1/64",
		"::ffff:10.0.0.1/120",
		"localhost/24",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		/* a block that ends with the text */
		char *text = (char *)exact_copy(texts[i], strlen(texts[i]) + 1);
		struct ip_prefix prefix;

		if (ip_prefix_parse(text, &prefix))
			fail_msg("\"%s\" is taken for a prefix", text);
		free(text);
	}
}

static void addresses_as_text(void **state)
{
	struct ip_address address = ipv4_address(0xc0000201);
	char text[IP_ADDRESS_TEXT_SIZE];

	(void)state;
	assert_string_equal(ip_address_text(&address, text), "192.0.2.1");
	address = ipv4_address(0xffffffff);
	assert_string_equal(ip_address_text(&address, text), "255.255.255.255");
	address = ipv4_address(0);
	assert_string_equal(ip_address_text(&address, text), "0.0.0.0");
	/* one bit off the mapped form, at either end: IPv6 */
	address = (struct ip_address){{0x20, 0x01, 0x0d, 0xb8, [10] = 0xff, 0xff, 0, 0, 0, 1}};
	assert_string_equal(ip_address_text(&address, text), "2001:db8::ffff:0:1");
	address = (struct ip_address){{[15] = 1}};
	assert_string_equal(ip_address_text(&address, text), "::1");
}

static void transport_addresses_as_text(void **state)
{
	struct transport_address address = peer_of(0xcb007107, 12345).remote;
	char *text = malloc(TRANSPORT_ADDRESS_TEXT_SIZE);

	(void)state;
	assert_non_null(text);
	assert_string_equal(transport_address_text(&address, text), "203.0.113.7:12345");
	address = peer_of(0xffffffff, 65535).remote;
	assert_string_equal(transport_address_text(&address, text), "255.255.255.255:65535");
	address = peer_of(1, 0).remote;
	assert_string_equal(transport_address_text(&address, text), "0.0.0.1:0");
	memset(address.address.bytes, 0xff, 16);
	address.port = 0xffff;
	assert_string_equal(transport_address_text(&address, text),
			    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_is_held_in_its_mapped_form),
		cmocka_unit_test(equality),
		cmocka_unit_test(own_ports_tell_peers_apart),
		cmocka_unit_test(own_addresses_tell_peers_apart),
		cmocka_unit_test(contains_and_covers_bit_by_bit),
		cmocka_unit_test(networks_bit_by_bit),
		cmocka_unit_test(what_is_a_prefix),
		cmocka_unit_test(every_prefix_length),
		cmocka_unit_test(what_is_no_prefix),
		cmocka_unit_test(addresses_as_text),
		cmocka_unit_test(transport_addresses_as_text),
	};

	return report_seed(cmocka_run_group_tests_name("ip address", tests, NULL, NULL));
}
