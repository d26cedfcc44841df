/* Newcomers; see newcomers.h for the theory of operation. */
#include "peers/newcomers.h"

#include "base/lazy_memory.h"

bool newcomers_open(struct newcomers *newcomers, uint32_t entries)
{
	newcomers->records = lazy_memory_map(entries * sizeof(*newcomers->records));
	return newcomers->records != NULL;
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

void newcomers_push(struct newcomers *newcomers, uint32_t index)
{
	uint32_t youngest = atomic_load_explicit(&newcomers->pushed, memory_order_relaxed);

	do {
		newcomers->records[index].next_newcomer = youngest;
	} while (!atomic_compare_exchange_weak_explicit(&newcomers->pushed, &youngest, index + 1,
							memory_order_release,
							memory_order_relaxed));
}

/* Moves what the workers listed, youngest first, to the end of the control thread's own list. */
void newcomers_take_over(struct newcomers *newcomers)
{
	/* acquire pairs with newcomers_push()'s release: the entries are complete */
	uint32_t youngest = atomic_exchange_explicit(&newcomers->pushed, 0, memory_order_acquire);
	uint32_t last = youngest;
	uint32_t oldest = 0;

	while (youngest != 0) {
		struct peer_record *record = &newcomers->records[youngest - 1];
		uint32_t older = record->next_newcomer;

		record->next_newcomer = oldest;
		oldest = youngest;
		youngest = older;
	}
	if (oldest == 0)
		return;
	if (newcomers->youngest_untold != 0)
		newcomers->records[newcomers->youngest_untold - 1].next_newcomer = oldest;
	else
		newcomers->oldest_untold = oldest;
	newcomers->youngest_untold = last;
}

uint32_t newcomers_next(struct newcomers *newcomers)
{
	uint32_t oldest = newcomers->oldest_untold;

	if (oldest == 0)
		return 0;
	newcomers->oldest_untold = newcomers->records[oldest - 1].next_newcomer;
	if (newcomers->oldest_untold == 0)
		newcomers->youngest_untold = 0;
	return oldest;
}

void newcomers_forget(struct newcomers *newcomers,
		      bool (*has_gone)(uint32_t index, const void *argument), const void *argument)
{
	uint32_t *link = &newcomers->oldest_untold;

	newcomers_take_over(newcomers);
	newcomers->youngest_untold = 0;
	while (*link != 0) {
		struct peer_record *record = &newcomers->records[*link - 1];

		if (has_gone(*link - 1, argument)) {
			*link = record->next_newcomer;
			continue;
		}
		newcomers->youngest_untold = *link;
		link = &record->next_newcomer;
	}
}
