/* IPv4 addresses and routes. */
#include "link/link.h"
#include "link/rtnetlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>

/* IFA_ADDRESS is the other end of a point-to-point link, IFA_LOCAL always our own. */
static int read_local_address(const struct nlattr *attribute, void *argument)
{
	struct ip_address *address = argument;

	if (mnl_attr_get_type(attribute) == IFA_LOCAL)
		*address = ip_address_from_ipv4(mnl_attr_get_u32(attribute));
	return MNL_CB_OK;
}

static bool make_room(struct link_addresses *addresses)
{
	size_t room = addresses->room > 0 ? 2 * addresses->room : 16;
	struct link_address *list;

	if (addresses->count < addresses->room)
		return true;
	list = reallocarray(addresses->list, room, sizeof(*list));
	if (list == NULL)
		return false;
	addresses->list = list;
	addresses->room = room;
	return true;
}

static int collect_address(const struct nlmsghdr *message, void *argument)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
	struct link_addresses *addresses = argument;
	struct link_address *address;

	if (!make_room(addresses)) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	address = &addresses->list[addresses->count++];
	memset(address, 0, sizeof(*address));
	address->prefix.length = (uint8_t)(IPV4_MAPPED_BITS + info->ifa_prefixlen);
	address->ifindex = info->ifa_index;
	address->is_global = info->ifa_scope == RT_SCOPE_UNIVERSE;
	return mnl_attr_parse(message, sizeof(*info), read_local_address, &address->prefix.address);
}

int link_read_addresses(struct link_addresses *addresses)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *info;
	int error;

	memset(addresses, 0, sizeof(*addresses));
	request->nlmsg_type = RTM_GETADDR;
	request->nlmsg_flags = NLM_F_DUMP;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifa_family = AF_INET;
	error = rtnetlink_talk(request, collect_address, addresses);
	if (error < 0)
		link_free_addresses(addresses);
	return error;
}

void link_free_addresses(struct link_addresses *addresses)
{
	free(addresses->list);
	memset(addresses, 0, sizeof(*addresses));
}

static int change_address(unsigned ifindex, const struct ip_prefix *address, uint16_t type,
			  uint16_t flags)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	uint32_t ipv4 = ip_address_ipv4(&address->address);
	struct ifaddrmsg *info;

	request->nlmsg_type = type;
	request->nlmsg_flags = flags;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifa_family = AF_INET;
	info->ifa_prefixlen = (uint8_t)(address->length - IPV4_MAPPED_BITS);
	info->ifa_scope = RT_SCOPE_UNIVERSE;
	info->ifa_index = ifindex;
	mnl_attr_put_u32(request, IFA_LOCAL, ipv4);
	mnl_attr_put_u32(request, IFA_ADDRESS, ipv4);
	return rtnetlink_talk(request, NULL, NULL);
}

int link_add_address(unsigned ifindex, const struct ip_prefix *address)
{
	return change_address(ifindex, address, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
}

int link_remove_address(unsigned ifindex, const struct ip_prefix *address)
{
	return change_address(ifindex, address, RTM_DELADDR, 0);
}

static int change_route(unsigned ifindex, const struct ip_prefix *prefix, uint16_t type,
			uint16_t flags)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ip_address network = ip_prefix_network(prefix);
	struct rtmsg *route;

	request->nlmsg_type = type;
	request->nlmsg_flags = flags;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = AF_INET;
	route->rtm_dst_len = (uint8_t)(prefix->length - IPV4_MAPPED_BITS);
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_scope = RT_SCOPE_LINK;
	route->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(request, RTA_DST, ip_address_ipv4(&network));
	mnl_attr_put_u32(request, RTA_OIF, ifindex);
	return rtnetlink_talk(request, NULL, NULL);
}

int link_add_route(unsigned ifindex, const struct ip_prefix *prefix)
{
	return change_route(ifindex, prefix, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
}

int link_remove_route(unsigned ifindex, const struct ip_prefix *prefix)
{
	return change_route(ifindex, prefix, RTM_DELROUTE, 0);
}

static int read_route_device(const struct nlattr *attribute, void *argument)
{
	if (mnl_attr_get_type(attribute) == RTA_OIF)
		*(unsigned *)argument = mnl_attr_get_u32(attribute);
	return MNL_CB_OK;
}

static int read_route(const struct nlmsghdr *message, void *argument)
{
	return mnl_attr_parse(message, sizeof(struct rtmsg), read_route_device, argument);
}

int link_route_to(const struct ip_address *address, unsigned *ifindex)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route;
	int error;

	*ifindex = 0;
	request->nlmsg_type = RTM_GETROUTE;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = AF_INET;
	route->rtm_dst_len = 32;
	mnl_attr_put_u32(request, RTA_DST, ip_address_ipv4(address));
	error = rtnetlink_talk(request, read_route, ifindex);
	switch (error) {
	case -ENETUNREACH:
	case -EHOSTUNREACH: /* an "unreachable" route; the next two are "blackhole" and "prohibit"
			     */
	case -EINVAL:
	case -EACCES:
		return 0;
	default:
		return error;
	}
}
