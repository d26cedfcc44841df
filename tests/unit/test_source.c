/* Rule T5: which source may be used, and what a person is told to do about one that may not. */
#include "base/address.h"
#include "control/source_log.h"
#include "random_traffic.h"

#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CHOSEN 0xc0a80864u /* 192.168.8.100 */
#define GATEWAY 0xc0a80801u
#define OTHER 0xc0a80964u

enum { DEVICE = 5, MASTER = 17 };

/* A device with an address, its master with another one, and one that is elsewhere. */
static struct link_round round_with(const char *master_kind, struct link_address list[3])
{
	struct link_round round = {
		.device = {.ifindex = DEVICE, .master = MASTER},
		.addresses = {.list = list, .count = 3},
	};

	snprintf(round.device.master_kind, sizeof(round.device.master_kind), "%s", master_kind);
	list[0] = (struct link_address){.prefix.address = ipv4_address(CHOSEN), .ifindex = DEVICE};
	list[1] = (struct link_address){.prefix.address = ipv4_address(OTHER), .ifindex = MASTER};
	list[2] = (struct link_address){.prefix.address = ipv4_address(GATEWAY), .ifindex = 1};
	return round;
}

static bool lends(const struct link_round *round, uint32_t address)
{
	const struct ip_address wanted = ipv4_address(address);

	return link_round_lends(round, &wanted);
}

static void a_device_and_its_vrf_lend_their_addresses(void **state)
{
	struct link_address list[3];
	struct link_round round = round_with("vrf", list);

	(void)state;
	assert_true(lends(&round, CHOSEN));
	assert_true(lends(&round, OTHER));
	/* any other interface's: what the kernel falls back to */
	assert_false(lends(&round, GATEWAY));
	assert_false(lends(&round, 0));
	round.addresses.count = 0;
	assert_false(lends(&round, CHOSEN));
}

static void only_a_vrf_lends_its_addresses(void **state)
{
	struct link_address list[3];
	struct link_round round = round_with("bridge", list);

	(void)state;
	assert_true(lends(&round, CHOSEN));
	assert_false(lends(&round, OTHER));
	round = round_with("", list);
	assert_false(lends(&round, OTHER));
}

static void whose_an_address_is(void **state)
{
	const struct ip_address other = ipv4_address(OTHER), nobodys = ipv4_address(0x01020304);
	struct link_address list[3];
	struct link_round round = round_with("bridge", list);

	(void)state;
	assert_int_equal(link_holder_of(&round, &other), MASTER);
	assert_int_equal(link_holder_of(&round, &nobodys), 0);
}

static void expect_command(const struct link_route *route, const char *expected)
{
	const struct ip_address source = ipv4_address(CHOSEN);
	char command[SOURCE_COMMAND_SIZE];

	source_log_command(command, "wan0", route, &source);
	assert_string_equal(command, expected);
}

static void the_command_is_the_matched_route_with_a_source(void **state)
{
	const struct link_route plain = {
		.destination = {ipv4_address(0), IPV4_MAPPED_BITS},
		.table = RT_TABLE_MAIN,
	};
	struct link_route route = plain;

	(void)state;
	expect_command(&route, "ip route change default dev wan0 src 192.168.8.100");
	route.gateway = ipv4_address(GATEWAY);
	route.metric = 100;
	expect_command(&route, "ip route change default via 192.168.8.1 dev wan0 metric 100 src "
			       "192.168.8.100");
	route.destination = (struct ip_prefix){ipv4_address(0xc6336400), IPV4_MAPPED_BITS + 24};
	route.table = 77;
	route.tos = 0x10;
	route.is_onlink = true;
	expect_command(&route, "ip route change 198.51.100.0/24 via 192.168.8.1 dev wan0 onlink "
			       "table 77 tos 0x10 metric 100 src 192.168.8.100");
	route = plain;
	route.nexthop = 5;
	route.is_more = true;
	expect_command(&route, "ip route change default nhid 5 src 192.168.8.100");
	/* no single line says it */
	route.nexthop = 0;
	expect_command(&route, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_and_its_vrf_lend_their_addresses),
		cmocka_unit_test(whose_an_address_is),
		cmocka_unit_test(only_a_vrf_lends_its_addresses),
		cmocka_unit_test(the_command_is_the_matched_route_with_a_source),
	};

	return report_seed(cmocka_run_group_tests_name("source", tests, NULL, NULL));
}
