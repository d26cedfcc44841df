/* A worker's life; see worker.h for the theory of operation. */
#include "worker/worker_state.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WATCH_WAKE, WATCH_SOCKET, WATCH_QUEUE, WATCH_COUNT };

static int open_path_mtu_socket(const struct forwarding *forwarding)
{
	return path_mtu_socket_open(forwarding->options->bind_to_interface,
				    forwarding->options->fwmark);
}

struct worker *worker_create(struct forwarding *forwarding, size_t number, int queue, int socket)
{
	struct worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) & ~(size_t)63);

	if (worker == NULL)
		return NULL;
	memset(worker, 0, sizeof(*worker));
	worker->forwarding = forwarding;
	worker->own_port = options_own_port(forwarding->options, number);
	worker->queue = queue;
	atomic_store(&worker->next_socket, -1);
	busy_poll_init(&worker->busy_poll, (uint64_t)forwarding->options->busy_poll * 1000);
	path_mtu_cache_init(&worker->path_mtu, open_path_mtu_socket(forwarding));
	inbound_batch_init(&worker->inbound.batch, forwarding->with_vnet_header);
	udp_sender_init(&worker->outbound.sender, forwarding->options->offload);
	outbound_batch_clear(&worker->outbound.batch,
			     udp_sender_message_segments(&worker->outbound.sender));
	worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->outbound.arena = mmap(NULL, OUTBOUND_ARENA_SIZE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	worker->socket = -1;
	if (worker->wake < 0 || worker->path_mtu.fd < 0 || worker->outbound.arena == MAP_FAILED ||
	    !udp_receiver_init(&worker->inbound.receiver)) {
		worker_destroy(worker);
		return NULL;
	}
	worker->socket = socket;
	return worker;
}

void worker_destroy(struct worker *worker)
{
	int next = atomic_load(&worker->next_socket);

	if (worker->wake >= 0)
		close(worker->wake);
	if (worker->path_mtu.fd >= 0)
		close(worker->path_mtu.fd);
	if (worker->socket >= 0)
		close(worker->socket);
	if (next >= 0)
		close(next);
	if (worker->outbound.arena != MAP_FAILED)
		munmap(worker->outbound.arena, OUTBOUND_ARENA_SIZE);
	udp_receiver_free(&worker->inbound.receiver);
	free(worker);
}

/*
 * A fresh socket is on another device, or on one that came back: offloads get another chance, from
 * the next batch on, and the path MTU is asked for there. Without a descriptor for that it is
 * unknown, and nobody is told of it; the thread may open one, because this happens only then.
 */
static void take_new_socket(struct worker *worker)
{
	int socket = atomic_exchange(&worker->next_socket, -1);

	if (socket < 0)
		return;
	close(worker->socket);
	worker->socket = socket;
	udp_sender_renew(&worker->outbound.sender);
	if (worker->path_mtu.fd >= 0)
		close(worker->path_mtu.fd);
	path_mtu_cache_init(&worker->path_mtu, open_path_mtu_socket(worker->forwarding));
}

static void answer_wake(struct worker *worker)
{
	eventfd_t ignored;

	(void)eventfd_read(worker->wake, &ignored);
	take_new_socket(worker);
}

/* Which events to wait for follows from what is full. */
static void set_watches(const struct worker *worker, struct pollfd *watches)
{
	bool in_blocked = worker->inbound.is_blocked;
	bool out_blocked = worker->outbound.is_blocked;

	watches[WATCH_SOCKET].fd = worker->socket;
	watches[WATCH_SOCKET].events = (short)((in_blocked ? 0 : POLLIN) |
					       (out_blocked ? POLLOUT : 0));
	watches[WATCH_QUEUE].events = (short)((out_blocked ? 0 : POLLIN) |
					      (in_blocked ? POLLOUT : 0));
}

static void clear_socket_error(const struct worker *worker)
{
	int error;
	socklen_t size = sizeof(error);

	/* reading it clears it; without IP_RECVERR it is about nothing that was sent here */
	(void)getsockopt(worker->socket, SOL_SOCKET, SO_ERROR, &error, &size);
}

static uint64_t sum_of(const struct worker *worker, enum counter in, enum counter out)
{
	return counter_read(&worker->counters, in) + counter_read(&worker->counters, out);
}

/* One round. Between two calls the thread is offline for RCU. */
static void carry(struct worker *worker, struct pollfd *watches)
{
	short socket = watches[WATCH_SOCKET].revents;
	short queue = watches[WATCH_QUEUE].revents;
	uint64_t bytes = sum_of(worker, COUNTER_in_bytes, COUNTER_out_bytes);
	uint64_t segments = sum_of(worker, COUNTER_in_segments, COUNTER_out_segments);

	worker->milliseconds = monotonic_milliseconds();
	worker->now = (uint32_t)(worker->milliseconds / 1000);
	if (socket & POLLERR)
		clear_socket_error(worker);
	if (queue & (POLLERR | POLLNVAL)) {
		watches[WATCH_QUEUE].fd = -1;
		notices_raise(&worker->forwarding->notices, NOTICE_TUNNEL_GONE);
		return;
	}
	if ((socket & POLLIN) || (queue & POLLOUT))
		inbound_run(worker);
	if ((queue & POLLIN) || (socket & POLLOUT))
		outbound_run(worker);
	busy_poll_carried(&worker->busy_poll,
			  sum_of(worker, COUNTER_in_bytes, COUNTER_out_bytes) - bytes,
			  sum_of(worker, COUNTER_in_segments, COUNTER_out_segments) - segments);
}

/* Looks again and again until something is there or the limit has passed. */
static int poll_busily(const struct worker *worker, struct pollfd *watches, uint64_t start)
{
	int ready;

	do {
		ready = poll(watches, WATCH_COUNT, 0);
		if (ready != 0)
			break;
		sched_yield();
	} while (monotonic_nanoseconds() - start < worker->busy_poll.limit);
	return ready;
}

/* Waits until a descriptor is ready. */
static int wait_for_events(struct worker *worker, struct pollfd *watches)
{
	uint64_t start;
	int ready = 0;

	if (worker->busy_poll.limit == 0)
		return poll(watches, WATCH_COUNT, -1);
	start = monotonic_nanoseconds();
	if (busy_poll_pays(&worker->busy_poll))
		ready = poll_busily(worker, watches, start);
	if (ready == 0)
		ready = poll(watches, WATCH_COUNT, -1);
	busy_poll_waited(&worker->busy_poll, monotonic_nanoseconds() - start);
	return ready;
}

static void *run(void *argument)
{
	struct worker *worker = argument;
	struct forwarding *forwarding = worker->forwarding;
	struct pollfd watches[WATCH_COUNT] = {
		[WATCH_WAKE] = {.fd = worker->wake, .events = POLLIN},
		[WATCH_QUEUE] = {.fd = worker->queue},
	};

	rcu_thread_register();
	while (!atomic_load_explicit(&forwarding->is_stopping, memory_order_relaxed)) {
		int ready;

		set_watches(worker, watches);
		rcu_thread_offline();
		ready = wait_for_events(worker, watches);
		rcu_thread_online();
		if (ready <= 0)
			continue;
		if (watches[WATCH_WAKE].revents & POLLIN)
			answer_wake(worker);
		else
			carry(worker, watches);
	}
	rcu_thread_unregister();
	return NULL;
}

int worker_start(struct worker *worker)
{
	return pthread_create(&worker->thread, NULL, run, worker);
}

int worker_pin(struct worker *worker, size_t cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	return pthread_setaffinity_np(worker->thread, sizeof(cpus), &cpus);
}

void worker_join(struct worker *worker)
{
	pthread_join(worker->thread, NULL);
}

void worker_wake(struct worker *worker)
{
	(void)eventfd_write(worker->wake, 1);
}

void worker_replace_socket(struct worker *worker, int socket)
{
	int unused = atomic_exchange(&worker->next_socket, socket);

	if (unused >= 0)
		close(unused);
	worker_wake(worker);
}

const struct counters *worker_counters(const struct worker *worker)
{
	return &worker->counters;
}
