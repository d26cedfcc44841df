/* ICMP errors: see icmp_error.h. */
#include "packet/icmp_error.h"

#include "packet/checksum.h"

#include <netinet/in.h>

enum {
	ICMP_TYPE_UNREACHABLE = 3,
	ICMP_TYPE_ECHO_REQUEST = 8,
	ICMP_CHECKSUM = 2,
	ICMP_NEXT_HOP_MTU = 6,
};

/* Neither "this network", loopback, multicast nor reserved. */
static bool is_unicast(const uint8_t *address)
{
	return address[0] > 0 && address[0] < 224 && address[0] != 127;
}

bool icmp_error_is_allowed(const uint8_t *packet, size_t length)
{
	if (length < ICMP_QUOTED_SIZE || packet[IPV4_VERSION_IHL] != 0x45)
		return false;
	if (load_be16(packet + IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET)
		return false;
	if (packet[IPV4_PROTOCOL] == IPPROTO_ICMP &&
	    packet[IPV4_HEADER_SIZE] != ICMP_TYPE_ECHO_REQUEST)
		return false;
	return is_unicast(packet + IPV4_SOURCE) && is_unicast(packet + IPV4_DESTINATION);
}

static void build_ipv4_header(const uint8_t *packet, uint8_t *ip)
{
	ip[IPV4_VERSION_IHL] = 0x45;
	ip[IPV4_TOS] = 0xc0; /* internetwork control, RFC 1812 section 4.3.2.5 */
	store_be16(ip + IPV4_TOTAL_LENGTH, ICMP_ERROR_SIZE);
	ip[IPV4_TTL] = 64;
	ip[IPV4_PROTOCOL] = IPPROTO_ICMP;
	memcpy(ip + IPV4_SOURCE, packet + IPV4_DESTINATION, 4);
	memcpy(ip + IPV4_DESTINATION, packet + IPV4_SOURCE, 4);
	store_u16(ip + IPV4_CHECKSUM,
		  (uint16_t)~checksum_fold(checksum_add(0, ip, IPV4_HEADER_SIZE)));
}

size_t icmp_error_build(const uint8_t *packet, enum icmp_unreachable_code code, uint32_t mtu,
			bool with_vnet_header, uint8_t *error)
{
	size_t vnet_size = with_vnet_header ? VNET_HEADER_SIZE : 0;
	uint8_t *ip = error + vnet_size;
	uint8_t *icmp = ip + IPV4_HEADER_SIZE;
	const size_t icmp_size = ICMP_HEADER_SIZE + ICMP_QUOTED_SIZE;

	/* all zero is a virtio_net header without offloads, too */
	memset(error, 0, vnet_size + ICMP_ERROR_SIZE);
	build_ipv4_header(packet, ip);
	icmp[0] = ICMP_TYPE_UNREACHABLE;
	icmp[1] = (uint8_t)code;
	store_be16(icmp + ICMP_NEXT_HOP_MTU, (uint16_t)(mtu < UINT16_MAX ? mtu : UINT16_MAX));
	memcpy(icmp + ICMP_HEADER_SIZE, packet, ICMP_QUOTED_SIZE);
	store_u16(icmp + ICMP_CHECKSUM, (uint16_t)~checksum_fold(checksum_add(0, icmp, icmp_size)));
	return vnet_size + ICMP_ERROR_SIZE;
}
