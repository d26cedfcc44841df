/*
 * ICMP errors towards inner senders, at most so many a second for each worker, written to the
 * tunnel interface like any packet that came in.
 */
#ifndef UDP_ENCAP_TUN_REJECT_H
#define UDP_ENCAP_TUN_REJECT_H

#include "base/counters.h"
#include "packet/icmp_error.h"

struct rejecter {
	int queue; /* of the tunnel interface */
	bool with_vnet_header;
	struct counters *counters;
	uint32_t second; /* monotonic */
	uint32_t left;   /* errors that may still be sent in that second */
};

/**
 * Tells a packet's sender that it cannot be carried, within the rate limit.
 * @packet: the packet from its IPv4 header on
 * @length: bytes of it that are there
 * @mtu: for ICMP_CODE_FRAGMENTATION_NEEDED, else 0
 * @now: monotonic seconds
 */
void reject_packet(struct rejecter *rejecter, const uint8_t *packet, size_t length,
		   enum icmp_unreachable_code code, uint32_t mtu, uint32_t now);

#endif
