/* The key of the address pool, as it follows from a machine's identity. */
#include "control/pool_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool derive(const char *identity, struct siphash_key *key)
{
	return pool_key_derive(identity, strlen(identity), key);
}

/* Never to change, in no release; worked out apart from this program (tests/reference). */
static void keys_that_must_never_change(void **state)
{
	static const struct {
		const char *identity;
		uint64_t words[2];
	} pins[] = {
		{"0123456789abcdef0123456789abcdef\n", {0x3f66f7a28c6e3432, 0x9e2c3469334b4dec}},
		{"fedcba9876543210fedcba9876543210\n", {0x54976fa07579400d, 0xd7583570cf7b5870}},
		{"00000000000000000000000000000001", {0xb1a49c201bd32ad9, 0x4f78e3abfc13fdac}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
		struct siphash_key key = {{0, 0}};

		assert_true(derive(pins[i].identity, &key));
		assert_memory_equal(key.words, pins[i].words, sizeof(key.words));
	}
}

static void what_is_no_identity(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"uninitialized\n",
		"00000000000000000000000000000000\n",
		"0123456789abcdef0123456789abcde\n",
		"0123456789abcdef0123456789abcdef0\n",
		"0123456789abcdef0123456789abcdef\n\n",
		"0123456789ABCDEF0123456789ABCDEF\n",
		"0123456789abcdef0123456789abcdeg\n",
		"01234567-89ab-cdef-0123-456789abcdef\n",
		" 0123456789abcdef0123456789abcde\n",
	};
	const char zeros[33] = {0};
	struct siphash_key key = {{7, 8}};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(derive(texts[i], &key));
	assert_false(pool_key_derive(zeros, sizeof(zeros), &key));
	assert_false(pool_key_derive(zeros, 32, &key));
	assert_true(key.words[0] == 7 && key.words[1] == 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_that_must_never_change),
		cmocka_unit_test(what_is_no_identity),
	};

	return cmocka_run_group_tests_name("pool_key", tests, NULL, NULL);
}
