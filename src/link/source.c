/* Sources; see source.h for the theory of operation. */
#include "link/source.h"

#include "link/rtnetlink.h"
#include "link/source_facts.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>

static int read_device(const struct nlmsghdr *message, void *argument)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct link_round *round = argument;

	round->ifindex = (unsigned)info->ifi_index;
	round->is_up = (info->ifi_flags & IFF_UP) != 0;
	round->vrf = source_vrf_of(message);
	return MNL_CB_OK;
}

static int ask_device(struct link_round *round, const char *device)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;
	int error;

	request->nlmsg_type = RTM_GETLINK;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(request, IFLA_IFNAME, device);
	error = rtnetlink_ask(round->netlink, request, read_device, round);
	return error == -ENODEV ? 0 : error;
}

int link_round_open(struct link_round *round, const char *device)
{
	int is_wanted = 1;
	int error;

	memset(round, 0, sizeof(*round));
	round->netlink = rtnetlink_open();
	if (round->netlink == NULL)
		return -errno;
	/* dumps of one interface alone; an older kernel lists all, which is looked through here */
	(void)mnl_socket_setsockopt(round->netlink, NETLINK_GET_STRICT_CHK, &is_wanted,
				    sizeof(is_wanted));
	error = ask_device(round, device);
	if (error < 0)
		link_round_close(round);
	return error;
}

void link_round_close(struct link_round *round)
{
	if (round->netlink != NULL)
		mnl_socket_close(round->netlink);
	round->netlink = NULL;
}

struct address_search {
	uint32_t ipv4;    /* wanted, network byte order */
	unsigned ifindex; /* where it must stand, 0: anywhere */
	unsigned found;   /* where it does, 0: not found */
};

/* IFA_ADDRESS is the other end of a point-to-point link. */
static int read_local_address(const struct nlattr *attribute, void *argument)
{
	if (mnl_attr_get_type(attribute) == IFA_LOCAL)
		*(uint32_t *)argument = mnl_attr_get_u32(attribute);
	return MNL_CB_OK;
}

static int compare_address(const struct nlmsghdr *message, void *argument)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
	struct address_search *search = argument;
	uint32_t ipv4 = 0;

	mnl_attr_parse(message, sizeof(*info), read_local_address, &ipv4);
	if (ipv4 == search->ipv4 && (search->ifindex == 0 || info->ifa_index == search->ifindex))
		search->found = info->ifa_index;
	return MNL_CB_OK;
}

static int search_address(struct link_round *round, struct address_search *search)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *info;
	int error;

	request->nlmsg_type = RTM_GETADDR;
	request->nlmsg_flags = NLM_F_DUMP;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifa_family = AF_INET;
	info->ifa_index = search->ifindex;
	error = rtnetlink_ask(round->netlink, request, compare_address, search);
	return error == -ENODEV ? 0 : error;
}

/* Returns 1 when it does, 0 or a negative errno. */
static int stands_on(struct link_round *round, const struct ip_address *address, unsigned ifindex)
{
	struct address_search search = {ip_address_ipv4(address), ifindex, 0};
	int error;

	if (ifindex == 0)
		return 0;
	error = search_address(round, &search);
	return error < 0 ? error : search.found != 0;
}

unsigned link_holder_of(struct link_round *round, const struct ip_address *address)
{
	struct address_search search = {ip_address_ipv4(address), 0, 0};

	(void)search_address(round, &search);
	return search.found;
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
	mnl_attr_put_u32(request, RTA_OIF, round->ifindex);
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

/* What cannot be said of an address by looking at the device alone. */
static int judge(struct link_round *round, const struct link_datagram *datagram,
		 struct link_source *source)
{
	struct source_facts facts = {.chosen = source->address};
	int error = stands_on(round, &source->address, round->ifindex);

	if (error < 0)
		return error;
	facts.stands_on_device = error;
	if (facts.stands_on_device) {
		round->on_device = source->address;
		source->may_be_used = true;
		return 0;
	}
	error = stands_on(round, &source->address, round->vrf);
	if (error < 0)
		return error;
	facts.stands_on_vrf = error;
	error = ask_matched_route(round, datagram, source);
	if (source->has_route)
		facts.route_source = source->route.source;
	source->may_be_used = source_may_be_used(&facts);
	return error;
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
	if (error < 0 || ip_address_is_none(&used.source))
		return 0;
	source->address = used.source;
	source->may_be_used = ip_address_equal(&used.source, &round->on_device);
	return source->may_be_used ? 0 : judge(round, datagram, source);
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
	struct source_search search = {.ifindex = round->ifindex};
	struct rtmsg *info;
	int error;

	request->nlmsg_type = RTM_GETROUTE;
	request->nlmsg_flags = NLM_F_DUMP;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->rtm_family = AF_INET;
	mnl_attr_put_u32(request, RTA_OIF, round->ifindex);
	error = rtnetlink_ask(round->netlink, request, compare_route, &search);
	*source = search.found;
	return error == -ENODEV ? 0 : error;
}
