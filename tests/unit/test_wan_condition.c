/* What a person hears of a device that is there and cannot carry: what, when, and once. */
#include "control/wan_condition.h"

#include "base/log.h"

#include "capture.h"
#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct capture written;

static const struct link_state carries = {.ifindex = 2, .is_up = true, .has_carrier = true};

static struct link_state without_carrier(void)
{
	struct link_state device = carries;

	device.has_carrier = false;
	return device;
}

static struct link_state down(void)
{
	struct link_state device = without_carrier();

	device.is_up = false;
	return device;
}

static struct link_state enslaved(const char *kind)
{
	struct link_state device = carries;

	device.master = 7;
	snprintf(device.master_kind, sizeof(device.master_kind), "%s", kind);
	return device;
}

static struct wan_condition condition(struct link_state device)
{
	return wan_condition_of(&device, "above");
}

/* Every kind of master takes what arrives, also one that has no kind, but for a VRF. */
static void what_keeps_from_carrying(void **state)
{
	static const char *const kinds[] = {"bridge", "bond", "team", "openvswitch", ""};

	(void)state;
	assert_int_equal(condition(carries).obstacle, WAN_IS_CLEAR);
	assert_int_equal(condition(down()).obstacle, WAN_IS_DOWN);
	assert_int_equal(condition(without_carrier()).obstacle, WAN_LACKS_CARRIER);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct wan_condition now = condition(enslaved(kinds[i]));

		assert_int_equal(now.obstacle, WAN_IS_PORT);
		assert_string_equal(now.port_of, "above");
		assert_string_equal(now.vrf, "");
	}
	assert_int_equal(condition(enslaved("vrf")).obstacle, WAN_IS_CLEAR);
	assert_string_equal(condition(enslaved("vrf")).vrf, "above");
}

/* Sockets hear what comes in by a VRF's port; without a carrier there is nothing to hear. */
static void a_vrf_does_not_hide_another_obstacle(void **state)
{
	struct link_state device = enslaved("vrf");

	(void)state;
	device.has_carrier = false;
	assert_int_equal(condition(device).obstacle, WAN_LACKS_CARRIER);
	assert_string_equal(condition(device).vrf, "above");
	device.is_up = false;
	assert_int_equal(condition(device).obstacle, WAN_IS_DOWN);
}

/* What is said of a device that was so and is so. */
static const char *told(struct link_state before, struct link_state now)
{
	struct wan_condition was = condition(before), is = condition(now);

	log_set_level(LOG_LEVEL_INFO);
	capture_begin(&written);
	wan_condition_tell("wan0", &was, &is);
	capture_end(&written);
	return written.errors;
}

static void one_line_for_each_change(void **state)
{
	const struct link_state all[] = {carries, down(), without_carrier(), enslaved("bridge")};
	enum { COUNT = sizeof(all) / sizeof(all[0]) };

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		for (size_t j = 0; j < COUNT; j++)
			assert_int_equal(count_lines(told(all[i], all[j])), i == j ? 0 : 1);
	}
}

static void beginnings_are_warnings_and_ends_are_not(void **state)
{
	static const char warning[] = "udp-encap-tun: warning: wan0 ";
	static const char info[] = "udp-encap-tun: info: wan0 ";

	(void)state;
	assert_memory_equal(told(carries, down()), warning, strlen(warning));
	assert_memory_equal(told(carries, without_carrier()), warning, strlen(warning));
	assert_memory_equal(told(carries, enslaved("bond")), warning, strlen(warning));
	assert_non_null(strstr(written.errors, "bond above"));
	assert_non_null(strstr(written.errors, "--bind-to-interface above"));
	assert_string_equal(told(down(), carries), "udp-encap-tun: info: wan0 is up again\n");
	assert_string_equal(told(without_carrier(), carries),
			    "udp-encap-tun: info: wan0 has its carrier again\n");
	assert_memory_equal(told(enslaved("bond"), carries), info, strlen(info));
	assert_non_null(strstr(written.errors, "free of bond above"));
	/* a VRF changes the routes and nothing else */
	assert_memory_equal(told(carries, enslaved("vrf")), info, strlen(info));
	assert_non_null(strstr(written.errors, "VRF above"));
	assert_memory_equal(told(enslaved("vrf"), carries), info, strlen(info));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_keeps_from_carrying),
		cmocka_unit_test(a_vrf_does_not_hide_another_obstacle),
		cmocka_unit_test(one_line_for_each_change),
		cmocka_unit_test(beginnings_are_warnings_and_ends_are_not),
	};

	return report_seed(
		cmocka_run_group_tests_name("bound device's condition", tests, NULL, NULL));
}
