/* All threads' counters together; see tally.h. */
#include "control/tally.h"

#include <stdio.h>

uint64_t tally_sum(const struct tally *tally, enum counter counter)
{
	uint64_t sum = counter_read(&tally->control, counter);

	for (size_t i = 0; i < tally->worker_count; i++)
		sum += counter_read(worker_counters(tally->workers[i]), counter);
	return sum;
}

void tally_print(const struct tally *tally, const struct connection_store *store)
{
	printf("counters:\n");
	printf("connections %u\n", connection_store_count(store));
	for (int i = 0; i < COUNTER_COUNT; i++)
		printf("%s %llu\n", counter_name((enum counter)i),
		       (unsigned long long)tally_sum(tally, (enum counter)i));
	printf("\n");
	fflush(stdout);
}
