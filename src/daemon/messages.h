/* What the daemon says when something cannot be set up: what happened, and what to do. */
#ifndef UDP_ENCAP_TUN_MESSAGES_H
#define UDP_ENCAP_TUN_MESSAGES_H

#include "cli/options.h"
#include "io/tun_interface.h"
#include "io/udp_socket.h"

/** Says why the sockets could not be opened. @settings: that they should have had */
void message_socket_failure(const struct udp_socket_settings *settings,
			    const struct udp_socket_failure *failure);

/** Says what the machine's memory and the system do not grant of the sockets' buffers. */
void message_socket_buffers(const struct udp_socket_buffers *buffers, size_t sockets);

/** Says why the tunnel interface cannot be used. */
void message_tun_failure(const char *name, const struct tun_failure *failure);

/** Says what the tunnel interface lacks: slower, not less. */
void message_tun_gaps(const struct tun_interface *tun);

/** Says that the program is ready. */
void message_ready(const struct options *options, size_t workers);

#endif
