/* This machine's own addresses: which one is the tunnel's, and which ones no peer may get. */
#include "control/own_addresses.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { TUNNEL = 7, OTHER = 8, NETWORK = 0x0a400000 };

static struct ip_prefix prefix_of(uint32_t address, unsigned bits)
{
	return (struct ip_prefix){ipv4_address(address), (uint8_t)(IPV4_MAPPED_BITS + bits)};
}

static struct link_address on(unsigned ifindex, uint32_t address, unsigned bits, bool is_global)
{
	return (struct link_address){prefix_of(address, bits), ifindex, is_global};
}

static struct link_addresses all_of(struct link_address *list, size_t count)
{
	return (struct link_addresses){list, count, count};
}

static void the_first_of_global_scope_is_chosen(void **state)
{
	const struct ip_prefix none = {{{0}}, 0};
	struct link_address list[] = {
		on(OTHER, NETWORK + 1, 24, true),
		on(TUNNEL, 0xa9fe0707, 16, false),
		on(TUNNEL, NETWORK + 2, 24, true),
		on(TUNNEL, NETWORK + 3, 24, true),
	};
	struct link_addresses addresses = all_of(list, 4);

	(void)state;
	assert_ptr_equal(own_addresses_choose(&addresses, TUNNEL, &none), &list[2]);
	/* where there is none, another one does */
	addresses.count = 2;
	assert_ptr_equal(own_addresses_choose(&addresses, TUNNEL, &none), &list[1]);
	addresses.count = 1;
	assert_null(own_addresses_choose(&addresses, TUNNEL, &none));
	addresses.count = 0;
	assert_null(own_addresses_choose(&addresses, TUNNEL, &none));
}

static void the_one_in_use_stays(void **state)
{
	struct link_address list[] = {
		on(TUNNEL, 0xa9fe0707, 16, false),
		on(TUNNEL, NETWORK + 2, 24, true),
		on(OTHER, NETWORK + 4, 24, true),
		on(TUNNEL, NETWORK + 3, 24, true),
	};
	const struct link_addresses addresses = all_of(list, 4);
	struct ip_prefix in_use;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		in_use = list[i].prefix;
		/* on another interface it is not the tunnel's */
		assert_ptr_equal(own_addresses_choose(&addresses, TUNNEL, &in_use),
				 i == 2 ? &list[1] : &list[i]);
	}
	in_use = prefix_of(NETWORK + 99, 24);
	assert_ptr_equal(own_addresses_choose(&addresses, TUNNEL, &in_use), &list[1]);
}

static void another_prefix_length_makes_no_other_address(void **state)
{
	struct link_address list[] = {
		on(TUNNEL, NETWORK + 2, 24, true),
		on(TUNNEL, NETWORK + 3, 16, true),
		on(TUNNEL, NETWORK + 3, 32, true),
	};
	struct link_addresses addresses = all_of(list, 3);
	struct ip_prefix in_use = prefix_of(NETWORK + 3, 32);

	(void)state;
	assert_ptr_equal(own_addresses_choose(&addresses, TUNNEL, &in_use), &list[2]);
	addresses.count = 2;
	assert_ptr_equal(own_addresses_choose(&addresses, TUNNEL, &in_use), &list[1]);
}

static void addresses_in_a_prefix(void **state)
{
	struct link_address list[] = {
		on(TUNNEL, NETWORK + 200, 24, true), on(OTHER, NETWORK + 7, 32, true),
		on(OTHER, NETWORK + 256, 24, true),  on(TUNNEL, NETWORK + 7, 24, true),
		on(OTHER, 0x7f000001, 8, false),     on(OTHER, NETWORK - 1, 24, true),
		on(TUNNEL, NETWORK + 9, 24, false),
	};
	struct link_addresses addresses = all_of(list, 7);
	const struct ip_prefix pool = prefix_of(NETWORK + 200, 24);
	struct own_addresses within, others;

	(void)state;
	assert_true(own_addresses_collect(&addresses, &pool, &within));
	assert_int_equal(within.count, 3);
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(own_addresses_include(&within, &list[i].prefix.address),
				 ip_prefix_contains(&pool, &list[i].prefix.address));
	/* the order in which the kernel lists them makes no difference */
	list[6] = list[1];
	list[1] = on(TUNNEL, NETWORK + 9, 24, true);
	assert_true(own_addresses_collect(&addresses, &pool, &others));
	assert_true(own_addresses_equal(&within, &others));
	own_addresses_free(&others);
	assert_false(own_addresses_equal(&within, &others));
	assert_false(own_addresses_include(&others, &list[0].prefix.address));
	addresses.count = 0;
	assert_true(own_addresses_collect(&addresses, &pool, &others));
	assert_int_equal(others.count, 0);
	own_addresses_free(&others);
	own_addresses_free(&within);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_of_global_scope_is_chosen),
		cmocka_unit_test(the_one_in_use_stays),
		cmocka_unit_test(another_prefix_length_makes_no_other_address),
		cmocka_unit_test(addresses_in_a_prefix),
	};

	return cmocka_run_group_tests_name("own_addresses", tests, NULL, NULL);
}
