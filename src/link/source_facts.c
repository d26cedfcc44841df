/* Rule T5 as a function of facts; see source_facts.h. */
#include "link/source_facts.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

bool source_may_be_used(const struct source_facts *facts)
{
	if (ip_address_is_none(&facts->chosen))
		return false;
	return facts->stands_on_device || facts->stands_on_vrf ||
	       ip_address_equal(&facts->chosen, &facts->route_source);
}

struct membership {
	unsigned master;
	bool is_of_vrf;
};

static int read_member_kind(const struct nlattr *attribute, void *argument)
{
	struct membership *membership = argument;

	if (mnl_attr_get_type(attribute) == IFLA_INFO_SLAVE_KIND)
		membership->is_of_vrf = strcmp(mnl_attr_get_str(attribute), "vrf") == 0;
	return MNL_CB_OK;
}

static int read_membership(const struct nlattr *attribute, void *argument)
{
	struct membership *membership = argument;

	if (mnl_attr_get_type(attribute) == IFLA_MASTER)
		membership->master = mnl_attr_get_u32(attribute);
	if (mnl_attr_get_type(attribute) == IFLA_LINKINFO)
		return mnl_attr_parse_nested(attribute, read_member_kind, membership);
	return MNL_CB_OK;
}

unsigned source_vrf_of(const struct nlmsghdr *message)
{
	struct membership membership = {0};

	mnl_attr_parse(message, sizeof(struct ifinfomsg), read_membership, &membership);
	return membership.is_of_vrf ? membership.master : 0;
}
