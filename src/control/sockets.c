/* What the command line says of the sockets, and words for what is done to them; see control.h. */
#include "control/control.h"

struct udp_socket_settings control_socket_settings(const struct options *options)
{
	return (struct udp_socket_settings){
		.device = options->bind_to_interface,
		.port = (uint16_t)options->listen_port,
		.port_each = options->port_per_worker,
		.fwmark = options->fwmark,
		.gro = options->udp_gro,
	};
}

const char *control_socket_step(const struct udp_socket_settings *settings,
				enum udp_socket_step step)
{
	switch (step) {
	case UDP_SOCKET_IS_MADE:
		return "make a UDP socket";
	case UDP_SOCKET_GETS_OPTIONS:
		return "set a UDP socket's options";
	case UDP_SOCKET_GETS_DEVICE:
		return settings->fwmark != 0 ? "bind to the device and set --fwmark"
					     : "bind to the device";
	case UDP_SOCKET_GETS_PORT:
		break;
	}
	return "bind to the port";
}
