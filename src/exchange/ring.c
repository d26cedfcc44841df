/* The ring; see ring.h for the theory of operation and the memory ordering. */
#include "exchange/ring.h"

#include "base/lazy_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MAX_SLOTS_LOG2 = 31 }; /* the largest power of two that tail less head can reach */

/* Records lie apart by a multiple of the strictest alignment. 0: that is beyond a size_t, where the
 * sum wraps to less than one alignment. */
static size_t stride_of(size_t record_size)
{
	const size_t alignment = _Alignof(max_align_t);

	return (record_size + (alignment - 1)) / alignment * alignment;
}

int ring_open(struct ring *ring, size_t record_size, uint32_t slot_count)
{
	size_t stride = stride_of(record_size);
	size_t size;
	void *slots;
	int event;

	memset(ring, 0, sizeof(*ring));
	if (record_size == 0 || slot_count == 0 || (slot_count & (slot_count - 1)) != 0 ||
	    slot_count > UINT32_C(1) << MAX_SLOTS_LOG2)
		return -EINVAL;
	if (stride == 0 || __builtin_mul_overflow(stride, (size_t)slot_count, &size) ||
	    size > PTRDIFF_MAX)
		return -ENOMEM;
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event < 0)
		return -errno;
	slots = lazy_memory_map(size);
	if (slots == NULL) {
		close(event);
		return -ENOMEM;
	}
	ring->slots = slots;
	ring->stride = stride;
	ring->slot_count = slot_count;
	ring->event = event;
	/* the consumer has not looked yet: the first record wakes it */
	atomic_store_explicit(&ring->wants_wake, true, memory_order_relaxed);
	return 0;
}

void ring_close(struct ring *ring)
{
	if (ring->slots == NULL)
		return;
	lazy_memory_unmap(ring->slots, ring->stride * ring->slot_count);
	close(ring->event);
	memset(ring, 0, sizeof(*ring));
}

static void *slot_at(const struct ring *ring, uint32_t index)
{
	return ring->slots + (size_t)(index & (ring->slot_count - 1)) * ring->stride;
}

uint32_t ring_free_slots(struct ring *ring)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	/* acquire: the consumer is done reading what is written over from now on */
	ring->known_head = atomic_load_explicit(&ring->head, memory_order_acquire);
	return ring->slot_count - (tail - ring->known_head);
}

void *ring_slot(struct ring *ring)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	if (tail - ring->known_head == ring->slot_count && ring_free_slots(ring) == 0)
		return NULL;
	return slot_at(ring, tail);
}

void ring_push(struct ring *ring)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}

/* It can only fail by the counter being full, and then the descriptor is readable. */
static void make_readable(const struct ring *ring)
{
	(void)eventfd_write(ring->event, 1);
}

void ring_wake(struct ring *ring)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	if (tail == ring->woken_tail)
		return;
	ring->woken_tail = tail;
	/* between the store of tail and the look at the flag; its other half is in ring_front() */
	atomic_thread_fence(memory_order_seq_cst);
	/* The look alone leaves the cache line shared while the consumer is busy. Relaxed: the flag
	 * carries no data, the consumer reads tail for itself. */
	if (atomic_load_explicit(&ring->wants_wake, memory_order_relaxed) &&
	    atomic_exchange_explicit(&ring->wants_wake, false, memory_order_relaxed))
		make_readable(ring);
}

int ring_event(const struct ring *ring)
{
	return ring->event;
}

void ring_answer(struct ring *ring)
{
	eventfd_t ignored;

	(void)eventfd_read(ring->event, &ignored);
}

/* True when there is a record at the front, as far as tail tells. */
static bool look_at_tail(struct ring *ring, uint32_t head)
{
	/* acquire: what was written into the records is seen with them */
	ring->known_tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
	return ring->known_tail != head;
}

/* True when a record came while the consumer said that it wants to be woken. */
static bool look_before_sleep(struct ring *ring, uint32_t head)
{
	atomic_store_explicit(&ring->wants_wake, true, memory_order_relaxed);
	/* between the store of the flag and the last look; its other half is in ring_wake() */
	atomic_thread_fence(memory_order_seq_cst);
	if (!look_at_tail(ring, head))
		return false;
	/* awake after all; if the producer was faster, there is one wake-up too many */
	atomic_store_explicit(&ring->wants_wake, false, memory_order_relaxed);
	return true;
}

uint32_t ring_waiting(struct ring *ring)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	(void)look_at_tail(ring, head);
	return ring->known_tail - head;
}

const void *ring_front(struct ring *ring)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	if (ring->known_tail == head && !look_at_tail(ring, head) && !look_before_sleep(ring, head))
		return NULL;
	return slot_at(ring, head);
}

void ring_pop(struct ring *ring)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}
