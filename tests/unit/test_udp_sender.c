/*
 * Sending when the kernel refuses: which segments go out, in which order, and what is given up. The
 * kernel's sendmmsg() is replaced by one that refuses what a test says, the way the kernel does: it
 * stops at the first message that fails and tells of it only when nothing went before.
 */
#include "io/udp_sender.h"

#include "packet/encapsulate.h"

#include <errno.h>
#include <netinet/udp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NOW = 1000 };
enum { SEGMENT_DATA = 100, HEADER = 20, SEGMENT = HEADER + SEGMENT_DATA, SENT_ROOM = 1 << 16 };

/* What the kernel gets to see of one message. */
struct offer {
	size_t length;
	bool is_gso;
	bool has_local;
	bool may_fragment;
	uint16_t port; /* that it goes to, as the test made it */
};

static int (*refuse)(const struct offer *offer); /* an errno, or 0 to take the message */
static unsigned messages_left;                   /* until the socket is full */
static bool source_is_gone;                      /* 192.0.2.1, which some messages have */
static uint8_t sent[SENT_ROOM];
static size_t sent_length;
static bool lets_fragment;  /* what the socket is set to */
static unsigned set_calls;  /* how often it was */
static bool refuses_to_set; /* the kernel does */

static struct offer describe(struct msghdr *header)
{
	const struct sockaddr_in6 *name = header->msg_name;
	struct offer offer = {.may_fragment = lets_fragment, .port = name->sin6_port};

	for (size_t i = 0; i < (size_t)header->msg_iovlen; i++)
		offer.length += header->msg_iov[i].iov_len;
	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control != NULL;
	     control = CMSG_NXTHDR(header, control)) {
		offer.is_gso |= control->cmsg_level == IPPROTO_UDP &&
				control->cmsg_type == UDP_SEGMENT;
		offer.has_local |= control->cmsg_level == IPPROTO_IP &&
				   control->cmsg_type == IP_PKTINFO;
	}
	return offer;
}

static int send_one(struct msghdr *header)
{
	struct offer offer = describe(header);
	int error = refuse(&offer);

	if (messages_left == 0)
		error = EAGAIN;
	if (error != 0)
		return error;
	messages_left--;
	for (size_t i = 0; i < (size_t)header->msg_iovlen; i++) {
		assert_true(sent_length + header->msg_iov[i].iov_len <= SENT_ROOM);
		memcpy(sent + sent_length, header->msg_iov[i].iov_base, header->msg_iov[i].iov_len);
		sent_length += header->msg_iov[i].iov_len;
	}
	return 0;
}

static int ask_for_source(const void *value, socklen_t length)
{
	struct in_addr source;

	assert_int_equal(length, sizeof(source));
	memcpy(&source, value, sizeof(source));
	assert_int_equal(ntohl(source.s_addr), 0xc0000201);
	if (!source_is_gone)
		return 0;
	errno = EADDRNOTAVAIL;
	return -1;
}

static int set_discover(const void *value, socklen_t length)
{
	int discover;

	assert_int_equal(length, sizeof(discover));
	memcpy(&discover, value, sizeof(discover));
	assert_true(discover == IP_PMTUDISC_DO || discover == IP_PMTUDISC_OMIT);
	set_calls++;
	if (refuses_to_set) {
		errno = ENOPROTOOPT;
		return -1;
	}
	lets_fragment = discover == IP_PMTUDISC_OMIT;
	return 0;
}

/* stands in for the C library's, as the next one: who is asked whether the source is an address of
 * this host, and sets whether datagrams may be fragmented */
int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	(void)fd;
	assert_int_equal(level, IPPROTO_IP);
	if (name == IP_MULTICAST_IF)
		return ask_for_source(value, length);
	assert_int_equal(name, IP_MTU_DISCOVER);
	return set_discover(value, length);
}

int sendmmsg(int fd, struct mmsghdr *headers, unsigned count, int flags)
{
	(void)fd;
	assert_int_equal(flags & MSG_DONTWAIT, MSG_DONTWAIT);
	for (unsigned i = 0; i < count; i++) {
		int error = send_one(&headers[i].msg_hdr);

		if (error != 0) {
			errno = error;
			return i > 0 ? (int)i : -1;
		}
	}
	return (int)count;
}

/* A sender with a batch of super-packets, each to a peer of its own, so that none share a message.
 */
struct scene {
	struct udp_sender sender;
	struct outbound_batch batch;
	struct send_totals totals;
	struct send_failure failure;
	uint32_t now;       /* monotonic seconds */
	unsigned fallbacks; /* that the sender told of */
	uint8_t packets[8][VNET_HEADER_SIZE + IPV4_HEADER_SIZE + HEADER + 8 * SEGMENT_DATA];
};

static struct scene *make_scene(int (*refusal)(const struct offer *offer))
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	refuse = refusal;
	messages_left = UINT32_MAX;
	source_is_gone = false;
	sent_length = 0;
	lets_fragment = refuses_to_set = false;
	set_calls = 0;
	scene->now = NOW;
	udp_sender_init(&scene->sender, true);
	outbound_batch_clear(&scene->batch, udp_sender_message_segments(&scene->sender));
	return scene;
}

/* The route's port says where the packet goes; 0: to a peer of its own. */
static void add_packet_by(struct scene *scene, size_t number, size_t data_length,
			  struct datagram_route route)
{
	const struct virtio_net_hdr vnet = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					    .gso_size = SEGMENT_DATA};
	uint8_t *ip = scene->packets[number] + VNET_HEADER_SIZE;
	size_t length = IPV4_HEADER_SIZE + HEADER + data_length;
	struct tunnel_packet packet;

	memcpy(scene->packets[number], &vnet, sizeof(vnet));
	memset(ip, (int)number, length);
	ip[IPV4_VERSION_IHL] = 0x45;
	store_be16(ip + IPV4_TOTAL_LENGTH, (uint16_t)length);
	store_be16(ip + IPV4_FRAGMENT, IPV4_DONT_FRAGMENT);
	ip[IPV4_PROTOCOL] = IPPROTO_TCP;
	ip[IPV4_HEADER_SIZE + TCP_DATA_OFFSET] = 0x50;
	store_be32(ip + IPV4_HEADER_SIZE + TCP_SEQUENCE, 0);
	for (size_t i = 0; i < data_length; i++)
		ip[IPV4_HEADER_SIZE + HEADER + i] = (uint8_t)(number * 16 + i / SEGMENT_DATA);
	if (route.destination.port == 0)
		route.destination.port = (uint16_t)(number + 1);
	assert_int_equal(tunnel_packet_parse(scene->packets[number], VNET_HEADER_SIZE + length,
					     true, &packet),
			 PACKET_IS_TCP);
	assert_int_equal(encapsulate(&scene->batch, &packet, 0, &route), packet.segments);
}

static void add_packet(struct scene *scene, size_t number, size_t data_length, bool has_local)
{
	struct datagram_route route = {0};

	if (has_local)
		route.source = ip_address_from_ipv4(htonl(0xc0000201));
	add_packet_by(scene, number, data_length, route);
}

/* As a worker does it: to the end, or to a failure. */
static enum send_outcome send_batch(struct scene *scene)
{
	enum send_outcome outcome;

	while ((outcome = udp_send(&scene->sender, 0, &scene->batch, scene->now, &scene->totals,
				   &scene->failure)) == SEND_HAS_FALLEN_BACK)
		scene->fallbacks++;
	assert_false(lets_fragment && !refuses_to_set); /* for long */
	return outcome;
}

/* The next batch. */
static void clear_batch(struct scene *scene)
{
	outbound_batch_clear(&scene->batch, udp_sender_message_segments(&scene->sender));
	udp_sender_restart(&scene->sender);
	sent_length = 0;
}

/* True when a datagram of segment `index` of a packet went out at `*at`, which is moved behind it.
 */
static void expect_segment(size_t *at, size_t number, size_t index, size_t data_length)
{
	assert_true(*at + HEADER + data_length <= sent_length);
	assert_int_equal(load_be32(sent + *at + TCP_SEQUENCE), index * SEGMENT_DATA);
	for (size_t i = 0; i < data_length; i++)
		assert_int_equal(sent[*at + HEADER + i], number * 16 + index);
	*at += HEADER + data_length;
}

static void expect_packets(size_t *at, size_t first, size_t count, size_t segments)
{
	for (size_t number = first; number < first + count; number++) {
		for (size_t index = 0; index < segments; index++)
			expect_segment(at, number, index, SEGMENT_DATA);
	}
}

/* One message to a peer. Returns whether it went as a whole. */
static bool goes_as_a_whole(struct scene *scene, uint16_t port)
{
	uint64_t before = scene->totals.gso_messages;
	size_t at = 0;

	clear_batch(scene);
	add_packet_by(scene, 0, (size_t)2 * SEGMENT_DATA,
		      (struct datagram_route){.destination = {.port = port}});
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	expect_packets(&at, 0, 1, 2);
	assert_int_equal(at, sent_length);
	return scene->totals.gso_messages > before;
}

static int take_everything(const struct offer *offer)
{
	(void)offer;
	return 0;
}

static int refuse_gso(const struct offer *offer)
{
	return offer->is_gso ? EIO : 0;
}

static int refuse_gso_to_low_ports(const struct offer *offer)
{
	return offer->is_gso && offer->port < 10 ? EIO : 0;
}

/* A path that takes less than a segment. */
static int refuse_large_with_df(const struct offer *offer)
{
	if (offer->is_gso)
		return EINVAL;
	return offer->length >= SEGMENT && !offer->may_fragment ? EMSGSIZE : 0;
}

static int refuse_large(const struct offer *offer)
{
	return offer->is_gso || offer->length >= SEGMENT ? EMSGSIZE : 0;
}

static int error_of_refused_local;

static int refuse_local(const struct offer *offer)
{
	return offer->has_local ? error_of_refused_local : 0;
}

static unsigned takes_singly; /* until the source is gone */

static int refuse_gso_then_local(const struct offer *offer)
{
	if (offer->is_gso)
		return EIO;
	if (takes_singly == 0)
		return ENETUNREACH;
	takes_singly--;
	return 0;
}

static int refuse_five_segments(const struct offer *offer)
{
	return offer->length == (size_t)5 * SEGMENT ? ENETUNREACH : 0;
}

static void everything_goes_out_in_one_call(void **state)
{
	struct scene *scene = make_scene(take_everything);
	size_t at = 0;

	(void)state;
	for (size_t number = 0; number < 4; number++)
		add_packet(scene, number, (size_t)6 * SEGMENT_DATA, number % 2 == 0);
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	expect_packets(&at, 0, 4, 6);
	assert_int_equal(at, sent_length);
	assert_int_equal(scene->totals.calls, 1);
	assert_int_equal(scene->totals.gso_messages, 4);
	assert_int_equal(scene->totals.segments, 24);
	assert_int_equal(scene->totals.bytes, sent_length);
	free(scene);
}

/* A device that cannot cut datagrams: nothing is lost, and after three peers GSO is given up. */
static void gso_that_never_works_is_given_up(void **state)
{
	struct scene *scene = make_scene(refuse_gso);
	size_t at = 0;

	(void)state;
	for (size_t number = 0; number < 5; number++)
		add_packet(scene, number, (size_t)6 * SEGMENT_DATA, false);
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	expect_packets(&at, 0, 5, 6);
	assert_int_equal(at, sent_length);
	assert_true(scene->sender.gso.is_given_up);
	assert_int_equal(scene->fallbacks, 3);
	assert_int_equal(scene->totals.gso_given_up, EIO);
	assert_int_equal(udp_sender_message_segments(&scene->sender), 1);
	assert_int_equal(scene->totals.gso_fallbacks, 3);
	assert_int_equal(scene->totals.segments, 30);
	assert_int_equal(scene->totals.bytes, sent_length);
	free(scene);
}

/* Once, with the error that made it do so; a new socket is another chance, but not without offload.
 */
static void giving_gso_up_is_told_once_and_may_be_renewed(void **state)
{
	struct scene *scene = make_scene(refuse_gso);

	(void)state;
	for (size_t number = 0; number < 5; number++) {
		add_packet(scene, number, (size_t)2 * SEGMENT_DATA, false);
		scene->totals.gso_given_up = 0;
		assert_int_equal(send_batch(scene), SEND_IS_DONE);
		assert_int_equal(scene->totals.gso_given_up, number == 2 ? EIO : 0);
		assert_int_equal(udp_sender_message_segments(&scene->sender),
				 number < 2 ? MESSAGE_MAX_SEGMENTS : 1);
	}
	udp_sender_renew(&scene->sender);
	assert_int_equal(udp_sender_message_segments(&scene->sender), MESSAGE_MAX_SEGMENTS);
	udp_sender_init(&scene->sender, false);
	assert_int_equal(udp_sender_message_segments(&scene->sender), 1);
	udp_sender_renew(&scene->sender);
	assert_int_equal(udp_sender_message_segments(&scene->sender), 1);
	free(scene);
}

/* The path takes less: that is no fault of the offload, and a shorter last segment still fits. */
static void what_is_too_big_fails_and_the_rest_goes_out(void **state)
{
	struct scene *scene = make_scene(refuse_large);
	size_t at = 0;

	(void)state;
	for (size_t number = 0; number < 4; number++)
		add_packet(scene, number, (size_t)3 * SEGMENT_DATA + 50, false);
	for (size_t number = 0; number < 4; number++) {
		assert_int_equal(send_batch(scene), SEND_HAS_FAILED);
		assert_int_equal(scene->failure.error, EMSGSIZE);
		assert_int_equal(scene->failure.segments, 3);
		assert_int_equal(scene->failure.first_segment, 4 * number);
		assert_int_equal(scene->failure.segment_size, SEGMENT);
		assert_int_equal(scene->failure.destination.port, number + 1);
	}
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	for (size_t number = 0; number < 4; number++)
		expect_segment(&at, number, 3, 50);
	assert_int_equal(at, sent_length);
	assert_false(scene->sender.gso.is_given_up);
	assert_int_equal(scene->totals.bytes, sent_length);
	free(scene);
}

/* The host lost the address that peers sent to: nothing goes out from another, and GSO stays. */
static void a_lost_source_address_is_no_fault_of_gso(void **state)
{
	static const int errors[] = {EINVAL, ENETUNREACH};

	(void)state;
	for (size_t kind = 0; kind < 2; kind++) {
		struct scene *scene = make_scene(refuse_local);
		size_t at = 0;

		source_is_gone = true;
		error_of_refused_local = errors[kind];
		for (size_t number = 0; number < 6; number++)
			add_packet(scene, number, (size_t)4 * SEGMENT_DATA, number != 5);
		for (size_t number = 0; number < 5; number++) {
			assert_int_equal(send_batch(scene), SEND_HAS_FAILED);
			assert_int_equal(scene->failure.error, EADDRNOTAVAIL);
			assert_int_equal(scene->failure.segments, 4);
			assert_int_equal(scene->failure.destination.port, number + 1);
			/* no second try */
			assert_int_equal(scene->totals.calls, number + 1);
		}
		assert_int_equal(sent_length, 0);
		assert_int_equal(send_batch(scene), SEND_IS_DONE);
		expect_packets(&at, 5, 1, 4);
		assert_int_equal(at, sent_length);
		assert_int_equal(scene->totals.gso_fallbacks, 0);
		assert_false(scene->sender.gso.is_given_up);
		free(scene);
	}
}

/* The same errors while the host has the address: no route, or the offload. */
static void a_source_address_that_is_there_is_not_to_blame(void **state)
{
	struct scene *scene = make_scene(refuse_local);

	(void)state;
	error_of_refused_local = ENETUNREACH;
	add_packet(scene, 0, (size_t)4 * SEGMENT_DATA, true);
	assert_int_equal(send_batch(scene), SEND_HAS_FAILED);
	assert_int_equal(scene->failure.error, ENETUNREACH);
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	error_of_refused_local = EINVAL;
	add_packet(scene, 1, (size_t)4 * SEGMENT_DATA, true);
	assert_int_equal(send_batch(scene), SEND_HAS_FAILED);
	assert_int_equal(scene->failure.error, EINVAL);
	assert_int_equal(sent_length, 0);
	free(scene);
}

/* It went amid a message that goes out singly: the rest fails, and that is all. */
static void a_source_address_lost_amid_a_message(void **state)
{
	struct scene *scene = make_scene(refuse_gso_then_local);
	size_t at = 0;

	(void)state;
	add_packet(scene, 0, (size_t)6 * SEGMENT_DATA, true);
	takes_singly = 2;
	source_is_gone = true;
	assert_int_equal(send_batch(scene), SEND_HAS_FAILED);
	assert_int_equal(scene->failure.error, EADDRNOTAVAIL);
	assert_int_equal(scene->failure.first_segment, 2);
	assert_int_equal(scene->failure.segments, 4);
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	for (size_t index = 0; index < 2; index++)
		expect_segment(&at, 0, index, SEGMENT_DATA);
	assert_int_equal(at, sent_length);
	assert_int_equal(scene->totals.gso_fallbacks, 0);
	free(scene);
}

/* While one or two peers' messages fail, which are tried once, the others' stay segmented; the
 * third different one within the time gives it up for all, an older failure does not count. */
static void the_third_peer_within_the_time_gives_it_up(void **state)
{
	struct scene *scene = make_scene(refuse_gso_to_low_ports);

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		assert_false(goes_as_a_whole(scene, 1));
		assert_false(goes_as_a_whole(scene, 2));
		assert_true(goes_as_a_whole(scene, 10));
	}
	assert_int_equal(scene->fallbacks, 2);
	scene->now += GSO_RETRY_SECONDS;
	assert_false(goes_as_a_whole(scene, 3));
	assert_false(goes_as_a_whole(scene, 1));
	assert_true(goes_as_a_whole(scene, 10));
	assert_int_equal(scene->totals.gso_given_up, 0);
	assert_false(goes_as_a_whole(scene, 2));
	assert_int_equal(scene->totals.gso_given_up, EIO);
	assert_false(goes_as_a_whole(scene, 10));
	free(scene);
}

/* A message after the time decides: what fails is given up at once and told of no more, what works
 * is in use again. */
static void what_was_given_up_is_tried_again_in_time(void **state)
{
	struct scene *scene = make_scene(refuse_gso);
	uint64_t fallbacks;

	(void)state;
	for (uint16_t port = 1; port <= 3; port++)
		assert_false(goes_as_a_whole(scene, port));
	assert_int_equal(scene->totals.gso_given_up, EIO);
	scene->totals.gso_given_up = 0;
	for (unsigned times = 0; times < 3; times++) {
		fallbacks = scene->totals.gso_fallbacks;
		scene->now += GSO_RETRY_SECONDS - 1;
		for (unsigned i = 0; i < 3; i++)
			assert_false(goes_as_a_whole(scene, 20));
		assert_int_equal(scene->totals.gso_fallbacks, fallbacks);
		scene->now++;
		for (unsigned i = 0; i < 5; i++)
			assert_false(goes_as_a_whole(scene, 20));
		assert_int_equal(scene->totals.gso_fallbacks, fallbacks + 1);
	}
	assert_int_equal(scene->totals.gso_given_up, 0);
	refuse = take_everything;
	scene->now += GSO_RETRY_SECONDS;
	(void)goes_as_a_whole(scene, 20); /* the batch was begun before */
	assert_true(goes_as_a_whole(scene, 20));
	free(scene);
}

/* On a device that cuts for some peers only it is given up again and again: told once. What worked
 * for as long as the time is another matter when it fails. */
static void what_works_for_some_is_told_once(void **state)
{
	struct scene *scene = make_scene(refuse_gso_to_low_ports);

	(void)state;
	for (unsigned times = 0; times < 3; times++) {
		for (uint16_t port = 1; port <= 3; port++)
			assert_false(goes_as_a_whole(scene, port));
		assert_true(scene->sender.gso.is_given_up);
		assert_int_equal(scene->totals.gso_given_up, times == 0 ? EIO : 0);
		scene->totals.gso_given_up = 0;
		scene->now += GSO_RETRY_SECONDS;
		(void)goes_as_a_whole(scene, 10);
		assert_true(goes_as_a_whole(scene, 10));
	}
	scene->now += GSO_RETRY_SECONDS;
	for (uint16_t port = 1; port <= 3; port++)
		assert_false(goes_as_a_whole(scene, port));
	assert_int_equal(scene->totals.gso_given_up, EIO);
	free(scene);
}

/* What the path is too small for is sent all the same where the caller says so, whole and in its
 * place, and that is no fault of the offload. */
static void what_is_too_big_is_let_be_fragmented(void **state)
{
	struct scene *scene = make_scene(refuse_large_with_df);
	size_t at = 0;

	(void)state;
	for (size_t number = 0; number < 4; number++)
		add_packet(scene, number, (size_t)3 * SEGMENT_DATA + 50, false);
	for (size_t number = 0; number < 4; number++) {
		assert_int_equal(send_batch(scene), SEND_HAS_FAILED);
		assert_int_equal(scene->failure.error, EMSGSIZE);
		assert_false(scene->failure.may_fragment);
		udp_sender_fragment(&scene->sender, &scene->batch);
	}
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	for (size_t number = 0; number < 4; number++) {
		for (size_t index = 0; index < 3; index++)
			expect_segment(&at, number, index, SEGMENT_DATA);
		expect_segment(&at, number, 3, 50);
	}
	assert_int_equal(at, sent_length);
	assert_int_equal(scene->totals.fragmentable, 16);
	assert_int_equal(scene->totals.segments, 16);
	assert_int_equal(scene->totals.bytes, sent_length);
	assert_int_equal(scene->fallbacks, 0);
	free(scene);
}

/* A run of them costs two calls; DF is back for what follows, and the order is the batch's. */
static void the_socket_is_set_once_for_a_run(void **state)
{
	struct scene *scene = make_scene(refuse_large_with_df);
	struct datagram_route route = {.may_fragment = true};
	size_t at = 0;

	(void)state;
	for (size_t number = 0; number < 6; number++) {
		if (number >= 1 && number <= 4)
			add_packet_by(scene, number, SEGMENT_DATA, route);
		else
			add_packet(scene, number, SEGMENT_DATA - 1, false);
	}
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	assert_int_equal(set_calls, 2);
	assert_int_equal(scene->totals.calls, 3);
	assert_int_equal(scene->totals.fragmentable, 4);
	expect_segment(&at, 0, 0, SEGMENT_DATA - 1);
	expect_packets(&at, 1, 4, 1);
	expect_segment(&at, 5, 0, SEGMENT_DATA - 1);
	assert_int_equal(at, sent_length);
	free(scene);
}

/* A message that came without DF and is larger than the path goes out in pieces. */
static void what_came_without_df_is_not_blamed_on_gso(void **state)
{
	struct scene *scene = make_scene(refuse_large_with_df);
	struct datagram_route route = {.may_fragment = true};
	size_t at = 0;

	(void)state;
	for (size_t number = 0; number < 5; number++)
		add_packet_by(scene, number, (size_t)6 * SEGMENT_DATA, route);
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	expect_packets(&at, 0, 5, 6);
	assert_int_equal(at, sent_length);
	assert_int_equal(scene->fallbacks, 0);
	assert_int_equal(scene->totals.gso_fallbacks, 0);
	assert_false(scene->sender.gso.is_given_up);
	free(scene);
}

/* A kernel that does not let the socket be set: an error that is told, and DF is never wrong. */
static void a_socket_that_cannot_be_set_is_an_error(void **state)
{
	struct scene *scene = make_scene(take_everything);
	struct datagram_route route = {.may_fragment = true};
	size_t at = 0;

	(void)state;
	add_packet(scene, 0, SEGMENT_DATA, false);
	add_packet_by(scene, 1, SEGMENT_DATA, route);
	add_packet(scene, 2, SEGMENT_DATA, false);
	refuses_to_set = true;
	assert_int_equal(send_batch(scene), SEND_HAS_FAILED);
	assert_int_equal(scene->failure.error, ENOPROTOOPT);
	assert_int_equal(scene->failure.first_segment, 1);
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	expect_packets(&at, 0, 1, 1);
	expect_packets(&at, 2, 1, 1);
	assert_int_equal(at, sent_length);
	free(scene);
}

static void only_the_message_that_fails_is_skipped(void **state)
{
	struct scene *scene = make_scene(refuse_five_segments);
	size_t at = 0;

	(void)state;
	for (size_t number = 0; number < 5; number++)
		add_packet(scene, number, (number == 2 ? 5u : 4u) * (size_t)SEGMENT_DATA, false);
	assert_int_equal(send_batch(scene), SEND_HAS_FAILED);
	assert_int_equal(scene->failure.error, ENETUNREACH);
	assert_int_equal(scene->failure.segments, 5);
	assert_int_equal(scene->failure.destination.port, 3);
	assert_int_equal(send_batch(scene), SEND_IS_DONE);
	expect_packets(&at, 0, 2, 4);
	expect_packets(&at, 3, 2, 4);
	assert_int_equal(at, sent_length);
	free(scene);
}

/* A full socket at every possible moment, with and without GSO: nothing lost, nothing twice. */
static void a_full_socket_loses_nothing(void **state)
{
	static int (*const refusals[])(const struct offer *) = {take_everything, refuse_gso};

	(void)state;
	for (size_t kind = 0; kind < 2; kind++) {
		for (unsigned room = 1; room < 12; room++) {
			struct scene *scene = make_scene(refusals[kind]);
			size_t at = 0;

			for (size_t number = 0; number < 5; number++)
				add_packet(scene, number, (size_t)4 * SEGMENT_DATA, false);
			messages_left = room;
			while (send_batch(scene) == SEND_IS_BLOCKED) {
				assert_int_equal(messages_left, 0);
				messages_left = room;
			}
			expect_packets(&at, 0, 5, 4);
			assert_int_equal(at, sent_length);
			assert_int_equal(scene->totals.segments, 20);
			free(scene);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_goes_out_in_one_call),
		cmocka_unit_test(gso_that_never_works_is_given_up),
		cmocka_unit_test(giving_gso_up_is_told_once_and_may_be_renewed),
		cmocka_unit_test(what_is_too_big_fails_and_the_rest_goes_out),
		cmocka_unit_test(a_lost_source_address_is_no_fault_of_gso),
		cmocka_unit_test(a_source_address_that_is_there_is_not_to_blame),
		cmocka_unit_test(a_source_address_lost_amid_a_message),
		cmocka_unit_test(the_third_peer_within_the_time_gives_it_up),
		cmocka_unit_test(what_was_given_up_is_tried_again_in_time),
		cmocka_unit_test(what_works_for_some_is_told_once),
		cmocka_unit_test(what_is_too_big_is_let_be_fragmented),
		cmocka_unit_test(the_socket_is_set_once_for_a_run),
		cmocka_unit_test(what_came_without_df_is_not_blamed_on_gso),
		cmocka_unit_test(a_socket_that_cannot_be_set_is_an_error),
		cmocka_unit_test(only_the_message_that_fails_is_skipped),
		cmocka_unit_test(a_full_socket_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
