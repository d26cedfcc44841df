/* ICMP errors: about which packets they may be sent (RFC 1122), and each of their bytes. */
#include "packet/icmp_error.h"

#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	LOOPBACK = 127,
	FIRST_MULTICAST = 224,
};

/* A packet that errors may be sent about, 60 bytes. */
static uint8_t *harmless_packet(const char *test)
{
	struct dice dice = dice_for(test);
	struct tcp_packet fields = random_tcp_packet(&dice);
	uint8_t data[20];
	size_t length;

	fields.source = 0xc0000201;
	fields.destination = 0xc6336402;
	fields.option_length = 0;
	fields.data = data;
	fields.data_length = sizeof(data);
	dice_fill(&dice, data, sizeof(data));
	return make_ipv4(&fields, &length);
}

static bool is_allowed(const uint8_t *packet, size_t length)
{
	uint8_t *copy = exact_copy(packet, length);
	bool answer = icmp_error_is_allowed(copy, length);

	free(copy);
	return answer;
}

static void the_quoted_bytes_must_be_there(void **state)
{
	uint8_t *packet = harmless_packet(__func__);

	(void)state;
	for (size_t length = 0; length <= 60; length++)
		assert_int_equal(is_allowed(packet, length), length >= 28);
	free(packet);
}

static void only_about_plain_ipv4_headers(void **state)
{
	uint8_t *packet = harmless_packet(__func__);

	(void)state;
	for (unsigned first = 0; first < 256; first++) {
		packet[0] = (uint8_t)first;
		assert_int_equal(is_allowed(packet, 60), first == 0x45);
	}
	free(packet);
}

static void not_about_later_fragments(void **state)
{
	uint8_t *packet = harmless_packet(__func__);

	(void)state;
	for (unsigned bit = 0; bit < 16; bit++) {
		unsigned field = 1u << bit;

		packet[6] = (uint8_t)(field >> 8);
		packet[7] = (uint8_t)field;
		/* the upper three bits are flags: DF, more fragments (so the first), reserved */
		assert_int_equal(is_allowed(packet, 60), bit >= 13);
	}
	free(packet);
}

static void not_about_icmp_but_echo_requests(void **state)
{
	uint8_t *packet = harmless_packet(__func__);

	(void)state;
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		for (unsigned type = 0; type < 256; type++) {
			packet[9] = (uint8_t)protocol;
			packet[20] = (uint8_t)type;
			assert_int_equal(icmp_error_is_allowed(packet, 60),
					 protocol != 1 || type == 8);
		}
	}
	free(packet);
}

static void only_between_single_hosts(void **state)
{
	static const size_t address_at[] = {12, 16};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t *packet = harmless_packet(__func__);

		for (unsigned first = 0; first < 256; first++) {
			if (first == LOOPBACK)
				continue;
			packet[address_at[i]] = (uint8_t)first;
			assert_int_equal(is_allowed(packet, 60),
					 first > 0 && first < FIRST_MULTICAST);
		}
		memset(packet + address_at[i], 0, 4);
		assert_false(is_allowed(packet, 60));
		memset(packet + address_at[i], 0xff, 4);
		assert_false(is_allowed(packet, 60));
		free(packet);
	}
}

static void assert_error(const uint8_t *packet, enum icmp_unreachable_code code, uint16_t mtu)
{
	/* a block of the promised size; what is in it must not matter */
	uint8_t *quoted = exact_copy(packet, 28);
	uint8_t *error = malloc(ICMP_ERROR_ROOM);
	uint8_t *with_vnet_header = malloc(ICMP_ERROR_ROOM);
	const uint8_t *icmp;

	assert_non_null(error);
	assert_non_null(with_vnet_header);
	memset(error, 0xa5, ICMP_ERROR_ROOM);
	memset(with_vnet_header, 0xa5, ICMP_ERROR_ROOM);
	assert_int_equal(icmp_error_build(quoted, code, mtu, false, error), 56);
	assert_int_equal(icmp_error_build(quoted, code, mtu, true, with_vnet_header), 66);
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(with_vnet_header[i], 0);
	assert_memory_equal(with_vnet_header + 10, error, 56);
	icmp = error + 20;

	assert_int_equal(error[0], 0x45);
	assert_int_equal(error[1], 0xc0); /* internetwork control, RFC 1812 section 4.3.2.5 */
	assert_int_equal(error[2] * 256 + error[3], 56);
	assert_int_equal((error[6] & 0x3f) * 256 + error[7], 0); /* no fragment */
	assert_true(error[8] >= 64);
	assert_int_equal(error[9], 1);
	assert_int_equal(slow_sum(0, error, 20), 0xffff);
	/* from whom the packet was meant for, to whom it came from */
	assert_memory_equal(error + 12, packet + 16, 4);
	assert_memory_equal(error + 16, packet + 12, 4);

	assert_int_equal(icmp[0], 3);
	assert_int_equal(icmp[1], code);
	assert_int_equal(slow_sum(0, icmp, 36), 0xffff);
	assert_int_equal(icmp[4] * 256 + icmp[5], 0);
	assert_int_equal(icmp[6] * 256 + icmp[7], mtu);
	assert_memory_equal(icmp + 8, packet, 28);
	free(with_vnet_header);
	free(error);
	free(quoted);
}

static void every_byte_of_an_error(void **state)
{
	struct dice dice = dice_for(__func__);

	(void)state;
	for (int round = 0; round < 10000; round++) {
		struct tcp_packet fields = random_tcp_packet(&dice);
		size_t length;
		uint8_t *packet = make_ipv4(&fields, &length);

		assert_error(packet, ICMP_CODE_HOST_UNREACHABLE, 0);
		assert_error(packet, ICMP_CODE_PROTOCOL_UNREACHABLE, 0);
		assert_error(packet, ICMP_CODE_FRAGMENTATION_NEEDED, (uint16_t)dice_roll(&dice));
		free(packet);
	}
}

static void a_larger_mtu_than_the_field_holds(void **state)
{
	uint8_t *packet = harmless_packet(__func__);
	uint8_t error[ICMP_ERROR_ROOM];

	(void)state;
	for (uint32_t mtu = 65534; mtu < 65538; mtu++) {
		icmp_error_build(packet, ICMP_CODE_FRAGMENTATION_NEEDED, mtu, false, error);
		assert_int_equal(error[26] * 256 + error[27], mtu < 65535 ? mtu : 65535);
	}
	free(packet);
}

static void the_codes_are_those_of_rfc_792_and_1191(void **state)
{
	(void)state;
	assert_int_equal(ICMP_CODE_HOST_UNREACHABLE, 1);
	assert_int_equal(ICMP_CODE_PROTOCOL_UNREACHABLE, 2);
	assert_int_equal(ICMP_CODE_FRAGMENTATION_NEEDED, 4);
	assert_int_equal(ICMP_ERROR_SIZE, 56);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_quoted_bytes_must_be_there),
		cmocka_unit_test(only_about_plain_ipv4_headers),
		cmocka_unit_test(not_about_later_fragments),
		cmocka_unit_test(not_about_icmp_but_echo_requests),
		cmocka_unit_test(only_between_single_hosts),
		cmocka_unit_test(every_byte_of_an_error),
		cmocka_unit_test(a_larger_mtu_than_the_field_holds),
		cmocka_unit_test(the_codes_are_those_of_rfc_792_and_1191),
	};

	return report_seed(cmocka_run_group_tests_name("icmp error", tests, NULL, NULL));
}
