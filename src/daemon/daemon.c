/* Set-up and take-down, in their order; see daemon.h. */
#include "daemon/daemon.h"

#include "base/log.h"
#include "control/control.h"
#include "io/udp_socket.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Everything that is taken down in the reverse order. */
struct program {
	struct options options;
	struct forwarding forwarding;
	struct tun_interface tun;
	struct control control;
	struct worker *workers[MAX_THREADS];
	size_t worker_count;
	size_t running;
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

/* The index of the bound device, or 0 after an error was logged. */
static unsigned find_wan(const char *name)
{
	struct link_state wan;
	int error = link_read(name, &wan);

	if (error < 0) {
		log_error("cannot read interface %s: %s", name, strerror(-error));
		return 0;
	}
	if (wan.index == 0)
		log_error("interface %s (--bind-to-interface) is not there: see 'ip link' for the "
			  "names",
			  name);
	return wan.index;
}

static bool open_sockets(const struct options *options, int *sockets, size_t count)
{
	struct udp_socket_settings settings = udp_socket_settings_of(options);
	struct udp_socket_failure failure;

	if (udp_sockets_open(&settings, sockets, count, &failure))
		return true;
	if (failure.error == EADDRINUSE)
		log_error("UDP port %u on %s is taken by another process: stop that one (see 'ss "
			  "-ulpn'), or choose another --listen-port",
			  failure.port, options->bind_to_interface);
	else if (failure.error == EPERM || failure.error == EACCES)
		log_error(
			"no permission to %s: run as root or with CAP_NET_ADMIN, CAP_NET_RAW and, "
			"for ports below 1024, CAP_NET_BIND_SERVICE",
			failure.step);
	else
		log_error("cannot %s: %s", failure.step, strerror(failure.error));
	return false;
}

static bool create_store(struct program *program)
{
	const struct options *options = &program->options;
	struct connection_store_settings settings = {
		.max_entries = options_max_connections(options),
		.quarantine = options->address_quarantine,
		.gives_tunnel_address = options_server_mode(options),
		.keeps_records = options->log_peers,
	};

	program->forwarding.store = connection_store_create(&settings);
	if (program->forwarding.store == NULL)
		log_error("no memory for %u connections (--max-connections)", settings.max_entries);
	return program->forwarding.store != NULL;
}

/* Sockets whose worker could not be made are closed; those of workers belong to them. */
static bool create_workers(struct program *program, const int *sockets, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		program->workers[i] = worker_create(&program->forwarding, i, program->tun.queues[i],
						    sockets[i]);
		if (program->workers[i] == NULL)
			break;
		program->worker_count++;
	}
	if (i == count)
		return true;
	for (; i < count; i++)
		close(sockets[i]);
	log_error("no memory or descriptors for %zu workers (--threads)", count);
	return false;
}

/*
 * The port is taken before the interface is touched, so that a second start by mistake changes
 * nothing; when flows cannot be steered there are fewer queues than sockets, and those in excess
 * are closed again.
 */
static bool open_paths(struct program *program, size_t threads)
{
	const struct options *options = &program->options;
	int sockets[MAX_THREADS];
	/* read before the sockets are bound: a device that is replaced in between is noticed later
	 */
	unsigned wan = find_wan(options->bind_to_interface);
	bool is_open;

	if (wan == 0 || !open_sockets(options, sockets, threads))
		return false;
	is_open = tun_interface_open(&program->tun, options->interface, threads,
				     options->offload) &&
		  create_store(program);
	for (size_t i = is_open ? program->tun.queue_count : 0; i < threads; i++)
		close(sockets[i]);
	if (!is_open)
		return false;
	if (options->port_per_worker)
		tun_interface_drain(&program->tun);
	program->forwarding.with_vnet_header = program->tun.has_vnet_header;
	program->forwarding.max_payload =
		(options->mtu > 0 ? options->mtu : DEFAULT_MAX_TUNNEL_MTU) - 20;
	if (!create_workers(program, sockets, program->tun.queue_count))
		return false;
	udp_socket_log_limits(sockets[0]); /* the others are like it */
	return control_set_workers(&program->control, program->workers, program->worker_count,
				   sockets, wan);
}

/* Workers take turns on the CPUs of --cpus. */
static bool pin_worker(const struct program *program, size_t number)
{
	const cpu_set_t *cpus = &program->options.cpus;
	size_t left, cpu = 0;
	int error;

	if (CPU_COUNT(cpus) == 0)
		return true;
	left = number % (size_t)CPU_COUNT(cpus);
	while (!CPU_ISSET(cpu, cpus) || left-- > 0)
		cpu++;
	error = worker_pin(program->workers[number], cpu);
	if (error == 0)
		return true;
	log_error("cannot run a worker on CPU %zu (--cpus): %s; see 'lscpu' for those that are "
		  "there",
		  cpu, strerror(error));
	return false;
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

static void log_ready(const struct program *program)
{
	const struct options *options = &program->options;
	char ports[32];

	if (options->port_per_worker && program->worker_count > 1)
		snprintf(ports, sizeof(ports), "ports %u to %zu", options->listen_port,
			 options->listen_port + program->worker_count - 1);
	else
		snprintf(ports, sizeof(ports), "port %u", options->listen_port);
	log_info("ready: %s, UDP %s on %s, %s mode, %zu %s, offload %s", options->interface, ports,
		 options->bind_to_interface, options_server_mode(options) ? "server" : "endpoint",
		 program->worker_count, program->worker_count == 1 ? "worker" : "workers",
		 options->offload ? "on" : "off");
}

static int run(struct program *program)
{
	size_t threads = program->options.threads > 0 ? program->options.threads
						      : default_threads(&program->options);
	enum control_outcome outcome;

	if (!open_paths(program, threads) || !control_set_up(&program->control) ||
	    !start_workers(program))
		return EXIT_FAILED;
	log_ready(program);
	outcome = control_run(&program->control);
	if (outcome == CONTROL_LOST_TUNNEL)
		log_error(
			"tunnel interface %s was deleted: start the program again to have it made "
			"anew",
			program->options.interface);
	return outcome == CONTROL_WAS_STOPPED ? EXIT_CLEAN : EXIT_FAILED;
}

static void stop_workers(struct program *program)
{
	atomic_store(&program->forwarding.is_stopping, true);
	for (size_t i = 0; i < program->running; i++)
		worker_wake(program->workers[i]);
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
		control_log_leaving(&program->control);
		control_print_counters(&program->control);
	}
	for (size_t i = 0; i < program->worker_count; i++)
		worker_destroy(program->workers[i]);
	connection_store_destroy(program->forwarding.store);
	control_close(&program->control);
	tun_interface_close(&program->tun);
}

int daemon_run(const struct options *options)
{
	static struct program program;
	int status;

	program.options = *options;
	log_set_level(program.options.log_level);
	program.forwarding.options = &program.options;
	if (!control_init(&program.control, &program.forwarding, &program.tun))
		return EXIT_FAILED;
	rcu_thread_register();
	status = run(&program);
	take_down(&program);
	rcu_thread_unregister();
	return status;
}
