/* The bound device; see wan.h for the theory of operation. */
#include "control/wan.h"

#include "base/log.h"
#include "control/control.h"
#include "io/path_mtu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOCKET_RETRY_MS = 1000 };

void wan_start(struct wan *wan, event_loop *loop, const struct wan_settings *settings,
	       event_handler *look_again, void *look_again_state)
{
	wan->settings = *settings;
	wan->loop = loop;
	wan->look_again = look_again;
	wan->look_again_state = look_again_state;
	wan->ifindex = settings->ifindex;
	wan->is_awaited = settings->is_awaited;
}

/* Says what could not be done, once, and comes again. @error: positive errno */
static bool try_later(struct wan *wan, const char *what, uint16_t port, int error)
{
	if (!wan->is_retrying)
		log_warning("%s is %s, but cannot %s (port %u): %s; trying again",
			    wan->settings.sockets.device, wan->is_awaited ? "there" : "back", what,
			    port, strerror(error));
	wan->is_retrying = true;
	event_timer_start(wan->loop, &wan->retry, SOCKET_RETRY_MS, wan->look_again,
			  wan->look_again_state);
	return false;
}

/* Asked before any socket is opened: those that some workers took would keep the port from a second
 * try. Only this thread fills the rings, so the room stays. */
static bool workers_have_room(struct exchange *exchange)
{
	for (size_t i = 0; i < exchange->channel_count; i++) {
		if (ring_free_slots(&exchange->channels[i].to_worker) == 0)
			return false;
	}
	return true;
}

/* One for each UDP socket. Returns 0, or a negative errno with none left open. */
static int open_path_mtu_sockets(const struct udp_socket_settings *settings, int *sockets,
				 size_t count)
{
	for (size_t i = 0; i < count; i++) {
		sockets[i] = path_mtu_socket_open(settings->device, settings->fwmark);
		if (sockets[i] >= 0)
			continue;
		for (size_t opened = i; opened > 0; opened--)
			close(sockets[opened - 1]);
		return sockets[i];
	}
	return 0;
}

static void hand_over(struct wan *wan, const int *sockets, const int *path_mtu_sockets)
{
	/* not what was looked at before: the name may be another device's by now */
	wan->ifindex = udp_socket_ifindex(sockets[0]);
	expiry_renew_sockets(wan->settings.expiry, sockets);
	kernel_drops_renew_sockets(wan->settings.drops, sockets);
	for (size_t i = 0; i < wan->settings.exchange->channel_count; i++) {
		const struct socket_record record = {sockets[i], path_mtu_sockets[i]};

		(void)channel_give_sockets(&wan->settings.exchange->channels[i], &record);
	}
	wan->is_retrying = false;
	if (wan->is_awaited)
		wan->settings.has_sockets(wan->settings.has_sockets_state, sockets[0]);
	wan->is_awaited = false;
}

/* Opens all sockets before a worker gets one. @sockets: room for two for each worker */
static bool open_and_hand_over(struct wan *wan, int *sockets, size_t count)
{
	const struct udp_socket_settings *settings = &wan->settings.sockets;
	struct udp_socket_failure failure;
	int *path_mtu_sockets = sockets + count;
	int error = open_path_mtu_sockets(settings, path_mtu_sockets, count);

	if (error < 0)
		return try_later(wan, "make a socket to ask for path MTUs", settings->port, -error);
	if (udp_sockets_open(settings, sockets, count, &failure)) {
		hand_over(wan, sockets, path_mtu_sockets);
		return true;
	}
	for (size_t i = 0; i < count; i++)
		close(path_mtu_sockets[i]);
	return try_later(wan, control_socket_step(settings, failure.step), failure.port,
			 failure.error);
}

static bool renew_sockets(struct wan *wan)
{
	size_t count = wan->settings.exchange->channel_count;
	uint16_t port = wan->settings.sockets.port;
	bool is_renewed;
	int *sockets;

	if (!workers_have_room(wan->settings.exchange))
		return try_later(wan, "hand all workers their sockets", port, EAGAIN);
	sockets = malloc(2 * count * sizeof(*sockets));
	if (sockets == NULL)
		return try_later(wan, "find memory for sockets", port, ENOMEM);
	is_renewed = open_and_hand_over(wan, sockets, count);
	free(sockets);
	return is_renewed;
}

/* Nothing is tried again while the device is away, or is the one that the sockets are bound to. */
static void stop_retrying(struct wan *wan)
{
	event_timer_stop(&wan->retry);
	wan->is_retrying = false;
}

static void goes_away(struct wan *wan)
{
	if (!wan->is_gone && wan->is_awaited)
		log_warning("waiting for %s, which is not there yet", wan->settings.sockets.device);
	else if (!wan->is_gone)
		log_warning("%s is gone: waiting for it to come back",
			    wan->settings.sockets.device);
	wan->is_gone = true;
	wan->condition = (struct wan_condition){0};
	stop_retrying(wan);
}

/* Gives the workers sockets on a device that is another one than theirs. */
static void comes_back(struct wan *wan, const struct link_state *state)
{
	bool is_another = state->ifindex != wan->ifindex;
	bool was_awaited = wan->is_awaited;

	if (!is_another)
		stop_retrying(wan);
	else if (event_timer_is_started(&wan->retry) || !renew_sockets(wan))
		return;
	if (!was_awaited && (wan->is_gone || is_another))
		log_info("%s is back%s", wan->settings.sockets.device,
			 is_another ? ": sockets bound to it again" : "");
	wan->is_gone = false;
}

/* A device that cannot carry is worth a line, and a second one when it can. */
static void follow_condition(struct wan *wan, const struct link_state *state,
			     struct trouble *trouble)
{
	const char *name = wan->settings.sockets.device;
	struct link_state master = {0};
	struct wan_condition now;
	int error = state->master != 0 ? link_read_index(state->master, &master) : 0;

	if (error < 0) {
		trouble_note(trouble, "read the state of the interface above", name, error);
		return;
	}
	/* it went in this moment, and there will be word of that */
	if (state->master != 0 && master.ifindex == 0)
		return;
	now = wan_condition_of(state, master.name);
	wan_condition_tell(name, &wan->condition, &now);
	wan->condition = now;
}

uint32_t wan_look(struct wan *wan, struct trouble *trouble)
{
	const char *name = wan->settings.sockets.device;
	struct link_state state;
	int error = link_read(name, &state);

	if (error < 0) {
		trouble_note(trouble, "read the state of", name, error);
		return 0;
	}
	if (state.ifindex == 0) {
		goes_away(wan);
		return 0;
	}
	comes_back(wan, &state);
	follow_condition(wan, &state, trouble);
	return state.mtu;
}

void wan_close(struct wan *wan)
{
	event_timer_stop(&wan->retry);
}
