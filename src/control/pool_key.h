/*
 * The key from which it follows which tunnel address a peer gets (peers/address_pool.h).
 *
 * Theory of operation. The key has to be the same after each start and unknown to strangers, and
 * that is what the machine's identity is, /etc/machine-id. It is no secret for whoever has an
 * account here, but must not get to the network (machine-id(5)): so the key is not that identity,
 * but what SipHash-2-4 keyed with it makes of a constant, from which nobody gets back to it. A
 * machine without an identity gets a key by chance at each start, and a line says so.
 */
#ifndef UDP_ENCAP_TUN_POOL_KEY_H
#define UDP_ENCAP_TUN_POOL_KEY_H

#include "base/siphash.h"

#include <stdbool.h>

/**
 * Derives the key. Pure.
 * @identity: what /etc/machine-id contains, length bytes
 * Returns false where that is no identity: empty, "uninitialized", all zero or something else.
 */
bool pool_key_derive(const char *identity, size_t length, struct siphash_key *key);

/** Finds this machine's key. Main thread. Returns false after an error was logged. */
bool pool_key_find(struct siphash_key *key);

#endif
