/* What keeps the tunnel interface from carrying; see tunnel_condition.h. */
#include "control/tunnel_condition.h"

#include "base/log.h"

bool tunnel_condition_filters_strictly(int of_interface, int of_all)
{
	return (of_interface > of_all ? of_interface : of_all) == 1;
}

void tunnel_condition_tell(const char *name, const struct tunnel_condition *before,
			   const struct tunnel_condition *now)
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
