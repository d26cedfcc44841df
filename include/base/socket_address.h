/*
 * Between this program's addresses and the ones of the socket calls.
 *
 * Theory of operation. Nothing but these functions knows how a struct sockaddr is laid out. The
 * family follows from the address: an IPv4-mapped one is IPv4 (AF_INET), any other is IPv6. Way and
 * way back are inverse to each other, but for an IPv6 scope, which no address here has.
 *
 * IPv4 is in line, because it is done for each message that is sent or received.
 */
#ifndef UDP_ENCAP_TUN_SOCKET_ADDRESS_H
#define UDP_ENCAP_TUN_SOCKET_ADDRESS_H

#include "base/address.h"

#include <netinet/in.h>
#include <sys/socket.h>

/** Room for an address of either family, to be handed to a socket call through `any`. */
struct socket_address {
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	};
};

/** As socket_address_make(), for an address that is not IPv4. Any thread. */
socklen_t socket_address_make_ipv6(struct socket_address *name,
				   const struct transport_address *address);

/** As socket_address_read(), for what is not AF_INET. Any thread. */
bool socket_address_read_ipv6(const struct socket_address *name, socklen_t length,
			      struct transport_address *address);

/**
 * Makes a socket address. Any thread.
 * Returns the bytes of it that a socket call has to be told.
 */
static inline socklen_t socket_address_make(struct socket_address *name,
					    const struct transport_address *address)
{
	if (!ip_address_is_ipv4(&address->address))
		return socket_address_make_ipv6(name, address);
	name->ipv4 = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = address->port,
		.sin_addr.s_addr = ip_address_ipv4(&address->address),
	};
	return sizeof(name->ipv4);
}

/**
 * Reads a socket address. Any thread.
 * @length: bytes of it that a socket call filled
 * Returns false, with nothing written, for another family and for one that is not complete.
 */
static inline bool socket_address_read(const struct socket_address *name, socklen_t length,
				       struct transport_address *address)
{
	if (length < sizeof(name->ipv4) || name->any.sa_family != AF_INET)
		return socket_address_read_ipv6(name, length, address);
	address->address = ip_address_from_ipv4(name->ipv4.sin_addr.s_addr);
	address->port = name->ipv4.sin_port;
	return true;
}

#endif
