/* What keeps the tunnel interface from carrying; see tunnel_condition.h for the theory of
 * operation. */
#include "control/tunnel_condition.h"

#include "base/log.h"

#include <string.h>

/* Longer than a network manager or a script needs; soon for a person. */
enum { PATIENCE_MS = 300 };

bool tunnel_condition_filters_strictly(int of_interface, int of_all)
{
	return (of_interface > of_all ? of_interface : of_all) == 1;
}

static void tell(const char *name, const struct tunnel_obstacles *before,
		 const struct tunnel_obstacles *now)
{
	if (now->is_down && !before->is_down)
		log_warning("%s is down: nothing can pass until it is up ('ip link set %s up')",
			    name, name);
	if (before->is_down && !now->is_down)
		log_info("%s is up again", name);
	if (now->lacks_address && !before->lacks_address)
		log_warning("%s has no IPv4 address: everything is discarded until it has one",
			    name);
	if (now->is_strict && !before->is_strict)
		log_warning("net.ipv4.conf.%s.rp_filter (or all) is 1: what comes out of the "
			    "tunnel is dropped where the routes to its source lead elsewhere; "
			    "'sysctl -w net.ipv4.conf.%s.rp_filter=2'",
			    name, name);
	if (before->is_strict && !now->is_strict)
		log_info("rp_filter lets in again what comes out of %s", name);
}

static void tell_what_lasts(void *state)
{
	struct tunnel_condition *condition = state;

	tell(condition->name, &condition->told, &condition->now);
	condition->told = condition->now;
}

void tunnel_condition_start(struct tunnel_condition *condition, event_loop *loop, const char *name)
{
	condition->loop = loop;
	condition->name = name;
}

void tunnel_condition_follow(struct tunnel_condition *condition, const struct tunnel_obstacles *now)
{
	const struct tunnel_obstacles former = condition->told;

	condition->now = *now;
	condition->told.is_down &= now->is_down;
	condition->told.lacks_address &= now->lacks_address;
	condition->told.is_strict &= now->is_strict;
	tell(condition->name, &former, &condition->told);
	if (memcmp(&condition->told, now, sizeof(*now)) == 0)
		event_timer_stop(&condition->patience);
	else if (!event_timer_is_started(&condition->patience))
		event_timer_start(condition->loop, &condition->patience, PATIENCE_MS,
				  tell_what_lasts, condition);
}

void tunnel_condition_close(struct tunnel_condition *condition)
{
	event_timer_stop(&condition->patience);
}
