/* Notices; see notices.h. */
#include "exchange/notices.h"

#include <sys/eventfd.h>

void notices_raise(struct notices *notices, enum notice notice)
{
	uint32_t bit = (uint32_t)notice;

	/* A full barrier before the look at the bit: either the control thread, which lowers it
	 * before it looks for what there is to do, sees our work, or we see the bit lowered. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&notices->raised, memory_order_relaxed) & bit)
		return;
	if (!(atomic_fetch_or_explicit(&notices->raised, bit, memory_order_release) & bit))
		/* it can only fail by the counter being full, and then the thread is awake */
		(void)eventfd_write(notices->event, 1);
}

uint32_t notices_raised(struct notices *notices)
{
	return atomic_load_explicit(&notices->raised, memory_order_acquire);
}

void notices_lower(struct notices *notices, uint32_t mask)
{
	atomic_fetch_and_explicit(&notices->raised, ~mask, memory_order_seq_cst);
}
