/* The control thread; see control.h for the theory of operation. */
#include "control/control.h"

#include "base/log.h"
#include "control/control_datagrams.h"
#include "control/interfaces.h"
#include "control/kernel_drops.h"
#include "control/lulls.h"
#include "control/pool_key.h"
#include "control/room.h"
#include "control/signals.h"
#include "control/sources.h"
#include "control/tally.h"
#include "control/warnings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct control {
	struct connection_store *store;
	struct outputs *outputs;
	struct ending ending;
	struct tally tally;
	struct peer_log peer_log;
	struct signals signals;
	struct interfaces interfaces;
	struct kernel_drops kernel_drops;
	struct sources sources;
	struct expiry expiry;
	struct lulls lulls;
	struct room room;
	struct warnings warnings;
	struct control_datagrams control_datagrams;
};

static int open_descriptors(struct control *control)
{
	int error = signals_open(&control->signals);

	if (error == 0)
		error = interfaces_open(&control->interfaces);
	if (error < 0)
		return error;
	control->ending.loop = event_loop_create();
	return control->ending.loop == NULL ? -ENOMEM : 0;
}

struct control *control_open(void)
{
	struct control *control = aligned_alloc(64, (sizeof(*control) + 63) & ~(size_t)63);
	int error = -ENOMEM;

	if (control != NULL) {
		memset(control, 0, sizeof(*control));
		control->signals.fd = -1;
		control->interfaces.monitor = -1;
		error = open_descriptors(control);
	}
	if (error == 0)
		return control;
	log_error("cannot open the control thread's descriptors: %s", strerror(-error));
	if (control != NULL)
		control_close(control);
	return NULL;
}

static bool open_expiry(struct control *control, const struct control_settings *settings)
{
	const struct options *options = settings->options;
	const struct expiry_settings expiry = {
		.peers = settings->peers,
		.peer_log = &control->peer_log,
		.counters = &control->tally.control,
		.is_server = options_server_mode(options),
		.limits = {.connection_timeout = options->connection_timeout,
			   .answer_time = peers_answer_time(options->keepalive),
			   .keepalive = options->keepalive,
			   .keepalive_for = options->keepalive_for},
		.first_port = (uint16_t)options->listen_port,
		.socket_count = options->port_per_worker ? settings->worker_count : 1,
	};
	int error = expiry_open(&control->expiry, control->ending.loop, &expiry, settings->sockets);

	if (error < 0)
		log_error("cannot duplicate a socket: %s", strerror(-error));
	return error == 0;
}

static bool set_up_interfaces(struct control *control, const struct control_settings *settings)
{
	const struct options *options = settings->options;
	struct tunnel_side_settings tunnel = {
		.tun = settings->tun,
		.peers = settings->peers,
		.address = options->address,
		.is_server = options_server_mode(options),
		.pool = {.store = control->store,
			 .peer_log = &control->peer_log,
			 .counters = &control->tally.control,
			 .ifindex = settings->tun->ifindex,
			 .given = options->peer_pool,
			 .max_entries = options_max_connections(options)},
		.mtu = options->mtu,
	};
	const struct wan_settings wan = {
		.sockets = control_socket_settings(options),
		.exchange = settings->exchange,
		.expiry = &control->expiry,
		.drops = &control->kernel_drops,
		.ifindex = udp_socket_ifindex(settings->sockets[0]),
		.is_awaited = settings->sockets[0] < 0,
		.has_sockets = settings->has_sockets,
		.has_sockets_state = settings->has_sockets_state,
	};

	if (tunnel.is_server && !pool_key_find(&tunnel.pool.key))
		return false;
	return interfaces_set_up(&control->interfaces, &control->ending, &tunnel, &wan);
}

/* A server answers from where it was spoken to. */
static bool start_sources(struct control *control, const struct control_settings *settings)
{
	const struct options *options = settings->options;
	const struct sources_settings sources = {
		.peers = settings->peers,
		.notices = &settings->exchange->notices,
		.device = options->bind_to_interface,
		.fwmark = options->fwmark,
		.own_port = htons((uint16_t)options->listen_port),
	};
	int error;

	if (options_server_mode(options))
		return true;
	error = sources_start(&control->sources, control->ending.loop, &sources);
	if (error < 0)
		log_error("cannot listen to changes of routes: %s", strerror(-error));
	else
		control->interfaces.sources = &control->sources;
	return error == 0;
}

static void start_room(struct control *control, const struct control_settings *settings)
{
	const struct room_settings room = {
		.store = control->store,
		.notices = &settings->exchange->notices,
		.peer_log = &control->peer_log,
		.counters = &control->tally.control,
		.max_entries = options_max_connections(settings->options),
		.connection_timeout = settings->options->connection_timeout,
		.is_server = options_server_mode(settings->options),
	};

	room_start(&control->room, control->ending.loop, &room);
}

static void start_warnings(struct control *control, const struct control_settings *settings)
{
	const struct warnings_settings warnings = {
		.notices = &settings->exchange->notices,
		.peers = settings->peers,
		.peer_log = &control->peer_log,
		.tally = &control->tally,
		.device = settings->options->bind_to_interface,
		.tunnel = control->interfaces.tunnel.name, /* filled before it is read */
		.is_server = options_server_mode(settings->options),
		.sources = &control->sources,
		.expiry = &control->expiry,
		.lulls = &control->lulls,
		.room = &control->room,
	};

	warnings_start(&control->warnings, &control->ending, &warnings);
}

static bool start_control_datagrams(struct control *control,
				    const struct control_settings *settings)
{
	int error = control_datagrams_start(
		&control->control_datagrams, control->ending.loop, settings->exchange,
		&control->tally.control,
		options_server_mode(settings->options) ? CONTROL_TO_SERVER : CONTROL_TO_ENDPOINT);

	if (error < 0)
		log_error("no memory for control datagrams");
	return error == 0;
}

static void print_counters(void *state)
{
	struct control *control = state;

	control_datagrams_drain(&control->control_datagrams);
	kernel_drops_count(&control->kernel_drops);
	outputs_count(control->outputs, &control->tally.control);
	tally_print(&control->tally, control->store, outputs_records(control->outputs));
}

bool control_set_up(struct control *control, const struct control_settings *settings)
{
	const struct options *options = settings->options;

	control->store = settings->peers->store;
	control->outputs = settings->outputs;
	outputs_start(control->outputs, control->ending.loop);
	control->tally.workers = settings->workers;
	control->tally.worker_count = settings->worker_count;
	control->peer_log.store = options->log_peers ? control->store : NULL;
	control->peer_log.has_tunnel_addresses = options_server_mode(options);
	control->peer_log.has_several_ports = options->port_per_worker;
	control->peer_log.loop = control->ending.loop;
	control->peer_log.counters = &control->tally.control;
	kernel_drops_start(&control->kernel_drops, &control->tally.control, settings->tun->ifindex,
			   settings->sockets, settings->worker_count);
	signals_start(&control->signals, &control->ending, print_counters, control);
	start_room(control, settings);
	lulls_start(&control->lulls, control->ending.loop, &control->expiry,
		    &settings->exchange->notices);
	start_warnings(control, settings);
	return start_control_datagrams(control, settings) && open_expiry(control, settings) &&
	       set_up_interfaces(control, settings) && start_sources(control, settings);
}

enum control_outcome control_run(struct control *control)
{
	expiry_start(&control->expiry);
	if (!event_loop_run(control->ending.loop))
		return CONTROL_HAS_FAILED;
	return control->ending.outcome;
}

void control_say_goodbye(struct control *control)
{
	outputs_be_patient(control->outputs);
	peer_log_leaving(&control->peer_log);
	outputs_tell_lost(control->outputs);
	print_counters(control);
}

void control_close(struct control *control)
{
	peer_log_close(&control->peer_log);
	if (control->outputs != NULL)
		outputs_stop(control->outputs);
	control_datagrams_close(&control->control_datagrams);
	sources_close(&control->sources);
	warnings_close(&control->warnings);
	room_close(&control->room);
	interfaces_close(&control->interfaces);
	lulls_close(&control->lulls);
	expiry_close(&control->expiry);
	kernel_drops_close(&control->kernel_drops);
	signals_close(&control->signals);
	event_loop_destroy(control->ending.loop);
	free(control);
}
