/* A worker's life; see worker.h for the theory of operation. */
#include "worker/worker.h"

#include "base/clock.h"
#include "base/rcu.h"
#include "worker/busy_poll.h"
#include "worker/inbound.h"
#include "worker/outbound.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WATCH_RING, WATCH_SOCKET, WATCH_QUEUE, WATCH_COUNT };

/* Only the worker's own thread touches it, but for the atomic fields. */
struct worker {
	struct socket_record sockets;
	struct ring *orders; /* new sockets; it also wakes */
	struct notices *notices;
	_Atomic bool is_stopping;
	pthread_t thread;
	struct busy_poll busy_poll;
	struct counters counters;
	struct inbound inbound;
	struct outbound outbound;
};

static void init_inbound(struct worker *worker, const struct worker_settings *settings)
{
	struct inbound *inbound = &worker->inbound;

	inbound->peers = settings->peers;
	inbound->counters = &worker->counters;
	inbound->notices = settings->notices;
	inbound->to_control = &settings->channel->to_control;
	inbound->writer.queue = settings->queue;
	inbound->writer.counters = &worker->counters;
	inbound->writer.notices = settings->notices;
	inbound->worker = settings->number;
	inbound->own_port = settings->own_port;
	inbound_batch_init(&inbound->writer.batch, settings->with_vnet_header);
}

static void init_outbound(struct worker *worker, const struct worker_settings *settings)
{
	struct outbound *outbound = &worker->outbound;

	outbound->peers = settings->peers;
	outbound->counters = &worker->counters;
	outbound->notices = settings->notices;
	outbound->queue = settings->queue;
	outbound->with_vnet_header = settings->with_vnet_header;
	outbound->own_port = settings->own_port;
	outbound->rejecter.queue = settings->queue;
	outbound->rejecter.with_vnet_header = settings->with_vnet_header;
	outbound->rejecter.counters = &worker->counters;
	udp_sender_init(&outbound->sender, settings->may_segment);
	outbound_batch_clear(&outbound->batch, udp_sender_message_segments(&outbound->sender));
	outbound->arena = mmap(NULL, OUTBOUND_ARENA_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

struct worker *worker_create(const struct worker_settings *settings,
			     const struct socket_record *sockets)
{
	struct worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) & ~(size_t)63);

	if (worker == NULL)
		return NULL;
	memset(worker, 0, sizeof(*worker));
	worker->orders = &settings->channel->to_worker;
	worker->notices = settings->notices;
	worker->sockets = (struct socket_record){-1, -1};
	busy_poll_init(&worker->busy_poll, settings->busy_poll);
	init_inbound(worker, settings);
	init_outbound(worker, settings);
	if (worker->outbound.arena == MAP_FAILED || !udp_receiver_init(&worker->inbound.receiver)) {
		worker_destroy(worker);
		return NULL;
	}
	worker->sockets = *sockets;
	path_mtu_cache_init(&worker->outbound.path_mtu, sockets->path_mtu_socket);
	return worker;
}

static void close_sockets(struct worker *worker)
{
	if (worker->sockets.socket >= 0)
		close(worker->sockets.socket);
	if (worker->sockets.path_mtu_socket >= 0)
		close(worker->sockets.path_mtu_socket);
}

void worker_destroy(struct worker *worker)
{
	close_sockets(worker);
	if (worker->outbound.arena != MAP_FAILED)
		munmap(worker->outbound.arena, OUTBOUND_ARENA_SIZE);
	udp_receiver_free(&worker->inbound.receiver);
	free(worker);
}

/* Takes new sockets, the last ones where several came. */
static void take_orders(struct worker *worker)
{
	const struct socket_record *record;

	ring_answer(worker->orders);
	while ((record = ring_front(worker->orders)) != NULL) {
		close_sockets(worker);
		worker->sockets = *record;
		ring_pop(worker->orders);
		outbound_renew(&worker->outbound, worker->sockets.path_mtu_socket);
	}
}

/* Which events to wait for follows from what is full. */
static void set_watches(const struct worker *worker, struct pollfd *watches)
{
	bool in_blocked = worker->inbound.writer.is_blocked;
	bool out_blocked = worker->outbound.is_blocked;

	watches[WATCH_SOCKET].fd = worker->sockets.socket;
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
	(void)getsockopt(worker->sockets.socket, SOL_SOCKET, SO_ERROR, &error, &size);
}

static struct round begin_round(void)
{
	uint64_t milliseconds = monotonic_milliseconds();

	return (struct round){milliseconds, (uint32_t)(milliseconds / 1000)};
}

/* One round. Between two calls the thread is offline for RCU. */
static void carry(struct worker *worker, struct pollfd *watches)
{
	short socket = watches[WATCH_SOCKET].revents;
	short queue = watches[WATCH_QUEUE].revents;
	struct carried in = {0}, out = {0};
	struct round round = begin_round();

	if (socket & POLLERR)
		clear_socket_error(worker);
	if (queue & (POLLERR | POLLNVAL)) {
		watches[WATCH_QUEUE].fd = -1;
		notices_raise(worker->notices, NOTICE_TUNNEL_GONE);
		return;
	}
	if ((socket & POLLIN) || (queue & POLLOUT))
		in = inbound_run(&worker->inbound, worker->sockets.socket, &round);
	if ((queue & POLLIN) || (socket & POLLOUT))
		out = outbound_run(&worker->outbound, worker->sockets.socket, &round);
	busy_poll_carried(&worker->busy_poll, in.bytes + out.bytes, in.segments + out.segments);
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

static bool is_stopping(const struct worker *worker)
{
	return atomic_load_explicit(&worker->is_stopping, memory_order_relaxed);
}

static void *run(void *argument)
{
	struct worker *worker = argument;
	struct pollfd watches[WATCH_COUNT] = {
		[WATCH_RING] = {.fd = ring_event(worker->orders), .events = POLLIN},
		[WATCH_QUEUE] = {.fd = worker->inbound.writer.queue},
	};

	rcu_thread_register();
	while (!is_stopping(worker)) {
		int ready;

		set_watches(worker, watches);
		rcu_thread_offline();
		ready = wait_for_events(worker, watches);
		rcu_thread_online();
		if (ready <= 0)
			continue;
		if (watches[WATCH_RING].revents & POLLIN)
			take_orders(worker);
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

void worker_stop(struct worker *worker)
{
	atomic_store_explicit(&worker->is_stopping, true, memory_order_relaxed);
	(void)eventfd_write(ring_event(worker->orders), 1);
}

void worker_join(struct worker *worker)
{
	pthread_join(worker->thread, NULL);
}

const struct counters *worker_counters(const struct worker *worker)
{
	return &worker->counters;
}
