/* The key of the address pool; see pool_key.h for the theory of operation. */
#include "control/pool_key.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define IDENTITY_FILE "/etc/machine-id"

enum { IDENTITY_BYTES = 16, IDENTITY_DIGITS = 2 * IDENTITY_BYTES };

/* What the identity is used for: must stay the same for ever, as peers' addresses follow from it.
 */
static const char *const purposes[2] = {
	"udp-encap-tun: tunnel addresses, first word of the key",
	"udp-encap-tun: tunnel addresses, second word of the key",
};

static int value_of(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* As sd-id128(3) reads it: 32 small hexadecimal digits, not all zero, and at most a line's end. */
static bool parse(const char *text, size_t length, uint8_t identity[IDENTITY_BYTES])
{
	uint8_t all = 0;

	if (length > 0 && text[length - 1] == '\n')
		length--;
	if (length != IDENTITY_DIGITS)
		return false;
	for (size_t i = 0; i < IDENTITY_BYTES; i++) {
		int high = value_of(text[2 * i]), low = value_of(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		identity[i] = (uint8_t)(high << 4 | low);
		all |= identity[i];
	}
	return all != 0;
}

bool pool_key_derive(const char *identity, size_t length, struct siphash_key *key)
{
	uint8_t bytes[IDENTITY_BYTES];
	struct siphash_key machine;

	if (!parse(identity, length, bytes))
		return false;
	machine = siphash_key_of(bytes);
	for (size_t i = 0; i < 2; i++)
		key->words[i] = siphash_2_4(&machine, purposes[i], strlen(purposes[i]));
	return true;
}

/* Whatever keeps the file from being read, there is no identity in it. */
static bool derive_from_file(struct siphash_key *key)
{
	char text[IDENTITY_DIGITS + 2]; /* one more than there may be */
	int file = open(IDENTITY_FILE, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t length;

	if (file < 0)
		return false;
	length = read(file, text, sizeof(text));
	close(file);
	return length > 0 && pool_key_derive(text, (size_t)length, key);
}

bool pool_key_find(struct siphash_key *key)
{
	if (derive_from_file(key))
		return true;
	if (getrandom(key, sizeof(*key), 0) != (ssize_t)sizeof(*key)) {
		log_error("cannot get random numbers: %s", strerror(errno));
		return false;
	}
	log_info("no machine identity (%s): tunnel addresses change with each start",
		 IDENTITY_FILE);
	return true;
}
