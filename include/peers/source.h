/*
 * The source of datagrams to a destination of an endpoint (rule T5), as the control thread found it
 * and workers read it.
 *
 * Theory of operation. The control thread asks the kernel from which address it would send to the
 * destination, and judges whether that address may be used. What it found is one byte of the entry,
 * and the address as words that are stored one by one; they lie where an entry of a server has its
 * tunnel address, which an endpoint's has not.
 *
 * Memory ordering. The address is stored before the byte that says it is there, with release, and
 * read after it, with acquire: whoever finds SOURCE_IS_OWN finds a whole address. Where one address
 * replaces another, a reader may see words of both; IPv4 addresses differ in one word alone, and of
 * a mixture of two others the kernel sends nothing.
 */
#ifndef UDP_ENCAP_TUN_SOURCE_H
#define UDP_ENCAP_TUN_SOURCE_H

#include "base/address.h"

#include <stdatomic.h>

/** What is known of an entry's source. */
enum source_state {
	SOURCE_IS_NOT_ASKED_FOR, /* the device's is used */
	SOURCE_IS_THE_DEVICES,   /* the kernel does not send there: what it says is told then */
	SOURCE_IS_OWN,           /* the entry has its own */
	SOURCE_IS_MISSING,       /* none may be used */
};

/** An address that is written while others read it; see the memory ordering. */
struct source_words {
	_Atomic uint32_t words[4];
};

/** Stores an address. Control thread. */
static inline void source_words_store(struct source_words *words, const struct ip_address *address)
{
	for (size_t i = 0; i < 4; i++) {
		uint32_t word;

		memcpy(&word, &address->bytes[4 * i], sizeof(word));
		atomic_store_explicit(&words->words[i], word, memory_order_relaxed);
	}
}

/** Reads an address. Any thread. */
static inline struct ip_address source_words_load(const struct source_words *words)
{
	struct ip_address address;

	for (size_t i = 0; i < 4; i++) {
		uint32_t word = atomic_load_explicit(&words->words[i], memory_order_relaxed);

		memcpy(&address.bytes[4 * i], &word, sizeof(word));
	}
	return address;
}

#endif
