/* Text and prefix arithmetic of addresses; see address.h for how they are held. */
#include "base/address.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_address *address)
{
	size_t whole = prefix->length / 8;
	unsigned rest = prefix->length % 8;

	if (memcmp(prefix->address.bytes, address->bytes, whole) != 0)
		return false;
	if (rest == 0)
		return true;
	return (prefix->address.bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0;
}

bool ip_prefix_covers(const struct ip_prefix *outer, const struct ip_prefix *inner)
{
	return outer->length <= inner->length && ip_prefix_contains(outer, &inner->address);
}

struct ip_address ip_prefix_network(const struct ip_prefix *prefix)
{
	struct ip_address network = prefix->address;

	for (size_t bit = prefix->length; bit < 8 * sizeof(network.bytes); bit++)
		network.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
	return network;
}

bool ip_prefix_parse(const char *text, struct ip_prefix *prefix)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	struct in_addr ipv4;
	unsigned long length;
	char *end;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(address))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (inet_pton(AF_INET, address, &ipv4) != 1)
		return false;
	if (slash[1] < '0' || slash[1] > '9')
		return false;
	length = strtoul(slash + 1, &end, 10);
	if (*end != '\0' || length > 32)
		return false;
	prefix->address = ip_address_from_ipv4(ipv4.s_addr);
	prefix->length = (uint8_t)(IPV4_MAPPED_BITS + length);
	return true;
}

const char *ip_address_text(const struct ip_address *address, char *text)
{
	if (ip_address_is_ipv4(address))
		inet_ntop(AF_INET, &address->bytes[12], text, IP_ADDRESS_TEXT_SIZE);
	else
		inet_ntop(AF_INET6, address->bytes, text, IP_ADDRESS_TEXT_SIZE);
	return text;
}

const char *transport_address_text(const struct transport_address *address, char *text)
{
	char host[IP_ADDRESS_TEXT_SIZE];

	ip_address_text(&address->address, host);
	snprintf(text, TRANSPORT_ADDRESS_TEXT_SIZE, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
		 ntohs(address->port));
	return text;
}
