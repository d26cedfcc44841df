/*
 * ICMP "destination unreachable" messages towards the sender of a packet that cannot be carried.
 * Pure: no descriptor, no clock.
 *
 * The message's source is the packet's own destination: from the tunnel's own address the kernel
 * drops it as martian, from a third one rp_filter does.
 */
#ifndef UDP_ENCAP_TUN_ICMP_ERROR_H
#define UDP_ENCAP_TUN_ICMP_ERROR_H

#include "packet/headers.h"
#include "packet/vnet_header.h"

#include <stdbool.h>

enum {
	ICMP_HEADER_SIZE = 8,
	ICMP_QUOTED_SIZE = IPV4_HEADER_SIZE + 8, /* RFC 792: the header and 8 bytes */
	/* from the IPv4 header on */
	ICMP_ERROR_SIZE = IPV4_HEADER_SIZE + ICMP_HEADER_SIZE + ICMP_QUOTED_SIZE,
	ICMP_ERROR_ROOM = VNET_HEADER_SIZE + ICMP_ERROR_SIZE,
};

/** Codes of ICMP type 3 (RFC 792, RFC 1191, RFC 1812). */
enum icmp_unreachable_code {
	ICMP_CODE_HOST_UNREACHABLE = 1,
	ICMP_CODE_PROTOCOL_UNREACHABLE = 2,
	ICMP_CODE_FRAGMENTATION_NEEDED = 4,
	ICMP_CODE_ADMINISTRATIVELY_PROHIBITED = 13,
};

/**
 * True when an error may be sent about a packet (RFC 1122 section 3.2.2): from a unicast address to
 * a unicast address, no later fragment, no ICMP but echo requests.
 * @packet: an IPv4 packet from its header on
 * @length: bytes of it that are there
 */
bool icmp_error_is_allowed(const uint8_t *packet, size_t length);

/**
 * Builds an ICMP error about a packet that icmp_error_is_allowed() allows, as it is written to the
 * tunnel interface.
 * @packet: at least ICMP_QUOTED_SIZE bytes
 * @mtu: next-hop MTU in bytes for ICMP_CODE_FRAGMENTATION_NEEDED, else 0
 * @with_vnet_header: a virtio_net header comes first, one that asks for nothing
 * @error: room for ICMP_ERROR_ROOM bytes
 * Returns how many bytes of it were written.
 */
size_t icmp_error_build(const uint8_t *packet, enum icmp_unreachable_code code, uint32_t mtu,
			bool with_vnet_header, uint8_t *error);

#endif
