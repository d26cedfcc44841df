/* Monotonic time, as the store, the expiry and the workers use it. */
#ifndef UDP_ENCAP_TUN_CLOCK_H
#define UDP_ENCAP_TUN_CLOCK_H

#include <stdint.h>
#include <time.h>

/**
 * Now, in milliseconds, to a few of them. Never 0, which stands for "never". Any thread; no system
 * call (vDSO).
 */
static inline uint64_t monotonic_milliseconds(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return ((uint64_t)now.tv_sec + 1) * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/** Now, in nanoseconds, to the nanosecond. Any thread; no system call on most machines (vDSO). */
static inline uint64_t monotonic_nanoseconds(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** Now, in seconds, never 0. Any thread; no system call. */
static inline uint32_t monotonic_seconds(void)
{
	return (uint32_t)(monotonic_milliseconds() / 1000);
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
