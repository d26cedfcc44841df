/* A crowd of threads; see crowd.h. */
#include "crowd.h"

#include "base/rcu.h"
#include "stopwatch.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

/* One thread; what it writes all the time has a cache line of its own. */
struct member {
	_Alignas(64) _Atomic uint64_t done;
	double began;
	double ended;
	struct crowd *crowd;
	size_t number;
	pthread_t thread;
};

struct crowd {
	size_t threads;
	crowd_work *work;
	void *argument;
	_Atomic size_t arrived;
	_Atomic bool is_stopping;
	struct member members[CROWD_MAX_THREADS];
};

/* All begin together. A sleep and a wake-up would take longer than a small share of work. */
static void wait_for_others(struct crowd *crowd)
{
	atomic_fetch_add(&crowd->arrived, 1);
	while (atomic_load(&crowd->arrived) < crowd->threads)
		sched_yield();
}

static void *run(void *argument)
{
	struct member *member = argument;
	struct crowd *crowd = member->crowd;
	uint64_t done = 0;
	size_t batch;

	rcu_thread_register();
	wait_for_others(crowd);
	member->began = stopwatch_now();
	do {
		batch = crowd->work(crowd->argument, member->number, done);
		done += batch;
		atomic_store_explicit(&member->done, done, memory_order_relaxed);
		rcu_quiescent();
	} while (batch > 0 && !atomic_load_explicit(&crowd->is_stopping, memory_order_relaxed));
	member->ended = stopwatch_now();
	rcu_thread_unregister();
	return NULL;
}

static void start(struct crowd *crowd, size_t threads, crowd_work *work, void *argument)
{
	*crowd = (struct crowd){.threads = threads, .work = work, .argument = argument};
	for (size_t i = 0; i < threads; i++) {
		struct member *member = &crowd->members[i];

		member->crowd = crowd;
		member->number = i;
		errno = pthread_create(&member->thread, NULL, run, member);
		if (errno != 0)
			err(1, "cannot start a thread");
	}
}

static void join(struct crowd *crowd)
{
	for (size_t i = 0; i < crowd->threads; i++)
		pthread_join(crowd->members[i].thread, NULL);
}

static uint64_t all_done(const struct crowd *crowd)
{
	uint64_t done = 0;

	for (size_t i = 0; i < crowd->threads; i++)
		done += atomic_load_explicit(&crowd->members[i].done, memory_order_relaxed);
	return done;
}

static void sleep_for(double seconds)
{
	struct timespec left = {.tv_sec = (time_t)seconds};

	left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

double crowd_rate(size_t threads, double seconds, crowd_work *work, void *argument)
{
	static struct crowd crowd;
	uint64_t before, after;
	double began, ended;

	rcu_thread_offline();
	start(&crowd, threads, work, argument);
	sleep_for(seconds < 1 ? seconds / 4 : 0.25); /* warm-up */
	began = stopwatch_now();
	before = all_done(&crowd);
	sleep_for(seconds);
	ended = stopwatch_now();
	after = all_done(&crowd);
	atomic_store(&crowd.is_stopping, true);
	join(&crowd);
	rcu_thread_online();
	return (double)(after - before) / (ended - began);
}

double crowd_once(size_t threads, crowd_work *work, void *argument)
{
	static struct crowd crowd;
	double began, ended;

	rcu_thread_offline();
	start(&crowd, threads, work, argument);
	join(&crowd);
	rcu_thread_online();
	began = crowd.members[0].began;
	ended = crowd.members[0].ended;
	for (size_t i = 1; i < threads; i++) {
		if (crowd.members[i].began < began)
			began = crowd.members[i].began;
		if (crowd.members[i].ended > ended)
			ended = crowd.members[i].ended;
	}
	return ended - began;
}
