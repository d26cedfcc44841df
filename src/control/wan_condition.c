/* What keeps the bound device from carrying; see wan_condition.h for the theory of operation. */
#include "control/wan_condition.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

struct wan_condition wan_condition_of(const struct link_state *device, const char *master)
{
	bool is_in_vrf = link_vrf_of(device) != 0;
	struct wan_condition now = {.obstacle = WAN_IS_CLEAR};

	if (is_in_vrf)
		snprintf(now.vrf, sizeof(now.vrf), "%s", master);
	if (!device->is_up) {
		now.obstacle = WAN_IS_DOWN;
	} else if (device->master != 0 && !is_in_vrf) {
		now.obstacle = WAN_IS_PORT;
		snprintf(now.port_of, sizeof(now.port_of), "%s", master);
		snprintf(now.port_kind, sizeof(now.port_kind), "%s",
			 device->master_kind[0] != '\0' ? device->master_kind : "interface");
	} else if (!device->has_carrier) {
		now.obstacle = WAN_LACKS_CARRIER;
	}
	return now;
}

static void tell_end(const char *device, const struct wan_condition *before)
{
	switch (before->obstacle) {
	case WAN_IS_CLEAR:
		break;
	case WAN_IS_DOWN:
		log_info("%s is up again", device);
		break;
	case WAN_IS_PORT:
		log_info("%s is free of %s %s again: what arrives comes to the tunnel", device,
			 before->port_kind, before->port_of);
		break;
	case WAN_LACKS_CARRIER:
		log_info("%s has its carrier again", device);
		break;
	}
}

static void tell_begin(const char *device, const struct wan_condition *now)
{
	switch (now->obstacle) {
	case WAN_IS_CLEAR:
		break;
	case WAN_IS_DOWN:
		log_warning("%s is down: nothing can pass until it is up ('ip link set %s up')",
			    device, device);
		break;
	case WAN_IS_PORT:
		log_warning("%s is a port of %s %s, which takes what arrives: nothing comes to the "
			    "tunnel until 'ip link set %s nomaster', or start the program with "
			    "--bind-to-interface %s",
			    device, now->port_kind, now->port_of, device, now->port_of);
		break;
	case WAN_LACKS_CARRIER:
		log_warning("%s has no carrier: nothing can pass until it is back (the cable, or "
			    "what is at its other end)",
			    device);
		break;
	}
}

void wan_condition_tell(const char *device, const struct wan_condition *before,
			const struct wan_condition *now)
{
	if (now->obstacle != before->obstacle || strcmp(now->port_of, before->port_of) != 0) {
		if (now->obstacle == WAN_IS_CLEAR)
			tell_end(device, before);
		else
			tell_begin(device, now);
	}
	if (strcmp(now->vrf, before->vrf) == 0)
		return;
	if (now->vrf[0] != '\0')
		log_info("%s belongs to VRF %s: routes are looked up in that one's table", device,
			 now->vrf);
	else
		log_info("%s belongs to no VRF any more: routes are looked up in the usual tables",
			 device);
}
