/* Sources; see source.h for the theory of operation. */
#include "link/source.h"

#include "link/rtnetlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>

int link_round_open(struct link_round *round, const char *device)
{
	int is_wanted = 1;
	int error;

	memset(round, 0, sizeof(*round));
	error = link_read(device, &round->device);
	if (error == 0)
		error = link_read_addresses(&round->addresses);
	if (error < 0)
		return error;
	round->netlink = rtnetlink_open();
	if (round->netlink == NULL) {
		error = -errno;
		link_round_close(round);
		return error;
	}
	/* dumps of one interface alone; an older kernel lists all, which is looked through here */
	(void)mnl_socket_setsockopt(round->netlink, NETLINK_GET_STRICT_CHK, &is_wanted,
				    sizeof(is_wanted));
	return 0;
}

void link_round_close(struct link_round *round)
{
	if (round->netlink != NULL)
		mnl_socket_close(round->netlink);
	round->netlink = NULL;
	link_free_addresses(&round->addresses);
}

unsigned link_holder_of(const struct link_round *round, const struct ip_address *address)
{
	for (size_t i = 0; i < round->addresses.count; i++) {
		const struct link_address *own = &round->addresses.list[i];

		if (ip_address_equal(&own->prefix.address, address))
			return own->ifindex;
	}
	return 0;
}

bool link_round_lends(const struct link_round *round, const struct ip_address *address)
{
	unsigned vrf = link_vrf_of(&round->device);

	for (size_t i = 0; i < round->addresses.count; i++) {
		const struct link_address *own = &round->addresses.list[i];

		if ((own->ifindex == round->device.ifindex || own->ifindex == vrf) &&
		    ip_address_equal(&own->prefix.address, address))
			return true;
	}
	return false;
}

static int read_route_attribute(const struct nlattr *attribute, void *argument)
{
	struct link_route *route = argument;

	switch (mnl_attr_get_type(attribute)) {
	case RTA_DST:
		route->destination.address = ip_address_from_ipv4(mnl_attr_get_u32(attribute));
		break;
	case RTA_GATEWAY:
		route->gateway = ip_address_from_ipv4(mnl_attr_get_u32(attribute));
		break;
	case RTA_PREFSRC:
		route->source = ip_address_from_ipv4(mnl_attr_get_u32(attribute));
		break;
	case RTA_TABLE:
		route->table = mnl_attr_get_u32(attribute);
		break;
	case RTA_PRIORITY:
		route->metric = mnl_attr_get_u32(attribute);
		break;
	case RTA_NH_ID:
		route->nexthop = mnl_attr_get_u32(attribute);
		break;
	case RTA_OIF:
		route->ifindex = mnl_attr_get_u32(attribute);
		break;
	/* an IPv6 gateway, and several devices */
	case RTA_VIA:
	case RTA_MULTIPATH:
		route->is_more = true;
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int read_route(const struct nlmsghdr *message, void *argument)
{
	const struct rtmsg *info = mnl_nlmsg_get_payload(message);
	struct link_route *route = argument;

	memset(route, 0, sizeof(*route));
	route->destination.address = ip_address_from_ipv4(INADDR_ANY);
	route->destination.length = (uint8_t)(IPV4_MAPPED_BITS + info->rtm_dst_len);
	route->table = info->rtm_table;
	route->tos = info->rtm_tos;
	route->is_onlink = (info->rtm_flags & RTNH_F_ONLINK) != 0;
	return mnl_attr_parse(message, sizeof(*info), read_route_attribute, route);
}

/* @flags: RTM_F_FIB_MATCH: the route as it stands in its table, else as it is used */
static int ask_route(struct link_round *round, const struct link_datagram *datagram, uint32_t flags,
		     bool with_ports, struct link_route *route)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct rtmsg *info;

	request->nlmsg_type = RTM_GETROUTE;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->rtm_family = AF_INET;
	info->rtm_dst_len = 32;
	info->rtm_flags = RTM_F_LOOKUP_TABLE | flags;
	mnl_attr_put_u32(request, RTA_DST, ip_address_ipv4(&datagram->destination));
	mnl_attr_put_u32(request, RTA_OIF, round->device.ifindex);
	mnl_attr_put_u32(request, RTA_MARK, datagram->mark);
	if (with_ports) {
		mnl_attr_put_u8(request, RTA_IP_PROTO, IPPROTO_UDP);
		mnl_attr_put_u16(request, RTA_SPORT, datagram->source_port);
		mnl_attr_put_u16(request, RTA_DPORT, datagram->destination_port);
	}
	return rtnetlink_ask(round->netlink, request, read_route, route);
}

/* Kernels before 4.18 know neither protocol nor ports here, and some answer EINVAL. */
static int ask_route_anyhow(struct link_round *round, const struct link_datagram *datagram,
			    uint32_t flags, struct link_route *route)
{
	int error = ask_route(round, datagram, flags, true, route);

	return error == -EINVAL ? ask_route(round, datagram, flags, false, route) : error;
}

/* True for what sending would fail with as well. */
static bool is_answer(int error)
{
	switch (-error) {
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENODEV:
	case EACCES: /* a "prohibit" route */
	case EINVAL: /* a "blackhole" route */
		return true;
	default:
		return false;
	}
}

/* The matched route, where there is one. Returns 0 or a negative errno. */
static int ask_matched_route(struct link_round *round, const struct link_datagram *datagram,
			     struct link_source *source)
{
	int error = ask_route_anyhow(round, datagram, RTM_F_FIB_MATCH, &source->route);

	source->has_route = error == 0;
	return error < 0 && !is_answer(error) ? error : 0;
}

/* Whether an answer is about the route, and not the device. */
static bool is_refusal(int error)
{
	return error < 0 && error != -ENETDOWN && error != -ENODEV;
}

int link_ask_source(struct link_round *round, const struct link_datagram *datagram,
		    struct link_source *source)
{
	struct link_route used;
	int error = ask_route_anyhow(round, datagram, 0, &used);

	memset(source, 0, sizeof(*source));
	if (error < 0 && !is_answer(error))
		return error;
	source->error = error;
	source->lacks_route = is_refusal(error);
	if (error < 0 || ip_address_is_none(&used.source))
		return 0;
	source->address = used.source;
	source->may_be_used = link_round_lends(round, &source->address);
	/* where there is a gateway there is a route */
	if (source->may_be_used &&
	    (round->device.is_point_to_point || used.is_more || !ip_address_is_none(&used.gateway)))
		return 0;
	error = ask_matched_route(round, datagram, source);
	if (source->may_be_used)
		source->lacks_route = error == 0 && !source->has_route;
	else
		source->may_be_used = source->has_route &&
				      ip_address_equal(&source->route.source, &source->address);
	return error;
}

struct source_search {
	unsigned ifindex;
	struct ip_address found;
};

static int compare_route(const struct nlmsghdr *message, void *argument)
{
	const struct rtmsg *info = mnl_nlmsg_get_payload(message);
	struct source_search *search = argument;
	struct link_route route;

	(void)read_route(message, &route);
	if (info->rtm_type == RTN_UNICAST && route.ifindex == search->ifindex &&
	    ip_address_is_none(&search->found))
		search->found = route.source;
	return MNL_CB_OK;
}

int link_find_route_source(struct link_round *round, struct ip_address *source)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct source_search search = {.ifindex = round->device.ifindex};
	struct rtmsg *info;
	int error;

	request->nlmsg_type = RTM_GETROUTE;
	request->nlmsg_flags = NLM_F_DUMP;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->rtm_family = AF_INET;
	mnl_attr_put_u32(request, RTA_OIF, round->device.ifindex);
	error = rtnetlink_ask(round->netlink, request, compare_route, &search);
	*source = search.found;
	return error == -ENODEV ? 0 : error;
}
