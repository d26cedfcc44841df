/* Newcomers; see newcomers.h for the theory of operation. */
#include "peers/newcomers.h"

#include "base/lazy_memory.h"

bool newcomers_open(struct newcomers *newcomers, uint32_t entries)
{
	newcomers->records = lazy_memory_map(entries * sizeof(*newcomers->records));
	if (newcomers->records == NULL)
		return false;
	index_queue_init(&newcomers->untold, &newcomers->records->next_newcomer,
			 sizeof(*newcomers->records));
	return true;
}

void newcomers_close(struct newcomers *newcomers, uint32_t entries)
{
	lazy_memory_unmap(newcomers->records, entries * sizeof(*newcomers->records));
}

void newcomers_begin_record(struct newcomers *newcomers, uint32_t index, uint32_t now)
{
	struct peer_record *record = &newcomers->records[index];

	record->made = now;
	atomic_store_explicit(&record->bytes_in, 0, memory_order_relaxed);
	atomic_store_explicit(&record->bytes_out, 0, memory_order_relaxed);
}
