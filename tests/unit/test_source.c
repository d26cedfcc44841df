/* Rule T5: which source may be used, and what a person is told to do about one that may not. */
#include "base/address.h"
#include "control/source_log.h"
#include "link/source_facts.h"
#include "random_traffic.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CHOSEN 0xc0a80864u /* 192.168.8.100 */
#define GATEWAY 0xc0a80801u
#define OTHER 0xc0a80964u

enum { MASTER = 17 };

static void a_source_is_the_devices_or_its_vrfs_or_named(void **state)
{
	const struct source_facts nothing = {.chosen = ipv4_address(CHOSEN)};
	struct source_facts facts = nothing;

	(void)state;
	/* any other interface's: what the kernel falls back to */
	assert_false(source_may_be_used(&facts));
	facts.route_source = ipv4_address(OTHER);
	assert_false(source_may_be_used(&facts));
	facts.stands_on_device = true;
	assert_true(source_may_be_used(&facts));
	facts = nothing;
	facts.stands_on_vrf = true;
	assert_true(source_may_be_used(&facts));
	facts = nothing;
	facts.route_source = ipv4_address(CHOSEN);
	assert_true(source_may_be_used(&facts));
}

/* Without any address on the machine datagrams would leave from 0.0.0.0. */
static void no_source_may_not_be_used(void **state)
{
	const struct source_facts facts = {.stands_on_device = true};

	(void)state;
	assert_false(source_may_be_used(&facts));
}

/* As the kernel describes an interface of a VRF, or of another master. @kind: NULL: none */
static unsigned vrf_of(uint32_t master, const char *kind)
{
	char buffer[512];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = RTM_NEWLINK;
	(void)mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(message, IFLA_IFNAME, "wan0");
	if (master != 0)
		mnl_attr_put_u32(message, IFLA_MASTER, master);
	if (kind != NULL) {
		struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);

		mnl_attr_put_strz(message, IFLA_INFO_KIND, "veth");
		mnl_attr_put_strz(message, IFLA_INFO_SLAVE_KIND, kind);
		mnl_attr_nest_end(message, info);
	}
	return source_vrf_of(message);
}

static void only_a_vrf_lends_its_addresses(void **state)
{
	(void)state;
	assert_int_equal(vrf_of(0, NULL), 0);
	assert_int_equal(vrf_of(MASTER, "vrf"), MASTER);
	assert_int_equal(vrf_of(MASTER, "bridge"), 0);
	assert_int_equal(vrf_of(MASTER, NULL), 0);
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
		cmocka_unit_test(a_source_is_the_devices_or_its_vrfs_or_named),
		cmocka_unit_test(no_source_may_not_be_used),
		cmocka_unit_test(only_a_vrf_lends_its_addresses),
		cmocka_unit_test(the_command_is_the_matched_route_with_a_source),
	};

	return report_seed(cmocka_run_group_tests_name("source", tests, NULL, NULL));
}
