/* ICMP errors towards inner senders, at most so many a second for each worker. */
#include "io/tun_interface.h"
#include "packet/icmp_error.h"
#include "worker/worker_state.h"

enum { ICMP_ERRORS_PER_SECOND = 200 };

static bool may_send(struct worker *worker)
{
	if (worker->icmp_second != worker->now) {
		worker->icmp_second = worker->now;
		worker->icmp_left = ICMP_ERRORS_PER_SECOND;
	}
	if (worker->icmp_left == 0)
		return false;
	worker->icmp_left--;
	return true;
}

void reject_packet(struct worker *worker, const uint8_t *packet, size_t length, int code,
		   uint32_t mtu)
{
	uint8_t error[VNET_HEADER_SIZE + ICMP_ERROR_SIZE] = {0}; /* no offload in the vnet header */
	size_t skipped = worker->forwarding->with_vnet_header ? 0 : VNET_HEADER_SIZE;
	struct iovec iov = {error + skipped, sizeof(error) - skipped};

	if (!icmp_error_is_allowed(packet, length))
		return;
	if (!may_send(worker)) {
		count(worker, COUNTER_icmp_suppressed, 1);
		return;
	}
	icmp_error_build(packet, (enum icmp_unreachable_code)code,
			 (uint16_t)(mtu < UINT16_MAX ? mtu : UINT16_MAX), error + VNET_HEADER_SIZE);
	/* An error that cannot be delivered is lost like any ICMP message may be. */
	if (tun_write(worker->queue, &iov, 1) == 0)
		count(worker, COUNTER_icmp_sent, 1);
}
