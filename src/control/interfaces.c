/* Both interfaces; see interfaces.h for the theory of operation. */
#include "control/interfaces.h"

#include "base/log.h"

#include <errno.h>
#include <unistd.h>

int interfaces_open(struct interfaces *interfaces)
{
	interfaces->monitor = link_monitor_open();
	return interfaces->monitor < 0 ? -errno : 0;
}

/* Looks at both again and follows what changed; false: the tunnel interface is gone. */
static bool look(struct interfaces *interfaces)
{
	struct tunnel_side *side = &interfaces->tunnel;
	struct trouble trouble = {0};
	struct link_state tunnel;
	uint32_t wan_mtu;
	int error = link_read_index(side->settings.tun->ifindex, &tunnel);

	if (error == 0 && tunnel.ifindex == 0)
		return false;
	wan_mtu = wan_look(&interfaces->wan, &trouble);
	if (error < 0) {
		trouble_note(&trouble, "read the state of", side->name, error);
	} else {
		tunnel_side_follow_name(side, tunnel.name);
		if (wan_mtu > 0)
			tunnel_side_follow_mtu(side, wan_mtu, tunnel.mtu, &trouble);
		tunnel_side_follow(side, &tunnel, &trouble);
	}
	retry_settle(&interfaces->retry, &trouble);
	return true;
}

static void look_again(void *state)
{
	struct interfaces *interfaces = state;

	if (!look(interfaces))
		ending_come(interfaces->ending, CONTROL_LOST_TUNNEL);
}

static void something_changed(void *state)
{
	struct interfaces *interfaces = state;

	link_monitor_drain(interfaces->monitor);
	look_again(interfaces);
	if (interfaces->sources != NULL)
		sources_look(interfaces->sources);
}

bool interfaces_set_up(struct interfaces *interfaces, struct ending *ending,
		       const struct tunnel_side_settings *tunnel, const struct wan_settings *wan)
{
	interfaces->ending = ending;
	if (!tunnel_side_set_up(&interfaces->tunnel, ending->loop, tunnel))
		return false;
	retry_start(&interfaces->retry, ending->loop, look_again, interfaces);
	wan_start(&interfaces->wan, ending->loop, wan, look_again, interfaces);
	link_monitor_drain(interfaces->monitor);
	event_watch_start(ending->loop, &interfaces->watch, interfaces->monitor, EVENT_IS_USUAL,
			  something_changed, interfaces);
	if (look(interfaces))
		return true;
	log_error("tunnel interface %s vanished while it was being set up", tunnel->tun->name);
	return false;
}

void interfaces_close(struct interfaces *interfaces)
{
	retry_close(&interfaces->retry);
	wan_close(&interfaces->wan);
	tunnel_side_undo(&interfaces->tunnel);
	event_watch_stop(&interfaces->watch);
	if (interfaces->monitor >= 0)
		close(interfaces->monitor);
	interfaces->monitor = -1;
}
