/* All threads' counters together; see tally.h. */
#include "control/tally.h"

#include <stdio.h>
#include <string.h>

uint64_t tally_sum(const struct tally *tally, enum counter counter)
{
	uint64_t sum = counter_read(&tally->control, counter);

	for (size_t i = 0; i < tally->worker_count; i++)
		sum += counter_read(worker_counters(tally->workers[i]), counter);
	return sum;
}

enum { LINE_SIZE = 64 }; /* the longest name and 20 digits */

static size_t add_line(char *text, size_t used, const char *name, uint64_t value)
{
	return used + (size_t)snprintf(text + used, LINE_SIZE, "%s %llu\n", name,
				       (unsigned long long)value);
}

void tally_print(const struct tally *tally, const struct connection_store *store,
		 struct output *output)
{
	char text[(COUNTER_COUNT + 4) * LINE_SIZE] = "counters:\n";
	size_t used = strlen(text);

	used = add_line(text, used, "connections", connection_store_count(store));
	used = add_line(text, used, "connections_provisional",
			connection_store_count_provisional(store));
	for (int i = 0; i < COUNTER_COUNT; i++)
		used = add_line(text, used, counter_name((enum counter)i),
				tally_sum(tally, (enum counter)i));
	text[used++] = '\n';
	output_write(output, text, used);
}
