/* Interfaces: their state, and the few properties that are set. */
#include "link/link.h"

#include "link/rtnetlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int read_tun_attribute(const struct nlattr *attribute, void *argument)
{
	struct link_tun *tun = argument;

	switch (mnl_attr_get_type(attribute)) {
	case IFLA_TUN_TYPE:
		tun->is_layer_3 = mnl_attr_get_u8(attribute) == IFF_TUN;
		break;
	case IFLA_TUN_MULTI_QUEUE:
		tun->is_multi_queue = mnl_attr_get_u8(attribute) != 0;
		break;
	case IFLA_TUN_PI:
		tun->has_packet_info = mnl_attr_get_u8(attribute) != 0;
		break;
	case IFLA_TUN_VNET_HDR:
		tun->has_vnet_header = mnl_attr_get_u8(attribute) != 0;
		break;
	case IFLA_TUN_PERSIST:
		tun->is_persistent = mnl_attr_get_u8(attribute) != 0;
		break;
	case IFLA_TUN_NUM_QUEUES:
		tun->queues = mnl_attr_get_u32(attribute);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

/* The kernel puts the kind in front of the data that depends on it. */
static int read_kind_attribute(const struct nlattr *attribute, void *argument)
{
	struct link_state *state = argument;

	switch (mnl_attr_get_type(attribute)) {
	case IFLA_INFO_KIND:
		state->tun.is_tun = strcmp(mnl_attr_get_str(attribute), "tun") == 0;
		break;
	case IFLA_INFO_DATA:
		if (state->tun.is_tun)
			return mnl_attr_parse_nested(attribute, read_tun_attribute, &state->tun);
		break;
	case IFLA_INFO_SLAVE_KIND:
		snprintf(state->master_kind, sizeof(state->master_kind), "%s",
			 mnl_attr_get_str(attribute));
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

/* The kernel aligns no attribute to more than 4 bytes; an older one's is shorter at its end. */
static void read_statistics(const struct nlattr *attribute, struct link_state *state)
{
	struct rtnl_link_stats64 statistics = {0};
	size_t length = mnl_attr_get_payload_len(attribute);

	memcpy(&statistics, mnl_attr_get_payload(attribute),
	       length < sizeof(statistics) ? length : sizeof(statistics));
	state->dropped = statistics.tx_dropped;
}

static int read_link_attribute(const struct nlattr *attribute, void *argument)
{
	struct link_state *state = argument;

	switch (mnl_attr_get_type(attribute)) {
	case IFLA_IFNAME:
		snprintf(state->name, sizeof(state->name), "%s", mnl_attr_get_str(attribute));
		break;
	case IFLA_MTU:
		state->mtu = mnl_attr_get_u32(attribute);
		break;
	case IFLA_CARRIER:
		state->has_carrier = mnl_attr_get_u8(attribute) != 0;
		break;
	case IFLA_STATS64:
		read_statistics(attribute, state);
		break;
	case IFLA_MASTER:
		state->master = mnl_attr_get_u32(attribute);
		break;
	case IFLA_LINKINFO:
		return mnl_attr_parse_nested(attribute, read_kind_attribute, state);
	default:
		break;
	}
	return MNL_CB_OK;
}

static int read_link(const struct nlmsghdr *message, void *argument)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct link_state *state = argument;

	state->ifindex = (unsigned)info->ifi_index;
	state->is_up = (info->ifi_flags & IFF_UP) != 0;
	state->is_point_to_point = (info->ifi_flags & (IFF_POINTOPOINT | IFF_NOARP)) != 0;
	return mnl_attr_parse(message, sizeof(*info), read_link_attribute, state);
}

/* Begins a request about an interface. @ifindex: 0: an attribute names it */
static struct ifinfomsg *put_link_header(struct nlmsghdr *request, uint16_t type, unsigned ifindex)
{
	struct ifinfomsg *link;

	request->nlmsg_type = type;
	link = mnl_nlmsg_put_extra_header(request, sizeof(*link));
	link->ifi_family = AF_UNSPEC;
	link->ifi_index = (int)ifindex;
	return link;
}

static int ask_link(struct nlmsghdr *request, struct link_state *state)
{
	int error;

	memset(state, 0, sizeof(*state));
	error = rtnetlink_talk(request, read_link, state);
	return error == -ENODEV ? 0 : error;
}

int link_read(const char *name, struct link_state *state)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	(void)put_link_header(request, RTM_GETLINK, 0);
	mnl_attr_put_strz(request, IFLA_IFNAME, name);
	return ask_link(request, state);
}

int link_read_index(unsigned ifindex, struct link_state *state)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	(void)put_link_header(request, RTM_GETLINK, ifindex);
	return ask_link(request, state);
}

static int set_attribute(unsigned ifindex, uint16_t attribute, uint32_t value)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	(void)put_link_header(request, RTM_NEWLINK, ifindex);
	mnl_attr_put_u32(request, attribute, value);
	return rtnetlink_talk(request, NULL, NULL);
}

int link_set_mtu(unsigned ifindex, uint32_t mtu)
{
	return set_attribute(ifindex, IFLA_MTU, mtu);
}

int link_set_queue_length(unsigned ifindex, uint32_t packets)
{
	return set_attribute(ifindex, IFLA_TXQLEN, packets);
}

int link_set_up(unsigned ifindex)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *link = put_link_header(request, RTM_NEWLINK, ifindex);

	link->ifi_flags = IFF_UP;
	link->ifi_change = IFF_UP;
	return rtnetlink_talk(request, NULL, NULL);
}

enum { SYSCTL_PATH_SIZE = 128, SYSCTL_VALUE_SIZE = 16 };

static void write_sysctl_path(char *path, const char *family, const char *name, const char *key)
{
	snprintf(path, SYSCTL_PATH_SIZE, "/proc/sys/net/%s/conf/%s/%s", family, name, key);
}

/* Returns 0 or a negative errno. @value: SYSCTL_VALUE_SIZE bytes, ends with a newline */
static int read_sysctl(const char *path, char *value)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = read(fd, value, SYSCTL_VALUE_SIZE - 1);
	value[got > 0 ? got : 0] = '\0';
	close(fd);
	return got < 0 ? -EIO : 0;
}

int link_sysctl(const char *family, const char *name, const char *key)
{
	char path[SYSCTL_PATH_SIZE], value[SYSCTL_VALUE_SIZE];
	int error;

	write_sysctl_path(path, family, name, key);
	error = read_sysctl(path, value);
	return error < 0 ? error : (int)strtol(value, NULL, 10);
}

int link_set_sysctl(const char *family, const char *name, const char *key, const char *value)
{
	char path[SYSCTL_PATH_SIZE], now[SYSCTL_VALUE_SIZE];
	size_t length = strlen(value);
	int error;
	int fd;

	write_sysctl_path(path, family, name, key);
	error = read_sysctl(path, now);
	if (error < 0)
		return error;
	if (strlen(now) == length + 1 && memcmp(now, value, length) == 0)
		return 0;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, length) != (ssize_t)length)
		error = -errno;
	close(fd);
	return error;
}

static int open_monitor(uint32_t groups)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

int link_monitor_open(void)
{
	return open_monitor(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | 1u << (RTNLGRP_IPV4_NETCONF - 1));
}

int link_route_monitor_open(void)
{
	/* a group that the kernel does not know is left out */
	return open_monitor(RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | 1u << (RTNLGRP_NEXTHOP - 1));
}

void link_monitor_drain(int monitor)
{
	char forgotten[8192];

	/* ENOBUFS says that messages were lost: the same reason to look again as any message */
	while (recv(monitor, forgotten, sizeof(forgotten), 0) > 0 || errno == ENOBUFS ||
	       errno == EINTR)
		errno = 0;
}
