/* Names and meanings of the counters. */
#include "base/counters.h"

static const struct {
	const char *name;
	const char *meaning;
} descriptions[COUNTER_COUNT] = {
#define COUNTER_DESCRIPTION(name, meaning) {#name, meaning},
	COUNTER_LIST(COUNTER_DESCRIPTION)
#undef COUNTER_DESCRIPTION
};

const char *counter_name(enum counter counter)
{
	return descriptions[counter].name;
}

const char *counter_meaning(enum counter counter)
{
	return descriptions[counter].meaning;
}
