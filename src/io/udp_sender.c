/* Sending; see udp_sender.h for the theory of operation. */
#include "io/udp_sender.h"

#include <errno.h>
#include <netinet/udp.h>

void udp_sender_init(struct udp_sender *sender, bool may_segment)
{
	memset(sender, 0, sizeof(*sender));
	sender->may_segment = may_segment;
}

void udp_sender_renew(struct udp_sender *sender)
{
	memset(&sender->gso, 0, sizeof(sender->gso));
	sender->lets_fragment = false;
	sender->split_error = 0; /* of the former socket: this one has done nothing yet */
}

void udp_sender_restart(struct udp_sender *sender)
{
	sender->next_message = 0;
	sender->is_split = false;
	sender->failed_segments = 0;
}

static size_t put_control(uint8_t *buffer, size_t used, int level, int type, const void *data,
			  size_t size)
{
	struct cmsghdr header = {
		.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};

	memcpy(buffer + used, &header, sizeof(header));
	memcpy(buffer + used + CMSG_LEN(0), data, size);
	return used + CMSG_SPACE(size);
}

static bool has_source(const struct datagram_route *route)
{
	return !ip_address_is_none(&route->source);
}

static size_t build_control(uint8_t *buffer, const struct datagram_route *route,
			    uint16_t segment_size)
{
	int tos = route->tos;
	size_t used = 0;

	if (segment_size > 0)
		used = put_control(buffer, used, IPPROTO_UDP, UDP_SEGMENT, &segment_size,
				   sizeof(segment_size));
	if (tos != 0)
		used = put_control(buffer, used, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	if (has_source(route)) {
		struct in_pktinfo info = {.ipi_spec_dst.s_addr = ip_address_ipv4(&route->source)};

		used = put_control(buffer, used, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	return used;
}

/* Fills in where a message goes and how. @segment_size: 0: it is one datagram */
static void address(struct msghdr *header, struct socket_address *name, uint8_t *control,
		    const struct datagram_route *route, uint16_t segment_size)
{
	memset(header, 0, sizeof(*header));
	header->msg_name = name;
	header->msg_namelen = socket_address_make(name, &route->destination);
	header->msg_controllen = build_control(control, route, segment_size);
	if (header->msg_controllen > 0)
		header->msg_control = control;
}

/* Prepares one send of `segments` segments from `first` on. */
static void prepare(struct udp_sender *sender, size_t at, struct outbound_batch *batch,
		    const struct outbound_message *message, size_t first, size_t segments)
{
	struct msghdr *header = &sender->headers[at].msg_hdr;
	size_t first_iov = batch->segments[first].first_iov;
	size_t end_iov = batch->segments[first + segments].first_iov;

	address(header, &sender->names[at], sender->control[at], &message->route,
		segments > 1 ? message->segment_size : 0);
	header->msg_iov = &batch->iov[first_iov];
	header->msg_iovlen = end_iov - first_iov;
}

int udp_send_datagram(int fd, const struct datagram_route *route, const void *payload,
		      size_t length)
{
	_Alignas(struct cmsghdr) uint8_t control[SEND_CONTROL_SIZE];
	struct socket_address name;
	struct iovec iov = {.iov_len = length};
	struct msghdr header;

	/* an iovec has no const, though sendmsg() only reads */
	memcpy(&iov.iov_base, &payload, sizeof(payload));
	address(&header, &name, control, route, 0);
	header.msg_iov = &iov;
	header.msg_iovlen = 1;
	return sendmsg(fd, &header, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static bool goes_singly(const struct udp_sender *sender, const struct outbound_message *message)
{
	return message->segments > udp_sender_message_segments(sender) ||
	       (message->segments > 1 && sender->gso.failed_count > 0 &&
		segmentation_has_failed_lately(&sender->gso, &message->route.destination,
					       sender->now));
}

/* Whole messages, up to one that has to go singly or differs in whether it may be fragmented. */
static unsigned prepare_messages(struct udp_sender *sender, struct outbound_batch *batch)
{
	bool may_fragment = batch->messages[sender->next_message].route.may_fragment;
	unsigned count = 0;

	while (count < SEND_MAX_MESSAGES && sender->next_message + count < batch->message_count) {
		const struct outbound_message *message =
			&batch->messages[sender->next_message + count];

		if (goes_singly(sender, message) || message->route.may_fragment != may_fragment)
			break;
		prepare(sender, count, batch, message, message->first_segment, message->segments);
		count++;
	}
	return count;
}

/* The segments of the next message, each by itself. */
static unsigned prepare_segments(struct udp_sender *sender, struct outbound_batch *batch)
{
	const struct outbound_message *message = &batch->messages[sender->next_message];
	unsigned count = 0;

	for (; count < SEND_MAX_MESSAGES && count < message->segments; count++)
		prepare(sender, count, batch, message, message->first_segment + (size_t)count, 1);
	return count;
}

static size_t payload_length(const struct msghdr *header)
{
	size_t length = 0;

	for (size_t i = 0; i < header->msg_iovlen; i++)
		length += header->msg_iov[i].iov_len;
	return length;
}

static void end_message(struct udp_sender *sender)
{
	sender->is_split = false;
	sender->next_message++;
}

static void account_segments(struct udp_sender *sender, struct outbound_message *message,
			     unsigned sent, struct send_totals *totals)
{
	for (unsigned i = 0; i < sent; i++) {
		size_t length = payload_length(&sender->headers[i].msg_hdr);

		totals->bytes += length;
		message->bytes -= (uint32_t)length;
	}
	totals->messages += sent;
	totals->segments += sent;
	if (message->route.may_fragment)
		totals->fragmentable += sent;
	message->first_segment = (uint16_t)(message->first_segment + sent);
	message->segments = (uint16_t)(message->segments - sent);
}

static void account_messages(struct udp_sender *sender, const struct outbound_batch *batch,
			     unsigned sent, struct send_totals *totals)
{
	for (unsigned i = 0; i < sent; i++) {
		const struct outbound_message *message = &batch->messages[sender->next_message++];

		totals->messages++;
		totals->segments += message->segments;
		totals->bytes += message->bytes;
		if (message->route.may_fragment)
			totals->fragmentable += message->segments;
		if (message->segments > 1) {
			totals->gso_messages++;
			segmentation_worked(&sender->gso, sender->now);
		}
	}
}

static void begin_split(struct udp_sender *sender, int error)
{
	sender->is_split = true;
	sender->split_error = error;
}

static void describe(const struct outbound_message *message, int error,
		     struct send_failure *failure)
{
	failure->destination = message->route.destination;
	failure->source = message->route.source;
	failure->may_fragment = message->route.may_fragment;
	failure->first_segment = message->first_segment;
	failure->segments = message->segments;
	failure->segment_size = message->segment_size;
	failure->error = error;
}

/* What cannot be sent for its size alone may have a shorter segment at its end. */
static size_t failing_segments(const struct udp_sender *sender,
			       const struct outbound_message *message, int error)
{
	size_t others = message->segments - (size_t)1;
	bool has_shorter_last = message->bytes < (size_t)message->segment_size * message->segments;

	return sender->is_split && error == EMSGSIZE && others > 0 && has_shorter_last
		       ? others
		       : message->segments;
}

/* Tells of the segments that failed. They stay in the message until the next call. */
static enum send_outcome report_failure(struct udp_sender *sender,
					const struct outbound_message *message, int error,
					struct send_failure *failure)
{
	describe(message, error, failure);
	failure->segments = failing_segments(sender, message, error);
	sender->failed_segments = failure->segments;
	sender->split_error = 0; /* it was not for the offload */
	return SEND_HAS_FAILED;
}

/* Takes the segments that failed out of the next message. */
static void leave_out_failed(struct udp_sender *sender, struct outbound_batch *batch)
{
	struct outbound_message *message = &batch->messages[sender->next_message];
	size_t failed = sender->failed_segments;

	if (failed == 0)
		return;
	sender->failed_segments = 0;
	message->first_segment = (uint16_t)(message->first_segment + failed);
	message->segments = (uint16_t)(message->segments - failed);
	if (message->segments == 0)
		end_message(sender);
	else
		message->bytes -= (uint32_t)(failed * message->segment_size);
}

/*
 * Whether a send failed because the route's source is no address of this host. The kernel answers
 * EINVAL or ENETUNREACH then, by its release, as it does for other reasons; so it is asked by an
 * option that means nothing to a socket without multicast, and whose look-up is the one that the
 * send failed at.
 */
static bool source_is_gone(int fd, const struct datagram_route *route, int error)
{
	struct in_addr source = {.s_addr = ip_address_ipv4(&route->source)};

	return (error == EINVAL || error == ENETUNREACH) && has_source(route) &&
	       setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &source, sizeof(source)) < 0 &&
	       errno == EADDRNOTAVAIL;
}

void udp_sender_fragment(struct udp_sender *sender, struct outbound_batch *batch)
{
	batch->messages[sender->next_message].route.may_fragment = true;
	sender->failed_segments = 0;
}

/* Finds another way for the next message; false when there is none. */
static bool find_another_way(struct udp_sender *sender, struct outbound_message *message, int error)
{
	if (!sender->is_split && message->segments > 1 &&
	    (error == EINVAL || error == EIO || error == EMSGSIZE)) {
		/* the kernel cuts nothing into pieces that the device cannot take whole, which then
		 * may be fragmented: EMSGSIZE, on older kernels EINVAL; not for the offload either
		 */
		begin_split(sender, message->route.may_fragment && error != EIO ? 0 : error);
		return true;
	}
	return false;
}

/* Sets what becomes of datagrams that are larger than the path. Returns 0 or an errno. */
static int let_fragment(struct udp_sender *sender, int fd, bool lets_fragment)
{
	int discover = lets_fragment ? IP_PMTUDISC_OMIT : IP_PMTUDISC_DO;

	if (sender->lets_fragment == lets_fragment)
		return 0;
	if (setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof(discover)) < 0)
		return errno;
	sender->lets_fragment = lets_fragment;
	return 0;
}

/* One call for what comes next. Returns how many messages the kernel took, or a negative errno. */
static int send_some(struct udp_sender *sender, int fd, struct outbound_batch *batch,
		     struct send_totals *totals)
{
	const struct outbound_message *message = &batch->messages[sender->next_message];
	unsigned count;
	int sent, error = let_fragment(sender, fd, message->route.may_fragment);

	if (error != 0)
		return -error;
	count = sender->is_split ? prepare_segments(sender, batch)
				 : prepare_messages(sender, batch);
	sent = sendmmsg(fd, sender->headers, count, MSG_DONTWAIT);
	totals->calls++;
	return sent < 0 ? -errno : sent;
}

/* True when all of the split message is out and it was for the offload that it was split. */
static bool ends_fallback(struct udp_sender *sender, const struct outbound_message *message,
			  struct send_totals *totals, struct send_failure *failure)
{
	if (message->segments > 0)
		return false;
	end_message(sender);
	if (sender->split_error == 0)
		return false;
	describe(message, sender->split_error, failure);
	totals->gso_fallbacks++;
	if (segmentation_failed(&sender->gso, &message->route.destination, sender->now))
		totals->gso_given_up = sender->split_error;
	return true;
}

static enum send_outcome send_rest(struct udp_sender *sender, int fd, struct outbound_batch *batch,
				   struct send_totals *totals, struct send_failure *failure)
{
	while (sender->next_message < batch->message_count) {
		struct outbound_message *message = &batch->messages[sender->next_message];
		int sent;

		if (!sender->is_split && goes_singly(sender, message))
			begin_split(sender, 0);
		sent = send_some(sender, fd, batch, totals);
		if (source_is_gone(fd, &message->route, -sent))
			sent = -EADDRNOTAVAIL;
		if (sent > 0 && sender->is_split) {
			account_segments(sender, message, (unsigned)sent, totals);
			if (ends_fallback(sender, message, totals, failure))
				return SEND_HAS_FALLEN_BACK;
		} else if (sent > 0) {
			account_messages(sender, batch, (unsigned)sent, totals);
		} else if (sent == -EAGAIN) {
			return SEND_IS_BLOCKED;
		} else if (sent != -EINTR && !find_another_way(sender, message, -sent)) {
			return report_failure(sender, message, -sent, failure);
		}
	}
	return SEND_IS_DONE;
}

enum send_outcome udp_send(struct udp_sender *sender, int fd, struct outbound_batch *batch,
			   uint32_t now, struct send_totals *totals, struct send_failure *failure)
{
	enum send_outcome outcome;

	sender->now = now;
	segmentation_try_again_in_time(&sender->gso, sender->now);
	leave_out_failed(sender, batch);
	outcome = send_rest(sender, fd, batch, totals, failure);
	/* a kernel that refuses is asked again before the next datagram that carries DF */
	(void)let_fragment(sender, fd, false);
	return outcome;
}
