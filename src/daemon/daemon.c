/* Set-up and take-down, in their order; see daemon.h. */
#include "daemon/daemon.h"

#include "base/log.h"
#include "base/rcu.h"
#include "control/control.h"
#include "daemon/messages.h"
#include "io/path_mtu.h"
#include "link/link.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PROVISIONAL_PART = 4 }; /* one entry in so many may be, rule R7 */

_Static_assert((int)MAX_THREADS == (int)TUN_MAX_QUEUES, "each worker has a queue");

/* Everything that is taken down in the reverse order. */
struct program {
	const struct options *options;
	struct outputs outputs;
	struct control *control;
	struct tun_interface tun;
	struct peers peers;
	struct exchange exchange;
	struct worker *workers[MAX_THREADS];
	size_t worker_count;
	size_t running;
	bool has_sockets;
	bool is_carrying; /* all workers run */
};

static size_t default_threads(const struct options *options)
{
	cpu_set_t cpus = options->cpus;
	size_t count, most = MAX_THREADS;

	/* one port and one far end are one socket: more workers would only wait */
	if (!options_server_mode(options) && !options->port_per_worker)
		return 1;
	if (CPU_COUNT(&cpus) == 0 && sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 1;
	count = (size_t)CPU_COUNT(&cpus);
	if (options->port_per_worker && UINT16_MAX + 1 - options->listen_port < most)
		most = UINT16_MAX + 1 - options->listen_port;
	return count < most ? count : most;
}

/* A name that is no device's is the usual mistake; it gets words of its own. */
static bool wan_is_there(const char *name)
{
	struct link_state wan;
	int error = link_read(name, &wan);

	if (error < 0) {
		log_error("cannot read interface %s: %s", name, strerror(-error));
		return false;
	}
	if (wan.ifindex == 0)
		log_error("interface %s (--bind-to-interface) is not there: see 'ip link' for the "
			  "names",
			  name);
	return wan.ifindex != 0;
}

static void close_sockets(const int *sockets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (sockets[i] >= 0)
			close(sockets[i]);
	}
}

/* With --wait-for-device there are none yet, all negative, when the device is not there. */
static bool open_sockets(const struct options *options, int *sockets, size_t count)
{
	struct udp_socket_settings settings = control_socket_settings(options);
	struct udp_socket_failure failure;

	if (udp_sockets_open(&settings, sockets, count, &failure))
		return true;
	if (options->wait_for_device && failure.step == UDP_SOCKET_GETS_DEVICE &&
	    failure.error == ENODEV) {
		for (size_t i = 0; i < count; i++)
			sockets[i] = -1;
		return true;
	}
	message_socket_failure(&settings, &failure);
	return false;
}

/* Sockets are there, now or on a device that came later. @socket: one of them */
static void has_sockets(void *state, int socket)
{
	struct program *program = state;
	struct udp_socket_buffers buffers = udp_socket_buffers_of(socket, program->worker_count);

	message_socket_buffers(&buffers, program->worker_count); /* the others' are like it */
	program->has_sockets = true;
	if (program->is_carrying)
		message_ready(program->options, program->worker_count);
}

static bool open_tunnel(struct program *program, size_t threads)
{
	const struct options *options = program->options;
	struct tun_failure failure;
	bool is_open = tun_interface_open(&program->tun, options->interface, threads,
					  options->tun_offload, &failure);

	message_tun_gaps(&program->tun);
	if (!is_open)
		message_tun_failure(options->interface, &failure);
	return is_open;
}

static enum peers_policy policy_of(const struct options *options)
{
	if (options_server_mode(options))
		return PEERS_OPEN_SERVER;
	return options->solicited_only ? PEERS_SOLICITED_ENDPOINT : PEERS_ENDPOINT;
}

static bool open_peers(struct program *program)
{
	const struct options *options = program->options;
	const struct peers_settings settings = {
		.policy = policy_of(options),
		.endpoint_port = htons((uint16_t)options->endpoint_port),
		.connection_timeout = options->connection_timeout,
		.answer_time = peers_answer_time(options->keepalive),
		.max_payload = (options->mtu > 0 ? options->mtu : DEFAULT_MAX_TUNNEL_MTU) - 20,
		.store = {.max_entries = options_max_connections(options),
			  .quarantine = options->address_quarantine,
			  .gives_tunnel_address = options_server_mode(options),
			  .provisional_part = options_server_mode(options) ? PROVISIONAL_PART : 0,
			  .keeps_records = options->log_peers},
	};

	if (peers_open(&program->peers, &settings))
		return true;
	log_error("no memory for %u connections (--max-connections)", settings.store.max_entries);
	return false;
}

static bool open_exchange(struct program *program)
{
	int error = exchange_open(&program->exchange, program->tun.queue_count);

	if (error < 0)
		log_error("no memory or descriptors for %zu workers (--threads)",
			  program->tun.queue_count);
	return error == 0;
}

static struct worker *create_worker(struct program *program, size_t number, int socket)
{
	const struct options *options = program->options;
	const struct worker_settings settings = {
		.number = (uint16_t)number,
		.own_port = options_own_port(options, number),
		.queue = program->tun.queues[number],
		.with_vnet_header = program->tun.has_vnet_header,
		.may_segment = options->udp_segmentation,
		.busy_poll = (uint64_t)options->busy_poll * 1000,
		.peers = &program->peers,
		.notices = &program->exchange.notices,
		.channel = &program->exchange.channels[number],
	};
	struct socket_record sockets = {socket, -1};
	struct worker *worker;

	/* a device that went in this moment: without the socket path MTUs are unknown until it is
	 * back and there are new ones */
	sockets.path_mtu_socket = path_mtu_socket_open(options->bind_to_interface, options->fwmark);
	worker = worker_create(&settings, &sockets);
	if (worker == NULL && sockets.path_mtu_socket >= 0)
		close(sockets.path_mtu_socket);
	return worker;
}

/* Sockets belong to the workers from here on; those that no worker took are closed. */
static bool create_workers(struct program *program, const int *sockets)
{
	size_t count = program->tun.queue_count;

	while (program->worker_count < count) {
		size_t number = program->worker_count;

		program->workers[number] = create_worker(program, number, sockets[number]);
		if (program->workers[number] == NULL)
			break;
		program->worker_count++;
	}
	if (program->worker_count == count)
		return true;
	close_sockets(sockets + program->worker_count, count - program->worker_count);
	log_error("no memory or descriptors for %zu workers (--threads)", count);
	return false;
}

/* Sockets in excess of the queues are closed, all of them when something failed. */
static bool open_inside(struct program *program, const int *sockets, size_t threads)
{
	bool is_open = open_tunnel(program, threads) && open_peers(program) &&
		       open_exchange(program);
	size_t used = is_open ? program->tun.queue_count : 0;

	close_sockets(sockets + used, threads - used);
	return is_open;
}

/*
 * The port is taken before the interface is touched, so that a second start by mistake changes
 * nothing, unless there is a device to wait for (wan.h); when flows cannot be steered there are
 * fewer queues than sockets.
 */
static bool set_up(struct program *program, size_t threads)
{
	const struct options *options = program->options;
	struct control_settings control = {
		.options = options,
		.outputs = &program->outputs,
		.tun = &program->tun,
		.peers = &program->peers,
		.exchange = &program->exchange,
		.workers = program->workers,
		.has_sockets = has_sockets,
		.has_sockets_state = program,
	};
	int sockets[MAX_THREADS];

	if (!options->wait_for_device && !wan_is_there(options->bind_to_interface))
		return false;
	if (!open_sockets(options, sockets, threads))
		return false;
	if (!open_inside(program, sockets, threads))
		return false;
	if (options->port_per_worker)
		tun_interface_drain(&program->tun);
	if (!create_workers(program, sockets))
		return false;
	if (sockets[0] >= 0)
		has_sockets(program, sockets[0]);
	control.worker_count = program->worker_count;
	control.sockets = sockets;
	return control_set_up(program->control, &control);
}

static void report_cpu(size_t cpu, int error)
{
	log_error("cannot run a worker on CPU %zu (--cpus): %s; see 'lscpu' for those that are "
		  "there",
		  cpu, strerror(error));
}

/* Tries each of them with this thread, before anything is touched that a mistake should not. */
static bool cpus_are_there(const cpu_set_t *cpus)
{
	cpu_set_t before;
	bool are_there = true;

	if (CPU_COUNT(cpus) == 0 || sched_getaffinity(0, sizeof(before), &before) < 0)
		return true;
	for (size_t cpu = 0; are_there && cpu < CPU_SETSIZE; cpu++) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (!CPU_ISSET(cpu, cpus) || sched_setaffinity(0, sizeof(one), &one) == 0)
			continue;
		report_cpu(cpu, errno);
		are_there = false;
	}
	(void)sched_setaffinity(0, sizeof(before), &before);
	return are_there;
}

/* Workers take turns on the CPUs of --cpus. */
static bool pin_worker(const struct program *program, size_t number)
{
	const cpu_set_t *cpus = &program->options->cpus;
	size_t left, cpu = 0;
	int error;

	if (CPU_COUNT(cpus) == 0)
		return true;
	left = number % (size_t)CPU_COUNT(cpus);
	while (!CPU_ISSET(cpu, cpus) || left-- > 0)
		cpu++;
	error = worker_pin(program->workers[number], cpu);
	if (error != 0)
		report_cpu(cpu, error);
	return error == 0;
}

static bool start_workers(struct program *program)
{
	while (program->running < program->worker_count) {
		int error = worker_start(program->workers[program->running]);

		if (error != 0) {
			log_error("cannot start a thread: %s", strerror(error));
			return false;
		}
		program->running++;
		if (!pin_worker(program, program->running - 1))
			return false;
	}
	return true;
}

/* Each worker has some descriptors, and a usual limit of 1,024 is not meant for hundreds of them.
 */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	/* where it is refused, opening says so when they run out */
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int run(struct program *program)
{
	const struct options *options = program->options;
	enum control_outcome outcome;

	if (!cpus_are_there(&options->cpus) ||
	    !set_up(program, options->threads > 0 ? options->threads : default_threads(options)) ||
	    !start_workers(program))
		return EXIT_FAILED;
	program->is_carrying = true;
	if (program->has_sockets)
		message_ready(options, program->worker_count);
	outcome = control_run(program->control);
	if (outcome == CONTROL_LOST_TUNNEL)
		log_error(
			"tunnel interface %s was deleted or moved to another namespace: start the "
			"program again to have it made anew",
			options->interface);
	return outcome == CONTROL_WAS_STOPPED ? EXIT_CLEAN : EXIT_FAILED;
}

static void stop_workers(struct program *program)
{
	for (size_t i = 0; i < program->running; i++)
		worker_stop(program->workers[i]);
	/* a worker's last round may end while this thread waits: it must not be waited for */
	rcu_thread_offline();
	for (size_t i = 0; i < program->running; i++)
		worker_join(program->workers[i]);
	rcu_thread_online();
}

static void take_down(struct program *program)
{
	if (program->running > 0) {
		stop_workers(program);
		control_say_goodbye(program->control);
	}
	for (size_t i = 0; i < program->worker_count; i++)
		worker_destroy(program->workers[i]);
	control_close(program->control);
	exchange_close(&program->exchange);
	peers_close(&program->peers);
	tun_interface_close(&program->tun);
}

static int run_with_control(struct program *program)
{
	int status;

	program->control = control_open();
	if (program->control == NULL)
		return EXIT_FAILED;
	rcu_thread_register();
	status = run(program);
	take_down(program);
	rcu_thread_unregister();
	return status;
}

int daemon_run(const struct options *options)
{
	static struct program program;
	int status;

	program.options = options;
	log_set_level(options->log_level);
	outputs_open(&program.outputs);
	allow_descriptors();
	status = run_with_control(&program);
	outputs_close(&program.outputs);
	return status;
}
