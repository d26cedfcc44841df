/* Monotonic time in whole seconds, as the store and the expiry use it. */
#ifndef UDP_ENCAP_TUN_MONOTONIC_H
#define UDP_ENCAP_TUN_MONOTONIC_H

#include <stdint.h>
#include <time.h>

/** Now, in seconds, never 0 (which stands for "never"). Any thread; no system call (vDSO). */
static inline uint32_t monotonic_seconds(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)now.tv_sec + 1;
}

/**
 * Seconds from `then` to `now`; 0 when `then` is later, as it may be by one when another thread
 * read the clock a moment after this one.
 */
static inline uint32_t seconds_since(uint32_t then, uint32_t now)
{
	int32_t passed = (int32_t)(now - then);

	return passed > 0 ? (uint32_t)passed : 0;
}

#endif
