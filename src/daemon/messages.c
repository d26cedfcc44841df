/* The daemon's words; see messages.h. */
#include "daemon/messages.h"

#include "base/log.h"
#include "control/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void message_socket_failure(const struct udp_socket_settings *settings,
			    const struct udp_socket_failure *failure)
{
	const char *step = control_socket_step(settings, failure->step);

	if (failure->error == EADDRINUSE)
		log_error("UDP port %u on %s is taken by another process: stop that one (see 'ss "
			  "-ulpn'), or choose another --listen-port",
			  failure->port, settings->device);
	else if (failure->error == EPERM || failure->error == EACCES)
		log_error(
			"no permission to %s: run as root or with CAP_NET_ADMIN, CAP_NET_RAW and, "
			"for ports below 1024, CAP_NET_BIND_SERVICE",
			step);
	else
		log_error("cannot %s: %s", step, strerror(failure->error));
}

static void report_cap(int granted, int wanted, const char *what, const char *limit)
{
	if (granted >= wanted)
		return;
	log_warning(
		"the system limits the UDP %s buffer to %d of %d bytes: allow more with 'sysctl "
		"-w %s=%d', or give the program CAP_NET_ADMIN",
		what, granted, wanted, limit, wanted);
}

void message_socket_buffers(const struct udp_socket_buffers *buffers, size_t sockets)
{
	if (buffers->receive_wanted < buffers->receive_wished)
		log_info("%zu UDP %s of %d bytes, not %d: they take an eighth of what "
			 "net.ipv4.udp_mem allows in all, no more",
			 sockets, sockets == 1 ? "receive buffer" : "receive buffers",
			 buffers->receive_wanted, buffers->receive_wished);
	report_cap(buffers->receive, buffers->receive_wanted, "receive", "net.core.rmem_max");
	report_cap(buffers->send, buffers->send_wanted, "send", "net.core.wmem_max");
}

/* An interface of that name exists and cannot be taken over. */
static void message_occupied(const char *name, enum tun_obstacle obstacle)
{
	switch (obstacle) {
	case TUN_IS_ANOTHER_KIND:
		log_error("interface %s exists and is no tun device: choose another name for "
			  "--interface",
			  name);
		break;
	case TUN_IS_TAP:
		log_error("interface %s exists and is a tap device that no process uses: choose "
			  "another name for --interface or, if nobody needs it, delete it and make "
			  "it with 'ip tuntap add dev %s mode tun multi_queue'",
			  name, name);
		break;
	case TUN_IS_SINGLE_QUEUE:
		log_error("interface %s exists without multi_queue, and no process uses it: choose "
			  "another name for --interface or, if nobody needs it, delete it and make "
			  "it with 'ip tuntap add dev %s mode tun multi_queue'",
			  name, name);
		break;
	case TUN_IS_IN_USE:
		log_error("interface %s is in use by another process, such as another VPN: choose "
			  "another name for --interface, or end that process first",
			  name);
		break;
	case TUN_HAS_OTHER_HEADERS:
		log_error("another process keeps interface %s with packet headers that do not fit: "
			  "systemd-networkd wants PacketInfo=no, and VNetHeader= as --tun-offload "
			  "is (yes or no)",
			  name);
		break;
	default:
		log_error("interface %s is in use by another process", name);
		break;
	}
}

/* A queue of the interface is refused. */
static void message_refused(const char *name, const struct tun_failure *failure)
{
	switch (failure->obstacle) {
	case TUN_IS_NOT_PERMITTED:
		log_error("no permission to use tunnel interface %s: run as root or with "
			  "CAP_NET_ADMIN",
			  name);
		break;
	case TUN_QUEUE_IS_BUSY:
		log_error("tunnel interface %s is in use by another process", name);
		break;
	default:
		log_error("cannot attach a queue to tunnel interface %s: %s", name,
			  strerror(failure->error));
		break;
	}
}

void message_tun_failure(const char *name, const struct tun_failure *failure)
{
	const char *error = strerror(failure->error);

	switch (failure->obstacle) {
	case TUN_CANNOT_BE_READ:
		log_error("cannot read interface %s: %s", name, error);
		break;
	case TUN_HAS_NO_DEVICE:
		log_error("/dev/net/tun is not there: load the tun module (modprobe tun), or give "
			  "the container the device");
		break;
	case TUN_DEVICE_IS_CLOSED:
		log_error("cannot open /dev/net/tun: %s; run as root or with CAP_NET_ADMIN", error);
		break;
	case TUN_IS_ANOTHER_KIND:
	case TUN_IS_TAP:
	case TUN_IS_SINGLE_QUEUE:
	case TUN_IS_IN_USE:
	case TUN_HAS_OTHER_HEADERS:
	case TUN_WAS_TAKEN:
		message_occupied(name, failure->obstacle);
		break;
	case TUN_IS_NOT_PERMITTED:
	case TUN_QUEUE_IS_BUSY:
	case TUN_QUEUE_IS_REFUSED:
		message_refused(name, failure);
		break;
	case TUN_HEADER_IS_REFUSED:
		log_error("cannot set the offload header of tunnel interface %s: %s; try "
			  "--tun-offload off",
			  name, error);
		break;
	case TUN_HAS_VANISHED:
		log_error("tunnel interface %s vanished while it was being set up", name);
		break;
	}
}

void message_tun_gaps(const struct tun_interface *tun)
{
	if (tun->steering_error != 0)
		log_warning("flows cannot be steered to queues (%s; CAP_BPF may be missing): one "
			    "queue and one worker",
			    strerror(tun->steering_error));
	if (tun->offload_gap == TUN_OFFLOAD_LACKS_HEADER)
		log_info("tunnel interface %s was made without offload header, and another process "
			 "keeps it so: slower, not less (systemd-networkd: VNetHeader=yes)",
			 tun->name);
	else if (tun->offload_gap != TUN_OFFLOAD_IS_WHOLE)
		log_info("the kernel gives tunnel interface %s no %s offload: slower, not less",
			 tun->name,
			 tun->offload_gap == TUN_OFFLOAD_LACKS_ECN ? "ECN segmentation"
								   : "segmentation");
}

/* "on", "off", or what is left out. */
static void describe_offloads(const struct options *options, char *text, size_t size)
{
	const struct {
		bool is_on;
		const char *name;
	} offloads[] = {
		{options->tun_offload, "tun-offload"},
		{options->udp_segmentation, "udp-segmentation"},
		{options->udp_gro, "udp-gro"},
	};
	const char *before = " without ";
	int used = snprintf(text, size, "on");

	for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++) {
		if (offloads[i].is_on)
			continue;
		used += snprintf(text + used, size - (size_t)used, "%s%s", before,
				 offloads[i].name);
		before = " and ";
	}
	if (!options->tun_offload && !options->udp_segmentation && !options->udp_gro)
		snprintf(text, size, "off");
}

void message_ready(const struct options *options, size_t workers)
{
	char ports[32], offloads[64];

	if (options->port_per_worker && workers > 1)
		snprintf(ports, sizeof(ports), "ports %u to %zu", options->listen_port,
			 options->listen_port + workers - 1);
	else
		snprintf(ports, sizeof(ports), "port %u", options->listen_port);
	describe_offloads(options, offloads, sizeof(offloads));
	log_info("ready: %s, UDP %s on %s, %s mode, %zu %s, offload %s", options->interface, ports,
		 options->bind_to_interface, options_server_mode(options) ? "server" : "endpoint",
		 workers, workers == 1 ? "worker" : "workers", offloads);
}
