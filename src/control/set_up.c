/* Setting the tunnel interface up, once, before the workers start. */
#include "control/control_rooms.h"

#include "base/log.h"

#include <errno.h>

enum {
	/*
	 * Packets that may wait in a queue of the tunnel interface: room for a burst of a thousand
	 * connections, or for what one connection may have in flight (3 MB) in packets of 1,500
	 * bytes, so that without offloads none is lost to a busy processor (measured: 4,000 lost in
	 * 5 s with 1,000, none with 2,000). It bounds no delay, which standing_queue.h does.
	 */
	TUNNEL_QUEUE_LENGTH = 2000,
};

static void set_queue_length(const char *name)
{
	int error = link_set_queue_length(name, TUNNEL_QUEUE_LENGTH);

	if (error < 0)
		log_warning("cannot set the queue length of %s: %s", name, strerror(-error));
}

/*
 * Packets arrive from addresses that are routed elsewhere: strict reverse path filtering would drop
 * them. IPv6 is not carried: its router solicitations would only wake the process.
 */
static void set_sysctls(const char *name)
{
	int error = link_set_sysctl("ipv4", name, "rp_filter", "2");

	if (error < 0)
		log_warning("cannot set net.ipv4.conf.%s.rp_filter to 2: %s; strict reverse path "
			    "filtering drops what comes out of the tunnel",
			    name, strerror(-error));
	error = link_set_sysctl("ipv6", name, "disable_ipv6", "1");
	if (error < 0 && error != -ENOENT)
		log_debug("cannot set net.ipv6.conf.%s.disable_ipv6 to 1: %s", name,
			  strerror(-error));
}

static bool give_address(struct control *control)
{
	const struct options *options = control->forwarding->options;
	const char *name = control->tun->name;
	int error;

	if (options->address.length == 0)
		return true;
	error = link_add_address(control->tun->index, &options->address);
	if (error < 0 && error != -EEXIST) {
		log_error("cannot give %s the address of --address: %s", name, strerror(-error));
		return false;
	}
	control->has_given_address = error == 0;
	error = link_set_up(name);
	if (error < 0) {
		log_error("cannot bring %s up: %s", name, strerror(-error));
		return false;
	}
	return true;
}

bool control_set_up(struct control *control)
{
	set_queue_length(control->tun->name);
	set_sysctls(control->tun->name);
	if (!give_address(control))
		return false;
	link_monitor_drain(control->monitor);
	if (watch_look(control))
		return true;
	log_error("tunnel interface %s vanished while it was being set up", control->tun->name);
	return false;
}
