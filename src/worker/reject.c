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
	uint8_t error[ICMP_ERROR_ROOM];
	struct iovec iov = {.iov_base = error};

	if (!icmp_error_is_allowed(packet, length))
		return;
	if (!may_send(worker)) {
		count(worker, COUNTER_icmp_suppressed, 1);
		return;
	}
	iov.iov_len = icmp_error_build(packet, (enum icmp_unreachable_code)code, mtu,
				       worker->forwarding->with_vnet_header, error);
	/* An error that cannot be delivered is lost like any ICMP message may be. */
	if (tun_write(worker->queue, &iov, 1) == 0)
		count(worker, COUNTER_icmp_sent, 1);
}
