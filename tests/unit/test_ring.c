/* The ring: every record arrives whole and in order or is counted, and no wake-up is lost. */
#include "exchange/ring.h"

#include "random_traffic.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	SMALL = 8, /* slots */
	RECORDS = 1000000,
	NAPS = 100000,
	MEETINGS = 100000,
	PATIENCE = 10000, /* milliseconds: a wake-up that takes longer is lost */
};

/* A record whose parts follow from its number, so that a torn one shows. */
struct record {
	uint32_t number;
	uint32_t parts[11];
};

static struct ring ring;

static int start(void **state)
{
	(void)state;
	return ring_open(&ring, sizeof(struct record), SMALL);
}

static int finish(void **state)
{
	(void)state;
	ring_close(&ring);
	return 0;
}

/* As if so many records had gone through already. */
static void set_indices(uint32_t index)
{
	atomic_store(&ring.tail, index);
	atomic_store(&ring.head, index);
	ring.known_head = ring.known_tail = ring.woken_tail = index;
}

static uint32_t part_of(uint32_t number, uint32_t part)
{
	return (number ^ part << 28) * 0x9e3779b1u;
}

static bool push(uint32_t number)
{
	struct record *record = ring_slot(&ring);

	if (record == NULL)
		return false;
	record->number = number;
	for (uint32_t i = 0; i < 11; i++)
		record->parts[i] = part_of(number, i);
	ring_push(&ring);
	return true;
}

static bool is_whole(const struct record *record)
{
	for (uint32_t i = 0; i < 11; i++)
		if (record->parts[i] != part_of(record->number, i))
			return false;
	return true;
}

static void assert_pop(uint32_t number)
{
	const struct record *record = ring_front(&ring);

	assert_non_null(record);
	assert_int_equal(record->number, number);
	assert_true(is_whole(record));
	ring_pop(&ring);
}

/* How often the consumer was woken since the last call. */
static uint64_t wake_ups(void)
{
	eventfd_t count;

	return eventfd_read(ring_event(&ring), &count) == 0 ? count : 0;
}

static int lowest_free_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

static void assert_closed(const struct ring *any)
{
	static const struct ring closed;

	assert_memory_equal(any, &closed, sizeof(closed));
}

static void sizes_that_are_none(void **state)
{
	static const struct {
		size_t record_size;
		uint32_t slot_count;
		int error;
	} sizes[] = {
		{0, 8, -EINVAL},
		{1, 0, -EINVAL},
		{1, 3, -EINVAL},
		{1, 0x80000001, -EINVAL},
		{1, UINT32_MAX, -EINVAL},
		{SIZE_MAX, 1, -ENOMEM},
		{SIZE_MAX - 14, 1, -ENOMEM},
		{SIZE_MAX - 15, 1, -ENOMEM},
		{SIZE_MAX - 31, 1, -ENOMEM},
		{SIZE_MAX / 2 + 1, 1, -ENOMEM},
#if SIZE_MAX > UINT32_MAX
		{SIZE_MAX / 2 - 31, 1, -ENOMEM}, /* a size that only the kernel refuses */
#endif
		{SIZE_MAX / 4 + 1, 8, -ENOMEM}, /* the product is 0 modulo 2^64 or small */
		{SIZE_MAX / 0x80000000u + 1, 0x80000000u, -ENOMEM},
	};
	int free_before = lowest_free_descriptor();

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ring odd = {.slot_count = 1};

		assert_int_equal(ring_open(&odd, sizes[i].record_size, sizes[i].slot_count),
				 sizes[i].error);
		assert_closed(&odd);
		ring_close(&odd);
	}
	assert_int_equal(lowest_free_descriptor(), free_before);
}

static void no_descriptor_is_left(void **state)
{
	int free_before = lowest_free_descriptor();
	struct rlimit limit, none;
	struct ring any = {0};
	int error;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){(rlim_t)free_before, limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	error = ring_open(&any, 16, 4);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(error, -EMFILE);
	assert_closed(&any);
}

/* Descriptor 0, which a closed ring seems to name, is somebody else's. */
static void closing_a_closed_ring(void **state)
{
	int free_before = lowest_free_descriptor();
	int flags = fcntl(0, F_GETFD);
	struct ring any = {0};

	(void)state;
	ring_close(&any);
	assert_int_equal(ring_open(&any, 24, 4), 0);
	assert_int_equal(fcntl(ring_event(&any), F_GETFD), FD_CLOEXEC);
	ring_close(&any);
	assert_closed(&any);
	ring_close(&any);
	assert_int_equal(fcntl(0, F_GETFD), flags);
	assert_int_equal(lowest_free_descriptor(), free_before);
}

static void full_and_empty(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 3; round++) {
		assert_null(ring_front(&ring));
		for (uint32_t i = 0; i < SMALL; i++) {
			assert_int_equal(ring_free_slots(&ring), SMALL - i);
			assert_true(push(i));
		}
		assert_int_equal(ring_free_slots(&ring), 0);
		assert_null(ring_slot(&ring));
		assert_null(ring_slot(&ring));
		for (uint32_t i = 0; i < SMALL; i++) {
			assert_pop(i);
			assert_int_equal(ring_free_slots(&ring), i + 1);
		}
	}
	assert_null(ring_front(&ring));
}

/* Against a list that is two numbers, across the wrap of the indices. */
static void order_across_the_wrap(void **state)
{
	struct dice dice = dice_for(__func__);
	uint32_t first = 0, next = 0;

	(void)state;
	for (uint32_t before = 0; before < 2 * SMALL; before++) {
		set_indices(0u - before);
		first = next = 0;
		for (int turn = 0; turn < 1000; turn++) {
			if (dice_once_in(&dice, 2)) {
				assert_int_equal(push(next), next - first < SMALL);
				if (next - first < SMALL)
					next++;
			} else if (first == next) {
				assert_null(ring_front(&ring));
			} else {
				assert_pop(first++);
			}
			if (dice_once_in(&dice, 3))
				assert_int_equal(ring_free_slots(&ring), SMALL - (next - first));
		}
		while (first != next)
			assert_pop(first++);
	}
}

static void slots_are_apart_aligned_and_used_again(void **state)
{
	void *slots[SMALL];

	(void)state;
	for (uint32_t size = 1; size < 70; size++) {
		struct ring odd = {0};

		assert_int_equal(ring_open(&odd, size, SMALL), 0);
		for (uint32_t i = 0; i < 3 * SMALL; i++) {
			void *slot = ring_slot(&odd);

			assert_non_null(slot);
			assert_ptr_equal(ring_slot(&odd), slot);
			assert_int_equal((uintptr_t)slot % _Alignof(max_align_t), 0);
			if (i < SMALL)
				slots[i] = slot;
			assert_ptr_equal(slot, slots[i % SMALL]);
			memset(slot, (int)i, size);
			ring_push(&odd);
			if (i >= SMALL - 1) {
				const uint8_t *front = ring_front(&odd);

				assert_ptr_equal(front, slots[(i + 1) % SMALL]);
				assert_int_equal(front[0], i + 1 - SMALL);
				assert_int_equal(front[size - 1], i + 1 - SMALL);
				ring_pop(&odd);
			}
		}
		ring_close(&odd);
	}
}

static void what_is_not_pushed_is_not_there(void **state)
{
	(void)state;
	assert_non_null(ring_slot(&ring));
	assert_null(ring_front(&ring));
	assert_true(push(1));
	assert_ptr_equal(ring_front(&ring), ring_front(&ring));
	assert_pop(1);
	assert_null(ring_front(&ring));
}

static void one_wake_up_for_a_batch(void **state)
{
	(void)state;
	ring_wake(&ring);
	assert_int_equal(wake_ups(), 0);
	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < SMALL; i++)
			assert_true(push(i));
		assert_int_equal(wake_ups(), 0);
		ring_wake(&ring);
		ring_wake(&ring);
		assert_int_equal(wake_ups(), 1);
		for (uint32_t i = 0; i < SMALL; i++)
			assert_pop(i);
		assert_null(ring_front(&ring));
		/* the consumer sleeps, but nothing was pushed since */
		ring_wake(&ring);
		assert_int_equal(wake_ups(), 0);
	}
}

static void a_flood_wakes_once(void **state)
{
	(void)state;
	/* before the consumer got to run, and while it never finds the ring empty */
	for (uint32_t i = 0; i < 10000; i++) {
		assert_true(push(i));
		ring_wake(&ring);
		if (i > 0)
			assert_pop(i - 1);
	}
	assert_int_equal(wake_ups(), 1);
	assert_pop(9999);
	assert_null(ring_front(&ring));
	assert_true(push(0));
	ring_wake(&ring);
	assert_int_equal(wake_ups(), 1);
}

static void what_waits_is_told_without_a_word_of_sleep(void **state)
{
	struct pollfd event = {.fd = ring_event(&ring), .events = POLLIN};

	(void)state;
	assert_int_equal(ring_waiting(&ring), 0);
	assert_true(push(0));
	assert_true(push(1));
	assert_int_equal(ring_waiting(&ring), 2);
	ring_wake(&ring);
	ring_answer(&ring);
	ring_answer(&ring); /* does not wait */
	assert_pop(0);
	assert_int_equal(ring_waiting(&ring), 1);
	assert_pop(1);
	assert_int_equal(ring_waiting(&ring), 0);
	/* the consumer did not ask for the next one, so nothing wakes it */
	assert_true(push(2));
	ring_wake(&ring);
	assert_int_equal(poll(&event, 1, 0), 0);
	assert_int_equal(ring_waiting(&ring), 1);
	assert_pop(2);
	assert_null(ring_front(&ring));
	assert_true(push(3));
	ring_wake(&ring);
	assert_int_equal(poll(&event, 1, 0), 1);
	assert_pop(3);
}

/* The producer's side of the tests with two threads. */
struct producer {
	pthread_t thread;
	uint32_t count;     /* of records to produce */
	uint32_t most;      /* records in one batch */
	bool waits;         /* for room; else it counts what does not fit */
	bool waits_for_nap; /* each batch comes when the last one was consumed */
	uint32_t lost;
	_Atomic uint32_t consumed; /* in all, said by the consumer */
	_Atomic bool has_ended;
	_Atomic bool must_stop;
};

static struct producer producer;

static void produce_one(uint32_t number)
{
	while (!push(number)) {
		if (!producer.waits) {
			producer.lost++;
			return;
		}
		ring_wake(&ring);
		if (atomic_load_explicit(&producer.must_stop, memory_order_relaxed))
			return;
		sched_yield();
	}
}

/* Relaxed: the ring alone is to order what the two threads do. */
static void wait_for_consumer(uint32_t count)
{
	while (atomic_load_explicit(&producer.consumed, memory_order_relaxed) != count &&
	       !atomic_load_explicit(&producer.must_stop, memory_order_relaxed))
		sched_yield();
}

static void *produce(void *argument)
{
	struct dice dice = dice_for("produce");
	uint32_t number = 0;

	while (number < producer.count &&
	       !atomic_load_explicit(&producer.must_stop, memory_order_relaxed)) {
		uint32_t batch = dice_between(&dice, 1, producer.most);

		if (producer.waits_for_nap)
			wait_for_consumer(number);
		for (; batch > 0 && number < producer.count; batch--)
			produce_one(number++);
		/* the consumer moves between the push and the look whether it sleeps */
		if (producer.waits_for_nap && dice_once_in(&dice, 16))
			sched_yield();
		ring_wake(&ring);
	}
	atomic_store_explicit(&producer.has_ended, true, memory_order_relaxed);
	return argument;
}

static void start_producer(void)
{
	atomic_store(&producer.consumed, 0);
	atomic_store(&producer.has_ended, false);
	atomic_store(&producer.must_stop, false);
	producer.lost = 0;
	assert_int_equal(pthread_create(&producer.thread, NULL, produce, NULL), 0);
}

/* Ends the producer before anything is asserted, which may leave the test. */
static void stop_producer(void)
{
	atomic_store(&producer.must_stop, true);
	pthread_join(producer.thread, NULL);
}

/* What the consumer found. */
struct findings {
	uint32_t count;
	uint32_t next; /* number that comes after the last one */
	uint32_t disordered;
	uint32_t torn;
	uint32_t slept;
	bool was_not_woken;
};

static void take(struct findings *found, const struct record *record)
{
	found->disordered += record->number < found->next;
	found->torn += !is_whole(record);
	found->next = record->number + 1;
	found->count++;
}

/* Empties the ring, or leaves off after `most` records as a consumer with other duties does.
 * Returns false when it left off: it comes again by itself then. */
static bool drain(struct findings *found, uint32_t most)
{
	const struct record *record;

	while ((record = ring_front(&ring)) != NULL) {
		take(found, record);
		ring_pop(&ring);
		atomic_store_explicit(&producer.consumed, found->count, memory_order_relaxed);
		if (--most == 0)
			return false;
	}
	return true;
}

/* Sleeps and drains until so many came. A wait that goes on for ever ends the test. */
static struct findings consume_asleep(uint32_t count, uint32_t most)
{
	struct findings found = {0};

	while (found.count < count) {
		struct pollfd event = {.fd = ring_event(&ring), .events = POLLIN};

		if (poll(&event, 1, PATIENCE) != 1) {
			found.was_not_woken = true;
			break;
		}
		found.slept++;
		ring_answer(&ring);
		while (!drain(&found, most))
			sched_yield();
	}
	return found;
}

static void assert_all_arrived(const struct findings *found, uint32_t count)
{
	assert_false(found->was_not_woken);
	assert_int_equal(found->torn, 0);
	assert_int_equal(found->disordered, 0);
	assert_int_equal(found->count, count);
	assert_int_equal(found->next, count);
}

static void a_million_records_arrive(void **state)
{
	struct findings found;

	(void)state;
	set_indices(0u - RECORDS / 2);
	producer = (struct producer){.count = RECORDS, .most = 2 * SMALL, .waits = true};
	start_producer();
	found = consume_asleep(RECORDS, 3 * SMALL);
	stop_producer();
	assert_all_arrived(&found, RECORDS);
}

/* The consumer never sleeps here, so nothing but the ring's own ordering holds it together. */
static void what_does_not_fit_is_counted(void **state)
{
	struct findings found = {0};
	bool has_ended;

	(void)state;
	producer = (struct producer){.count = RECORDS, .most = 4 * SMALL};
	start_producer();
	do {
		has_ended = atomic_load_explicit(&producer.has_ended, memory_order_relaxed);
		(void)drain(&found, UINT32_MAX);
	} while (!has_ended);
	stop_producer();
	(void)drain(&found, UINT32_MAX);
	assert_int_equal(found.torn, 0);
	assert_int_equal(found.disordered, 0);
	assert_true(producer.lost > 0);
	assert_true(found.count >= SMALL);
	assert_int_equal(found.count + producer.lost, RECORDS);
}

/* Every batch comes just when the consumer goes to sleep. */
static void whoever_sleeps_is_woken(void **state)
{
	struct findings found;

	(void)state;
	for (uint32_t most = 1; most <= 3; most++) {
		producer = (struct producer){
			.count = NAPS, .most = most, .waits = true, .waits_for_nap = true};
		start_producer();
		found = consume_asleep(NAPS, UINT32_MAX);
		stop_producer();
		assert_all_arrived(&found, NAPS);
		assert_true(found.slept > 1);
	}
}

/* One push and one look at the empty ring, at the same moment, again and again. */
struct meeting {
	_Atomic uint32_t begun; /* number of the meeting, said by the consumer */
	_Atomic uint32_t pushed;
};

static struct meeting meeting;

static void wait_until(const _Atomic uint32_t *number, uint32_t wanted)
{
	for (unsigned spins = 0; atomic_load_explicit(number, memory_order_acquire) != wanted;)
		if (++spins % 1024 == 0)
			sched_yield();
}

/* Moves the two against each other by up to some hundred nanoseconds. */
static void dawdle(struct dice *dice)
{
	for (uint32_t left = dice_below(dice, 1024); left > 0; left--)
		atomic_signal_fence(memory_order_seq_cst);
}

static void *push_at_meetings(void *argument)
{
	struct dice dice = dice_for("push_at_meetings");

	for (uint32_t number = 1; number <= MEETINGS; number++) {
		wait_until(&meeting.begun, number);
		dawdle(&dice);
		(void)push(number);
		ring_wake(&ring);
		atomic_store_explicit(&meeting.pushed, number, memory_order_release);
	}
	return argument;
}

/* Whoever was answered NULL is woken: the two sides' barriers, without the time a sleep takes. */
static void a_push_is_seen_or_wakes(void **state)
{
	struct dice dice = dice_for(__func__);
	uint32_t unseen = 0, misread = 0;
	pthread_t thread;

	(void)state;
	/* the flag that says whether to wake is taken back: from here on the consumer is awake */
	assert_true(push(0));
	ring_wake(&ring);
	assert_int_equal(wake_ups(), 1);
	assert_pop(0);
	meeting = (struct meeting){0};
	assert_int_equal(pthread_create(&thread, NULL, push_at_meetings, NULL), 0);
	for (uint32_t number = 1; number <= MEETINGS; number++) {
		const struct record *record;

		atomic_store_explicit(&meeting.begun, number, memory_order_release);
		dawdle(&dice);
		record = ring_front(&ring);
		wait_until(&meeting.pushed, number);
		unseen += wake_ups() == 0 && record == NULL;
		record = ring_front(&ring);
		misread += record == NULL || record->number != number;
		ring_pop(&ring);
	}
	pthread_join(thread, NULL);
	assert_int_equal(unseen, 0);
	assert_int_equal(misread, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_that_are_none),
		cmocka_unit_test(no_descriptor_is_left),
		cmocka_unit_test(closing_a_closed_ring),
		cmocka_unit_test_setup_teardown(full_and_empty, start, finish),
		cmocka_unit_test_setup_teardown(order_across_the_wrap, start, finish),
		cmocka_unit_test(slots_are_apart_aligned_and_used_again),
		cmocka_unit_test_setup_teardown(what_is_not_pushed_is_not_there, start, finish),
		cmocka_unit_test_setup_teardown(one_wake_up_for_a_batch, start, finish),
		cmocka_unit_test_setup_teardown(a_flood_wakes_once, start, finish),
		cmocka_unit_test_setup_teardown(what_waits_is_told_without_a_word_of_sleep, start,
						finish),
		cmocka_unit_test_setup_teardown(a_million_records_arrive, start, finish),
		cmocka_unit_test_setup_teardown(what_does_not_fit_is_counted, start, finish),
		cmocka_unit_test_setup_teardown(whoever_sleeps_is_woken, start, finish),
		cmocka_unit_test_setup_teardown(a_push_is_seen_or_wakes, start, finish),
	};

	return report_seed(cmocka_run_group_tests_name("ring", tests, NULL, NULL));
}
