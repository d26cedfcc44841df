/* Queues of places; see index_queue.h for the theory of operation. */
#include "peers/index_queue.h"

void index_queue_init(struct index_queue *queue, _Atomic uint32_t *first_link, size_t stride)
{
	queue->first_link = first_link;
	queue->stride = stride / sizeof(*first_link);
	queue->oldest = 0;
	queue->youngest = 0;
	atomic_init(&queue->pushed, 0);
}

static _Atomic uint32_t *link_of(const struct index_queue *queue, uint32_t index)
{
	return queue->first_link + index * queue->stride;
}

static uint32_t link_read(const struct index_queue *queue, uint32_t index)
{
	return atomic_load_explicit(link_of(queue, index), memory_order_relaxed);
}

static void link_write(const struct index_queue *queue, uint32_t index, uint32_t next)
{
	atomic_store_explicit(link_of(queue, index), next, memory_order_relaxed);
}

void index_queue_push(struct index_queue *queue, uint32_t index)
{
	uint32_t youngest = atomic_load_explicit(&queue->pushed, memory_order_relaxed);

	do {
		link_write(queue, index, youngest);
	} while (!atomic_compare_exchange_weak_explicit(
		&queue->pushed, &youngest, index + 1, memory_order_release, memory_order_relaxed));
}

/* What was pushed comes youngest first, and goes to the end of the control thread's own list. */
void index_queue_take_over(struct index_queue *queue)
{
	uint32_t youngest = atomic_exchange_explicit(&queue->pushed, 0, memory_order_acquire);
	uint32_t last = youngest;
	uint32_t oldest = 0;

	while (youngest != 0) {
		uint32_t older = link_read(queue, youngest - 1);

		link_write(queue, youngest - 1, oldest);
		oldest = youngest;
		youngest = older;
	}
	if (oldest == 0)
		return;
	if (queue->youngest != 0)
		link_write(queue, queue->youngest - 1, oldest);
	else
		queue->oldest = oldest;
	queue->youngest = last;
}

uint32_t index_queue_next(struct index_queue *queue)
{
	uint32_t oldest = queue->oldest;

	if (oldest == 0)
		return 0;
	queue->oldest = link_read(queue, oldest - 1);
	if (queue->oldest == 0)
		queue->youngest = 0;
	return oldest;
}

void index_queue_filter(struct index_queue *queue, bool (*leaves)(uint32_t index, void *argument),
			void *argument)
{
	uint32_t last = 0, next;

	index_queue_take_over(queue);
	for (uint32_t at = queue->oldest; at != 0; at = next) {
		next = link_read(queue, at - 1);
		if (!leaves(at - 1, argument)) {
			last = at;
			continue;
		}
		if (last == 0)
			queue->oldest = next;
		else
			link_write(queue, last - 1, next);
	}
	queue->youngest = last;
}
