/* The clock of the micro-benchmarks, the median of three, and the option that says how long. */
#ifndef UDP_ENCAP_TUN_STOPWATCH_H
#define UDP_ENCAP_TUN_STOPWATCH_H

#include <err.h>
#include <stdlib.h>
#include <time.h>

enum {
	REPETITIONS = 3, /* of each figure; the median counts */
	MAX_SECONDS = 60,
};

/** Now, in seconds of the monotonic clock. */
static inline double stopwatch_now(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/** The one in the middle. */
static inline double median_of(const double values[REPETITIONS])
{
	double a = values[0], b = values[1], c = values[2];
	double low = a < b ? a : b;
	double high = a < b ? b : a;

	if (c < low)
		return low;
	return c < high ? c : high;
}

/** Reads how long each repetition takes; ends the program with status 2 when that is no such time.
 */
static inline double seconds_from_text(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (*text == '\0' || *end != '\0' || !(seconds >= 0.01 && seconds <= MAX_SECONDS))
		errx(2, "--seconds takes a number from 0.01 to %d, not '%s'", MAX_SECONDS, text);
	return seconds;
}

#endif
