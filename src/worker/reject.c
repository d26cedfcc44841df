/* ICMP errors towards inner senders; see reject.h. */
#include "worker/reject.h"

#include "io/tun_interface.h"

enum { ICMP_ERRORS_PER_SECOND = 200 };

static bool may_send(struct rejecter *rejecter, uint32_t now)
{
	if (rejecter->second != now) {
		rejecter->second = now;
		rejecter->left = ICMP_ERRORS_PER_SECOND;
	}
	if (rejecter->left == 0)
		return false;
	rejecter->left--;
	return true;
}

void reject_packet(struct rejecter *rejecter, const uint8_t *packet, size_t length,
		   enum icmp_unreachable_code code, uint32_t mtu, uint32_t now)
{
	uint8_t error[ICMP_ERROR_ROOM];
	struct iovec iov = {.iov_base = error};

	if (!icmp_error_is_allowed(packet, length))
		return;
	if (!may_send(rejecter, now)) {
		counter_add(rejecter->counters, COUNTER_icmp_suppressed, 1);
		return;
	}
	iov.iov_len = icmp_error_build(packet, code, mtu, rejecter->with_vnet_header, error);
	/* An error that cannot be delivered is lost like any ICMP message may be. */
	if (tun_write(rejecter->queue, &iov, 1) == 0)
		counter_add(rejecter->counters, COUNTER_icmp_sent, 1);
}
