/* Socket addresses of IPv6; see socket_address.h. */
#include "base/socket_address.h"

socklen_t socket_address_make_ipv6(struct socket_address *name,
				   const struct transport_address *address)
{
	name->ipv6 = (struct sockaddr_in6){
		.sin6_family = AF_INET6,
		.sin6_port = address->port,
	};
	memcpy(&name->ipv6.sin6_addr, &address->address, sizeof(name->ipv6.sin6_addr));
	return sizeof(name->ipv6);
}

bool socket_address_read_ipv6(const struct socket_address *name, socklen_t length,
			      struct transport_address *address)
{
	if (length < sizeof(name->ipv6) || name->any.sa_family != AF_INET6)
		return false;
	memcpy(&address->address, &name->ipv6.sin6_addr, sizeof(address->address));
	address->port = name->ipv6.sin6_port;
	return true;
}
