/* Free places; see free_list.h for the theory of operation. */
#include "peers/free_list.h"

void free_list_init(struct free_list *list, _Atomic uint32_t *first_link, size_t stride,
		    uint32_t places)
{
	atomic_init(&list->head, 0);
	atomic_init(&list->touched, 0);
	list->places = places;
	list->first_link = first_link;
	list->stride = stride / sizeof(*first_link);
}

static _Atomic uint32_t *link_of(const struct free_list *list, uint32_t index)
{
	return list->first_link + index * list->stride;
}

static uint32_t take_fresh(struct free_list *list)
{
	uint32_t fresh = free_list_touched(list);

	while (fresh < list->places) {
		if (atomic_compare_exchange_weak_explicit(&list->touched, &fresh, fresh + 1,
							  memory_order_relaxed,
							  memory_order_relaxed))
			return fresh;
	}
	return FREE_LIST_IS_EMPTY;
}

uint32_t free_list_take(struct free_list *list)
{
	uint64_t head = atomic_load_explicit(&list->head, memory_order_acquire);

	while ((uint32_t)head != 0) {
		uint32_t index = (uint32_t)head - 1;
		uint64_t next = atomic_load_explicit(link_of(list, index), memory_order_relaxed);

		if (atomic_compare_exchange_weak_explicit(
			    &list->head, &head, ((head >> 32) + 1) << 32 | next,
			    memory_order_acquire, memory_order_acquire))
			return index;
	}
	return take_fresh(list);
}

void free_list_give(struct free_list *list, uint32_t index)
{
	uint64_t head = atomic_load_explicit(&list->head, memory_order_relaxed);
	uint64_t new_head;

	do {
		atomic_store_explicit(link_of(list, index), (uint32_t)head, memory_order_relaxed);
		new_head = ((head >> 32) + 1) << 32 | (index + 1);
	} while (!atomic_compare_exchange_weak_explicit(
		&list->head, &head, new_head, memory_order_release, memory_order_relaxed));
}
