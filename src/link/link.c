/* Interfaces: their state, and the few properties that are set by ioctl or sysctl. */
#include "link/link.h"

#include "link/rtnetlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
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
	case IFLA_TUN_NUM_QUEUES:
	case IFLA_TUN_NUM_DISABLED_QUEUES:
		tun->queues += mnl_attr_get_u32(attribute);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

/* The kernel puts the kind in front of the data that depends on it. */
static int read_kind_attribute(const struct nlattr *attribute, void *argument)
{
	struct link_tun *tun = argument;

	if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND)
		tun->is_tun = strcmp(mnl_attr_get_str(attribute), "tun") == 0;
	if (mnl_attr_get_type(attribute) == IFLA_INFO_DATA && tun->is_tun)
		return mnl_attr_parse_nested(attribute, read_tun_attribute, tun);
	return MNL_CB_OK;
}

static int read_link_attribute(const struct nlattr *attribute, void *argument)
{
	struct link_state *state = argument;

	if (mnl_attr_get_type(attribute) == IFLA_MTU)
		state->mtu = mnl_attr_get_u32(attribute);
	if (mnl_attr_get_type(attribute) == IFLA_GSO_MAX_SIZE)
		state->gso_max_size = mnl_attr_get_u32(attribute);
	if (mnl_attr_get_type(attribute) == IFLA_LINKINFO)
		return mnl_attr_parse_nested(attribute, read_kind_attribute, &state->tun);
	return MNL_CB_OK;
}

static int read_link(const struct nlmsghdr *message, void *argument)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct link_state *state = argument;

	state->ifindex = (unsigned)info->ifi_index;
	state->is_up = (info->ifi_flags & IFF_UP) != 0;
	return mnl_attr_parse(message, sizeof(*info), read_link_attribute, state);
}

int link_read(const char *name, struct link_state *state)
{
	char buffer[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;
	int error;

	memset(state, 0, sizeof(*state));
	request->nlmsg_type = RTM_GETLINK;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(request, IFLA_IFNAME, name);
	error = rtnetlink_talk(request, read_link, state);
	return error == -ENODEV ? 0 : error;
}

static int interface_ioctl(const char *name, unsigned long command, struct ifreq *request)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	snprintf(request->ifr_name, sizeof(request->ifr_name), "%s", name);
	if (ioctl(fd, command, request) < 0)
		error = -errno;
	close(fd);
	return error;
}

int link_set_mtu(const char *name, uint32_t mtu)
{
	struct ifreq request = {.ifr_mtu = (int)mtu};

	return interface_ioctl(name, SIOCSIFMTU, &request);
}

int link_set_queue_length(const char *name, uint32_t packets)
{
	struct ifreq request = {.ifr_qlen = (int)packets};

	return interface_ioctl(name, SIOCSIFTXQLEN, &request);
}

int link_set_up(const char *name)
{
	struct ifreq request = {0};
	int error = interface_ioctl(name, SIOCGIFFLAGS, &request);

	if (error < 0)
		return error;
	if (request.ifr_flags & IFF_UP)
		return 0;
	request.ifr_flags |= IFF_UP;
	return interface_ioctl(name, SIOCSIFFLAGS, &request);
}

int link_set_gso_max_size(unsigned ifindex, uint32_t size)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *link;

	request->nlmsg_type = RTM_NEWLINK;
	link = mnl_nlmsg_put_extra_header(request, sizeof(*link));
	link->ifi_family = AF_UNSPEC;
	link->ifi_index = (int)ifindex;
	mnl_attr_put_u32(request, IFLA_GSO_MAX_SIZE, size);
	return rtnetlink_talk(request, NULL, NULL);
}

int link_set_sysctl(const char *family, const char *name, const char *key, const char *value)
{
	char path[128];
	char now[16] = "";
	size_t length = strlen(value);
	ssize_t got;
	int error = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name, key);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = read(fd, now, sizeof(now) - 1);
	close(fd);
	if (got == (ssize_t)length + 1 && memcmp(now, value, length) == 0)
		return 0;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, length) != (ssize_t)length)
		error = -errno;
	close(fd);
	return error;
}

int link_monitor_open(void)
{
	struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR,
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void link_monitor_drain(int monitor)
{
	char forgotten[8192];

	/* ENOBUFS says that messages were lost: the same reason to look again as any message */
	while (recv(monitor, forgotten, sizeof(forgotten), 0) > 0 || errno == ENOBUFS ||
	       errno == EINTR)
		errno = 0;
}
