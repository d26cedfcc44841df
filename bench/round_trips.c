/*
 * A load of small messages over TCP, and how long each round trip took.
 *
 *     round-trips --serve ADDRESS PORT
 *     round-trips --connect ADDRESS PORT [--bind ADDRESS] [--connections N] [--bytes B]
 *                 [--seconds S] [--set-ups]
 *
 * The server sends back what it gets. The client keeps one message under way on each of its
 * connections; with --set-ups each message gets a connection of its own: connect, one exchange,
 * close. There the server closes first, as the message asks it to: the client would keep a port
 * busy in TIME_WAIT for each connection, and searching for a free one would soon be all that it
 * does. Each end is one thread with epoll, so that on two processors both ends can run. The client
 * prints one line of JSON. The first half second warms up and is not counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BYTES = 16384, MAX_CONNECTIONS = 20000, MAX_EVENTS = 512, BACKLOG = 4096 };

#define NANOSECONDS 1000000000u
#define WARM_UP (NANOSECONDS / 2)
#define PATIENCE (10ull * NANOSECONDS) /* until all connections stand */

struct plan {
	struct sockaddr_in address;
	struct sockaddr_in source; /* family 0: the kernel's choice */
	size_t connections;
	size_t bytes;
	double seconds;
	bool is_server;
	bool set_ups;
};

struct connection {
	int fd;
	size_t missing;   /* bytes of the answer that have not come yet */
	uint64_t started; /* nanoseconds */
	bool is_connecting;
};

/* Times of round trips, in nanoseconds. */
struct samples {
	uint32_t *times;
	size_t count, room;
};

struct load {
	const struct plan *plan;
	int epoll;
	size_t established;
	uint64_t count_from, count_until;
	struct connection *connections;
	struct samples samples;
};

/* What a message begins with, to be answered by closing the connection as well. */
enum { LAST_MESSAGE = 'l' };

/* One segment, so that the server has all of it when it closes. */
enum { MAX_SET_UP_BYTES = 1000 };

static char message[MAX_BYTES];

static void die(const char *what)
{
	fprintf(stderr, "round-trips: cannot %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * NANOSECONDS + (uint64_t)time.tv_nsec;
}

/* What a listener has, its connections inherit. */
static int make_socket(void)
{
	static const char cubic[] = "cubic"; /* a system may have another default */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cubic, sizeof(cubic) - 1) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		die("make a socket");
	return fd;
}

static void watch(int epoll, int operation, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event event = {.events = events, .data.u64 = tag};

	if (epoll_ctl(epoll, operation, fd, &event) < 0)
		die("watch a socket");
}

/* A message is small and alone in its direction, so the socket always has room for it. */
static bool send_message(int fd, const char *bytes, size_t length)
{
	return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)fd);
	}
	if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
		die("accept a connection");
}

static void echo(int fd)
{
	ssize_t length = recv(fd, message, sizeof(message), 0);

	if (length < 0 && errno == EAGAIN)
		return;
	if (length <= 0 || !send_message(fd, message, (size_t)length) || message[0] == LAST_MESSAGE)
		close(fd);
}

static void serve(const struct plan *plan)
{
	struct epoll_event events[MAX_EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int listener = make_socket();

	if (epoll < 0)
		die("make an epoll descriptor");
	if (bind(listener, (const struct sockaddr *)&plan->address, sizeof(plan->address)) < 0 ||
	    listen(listener, BACKLOG) < 0)
		die("listen");
	watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, (uint64_t)listener);
	fprintf(stderr, "ready:\n");
	for (;;) {
		int count = epoll_wait(epoll, events, MAX_EVENTS, -1);

		if (count < 0 && errno != EINTR)
			die("wait for events");
		for (int i = 0; i < count; i++) {
			if (events[i].data.u64 == (uint64_t)listener)
				accept_all(epoll, listener);
			else
				echo((int)events[i].data.u64);
		}
	}
}

static void start_connection(struct load *load, struct connection *connection)
{
	const struct plan *plan = load->plan;

	connection->fd = make_socket();
	connection->started = now();
	connection->is_connecting = true;
	if (plan->source.sin_family != 0 &&
	    bind(connection->fd, (const struct sockaddr *)&plan->source, sizeof(plan->source)) < 0)
		die("bind to the source address");
	if (connect(connection->fd, (const struct sockaddr *)&plan->address,
		    sizeof(plan->address)) < 0 &&
	    errno != EINPROGRESS)
		die("connect");
	watch(load->epoll, EPOLL_CTL_ADD, connection->fd, EPOLLOUT,
	      (uint64_t)(connection - load->connections));
}

static void ask(struct load *load, struct connection *connection)
{
	connection->missing = load->plan->bytes;
	if (!send_message(connection->fd, message, load->plan->bytes))
		die("send");
}

static void note_time(struct load *load, uint64_t started)
{
	struct samples *samples = &load->samples;
	uint64_t end = now();
	uint64_t time = end - started;

	if (end < load->count_from || end >= load->count_until)
		return;
	if (samples->count == samples->room) {
		samples->room = samples->room == 0 ? 1 << 16 : samples->room * 2;
		samples->times = realloc(samples->times, samples->room * sizeof(*samples->times));
		if (samples->times == NULL)
			die("keep the times");
	}
	samples->times[samples->count++] = time < UINT32_MAX ? (uint32_t)time : UINT32_MAX;
}

static void finish_connect(struct load *load, struct connection *connection)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0) {
		errno = error != 0 ? error : errno;
		die("connect");
	}
	connection->is_connecting = false;
	load->established++;
	watch(load->epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN,
	      (uint64_t)(connection - load->connections));
	if (load->plan->set_ups)
		ask(load, connection);
}

/* The answer, or part of it. */
static void take_answer(struct load *load, struct connection *connection)
{
	char answer[MAX_BYTES];
	ssize_t length = recv(connection->fd, answer, sizeof(answer), 0);

	if (length < 0 && errno == EAGAIN)
		return;
	if (length == 0 && load->plan->set_ups && connection->missing == 0) {
		note_time(load, connection->started);
		close(connection->fd);
		start_connection(load, connection);
		return;
	}
	if (length <= 0 || (size_t)length > connection->missing) {
		errno = length == 0 ? ECONNRESET : errno;
		die("receive an answer");
	}
	connection->missing -= (size_t)length;
	if (connection->missing > 0)
		return;
	if (load->plan->set_ups)
		return; /* the server closes it */
	note_time(load, connection->started);
	connection->started = now();
	ask(load, connection);
}

static void answer_events(struct load *load)
{
	struct epoll_event events[MAX_EVENTS];
	int count = epoll_wait(load->epoll, events, MAX_EVENTS, 1000);

	if (count < 0 && errno != EINTR)
		die("wait for events");
	for (int i = 0; i < count; i++) {
		struct connection *connection = &load->connections[events[i].data.u64];

		if (connection->is_connecting)
			finish_connect(load, connection);
		else
			take_answer(load, connection);
	}
}

static int compare_times(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

static double percentile(const struct samples *samples, double share)
{
	size_t index = (size_t)(share * (double)samples->count);

	if (samples->count == 0)
		return 0;
	return samples->times[index < samples->count ? index : samples->count - 1] / 1000.0;
}

static void report(const struct load *load)
{
	const struct samples *samples = &load->samples;
	const char *what = load->plan->set_ups ? "set_ups" : "pairs";

	if (samples->count > 0)
		qsort(samples->times, samples->count, sizeof(*samples->times), compare_times);
	printf("{\"%s\": %zu, \"seconds\": %.3f, \"%s_per_second\": %.1f, \"p50_us\": %.1f, "
	       "\"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
	       what, samples->count, load->plan->seconds, what,
	       (double)samples->count / load->plan->seconds, percentile(samples, 0.5),
	       percentile(samples, 0.9), percentile(samples, 0.99), percentile(samples, 0.999),
	       percentile(samples, 1));
}

static void put_load(const struct plan *plan)
{
	struct load load = {.plan = plan, .epoll = epoll_create1(EPOLL_CLOEXEC)};
	uint64_t give_up = now() + PATIENCE;

	message[0] = plan->set_ups ? LAST_MESSAGE : 0;
	load.connections = calloc(plan->connections, sizeof(*load.connections));
	if (load.epoll < 0 || load.connections == NULL)
		die("make an epoll descriptor");
	load.count_from = UINT64_MAX;
	for (size_t i = 0; i < plan->connections; i++)
		start_connection(&load, &load.connections[i]);
	while (!plan->set_ups && load.established < plan->connections) {
		answer_events(&load);
		if (now() > give_up) {
			errno = ETIMEDOUT;
			die("connect");
		}
	}
	load.count_from = now() + WARM_UP;
	load.count_until = load.count_from + (uint64_t)(plan->seconds * NANOSECONDS);
	for (size_t i = 0; !plan->set_ups && i < plan->connections; i++) {
		load.connections[i].started = now();
		ask(&load, &load.connections[i]);
	}
	while (now() < load.count_until)
		answer_events(&load);
	report(&load);
	free(load.samples.times);
	free(load.connections);
}

static void usage(void)
{
	fprintf(stderr,
		"usage: round-trips --serve ADDRESS PORT\n"
		"       round-trips --connect ADDRESS PORT [--bind ADDRESS] [--connections N] "
		"[--bytes B] [--seconds S] [--set-ups]\n");
	exit(2);
}

static double number(const char *text, double least, double most)
{
	char *end;
	double value = strtod(text, &end);

	if (*end != '\0' || !(value >= least && value <= most)) {
		fprintf(stderr, "round-trips: a number from %g to %g is needed, not '%s'\n", least,
			most, text);
		exit(2);
	}
	return value;
}

static void read_address(const char *text, struct sockaddr_in *address)
{
	address->sin_family = AF_INET;
	if (inet_pton(AF_INET, text, &address->sin_addr) == 1)
		return;
	fprintf(stderr, "round-trips: an IPv4 address is needed, not '%s'\n", text);
	exit(2);
}

static void read_plan(int argc, char **argv, struct plan *plan)
{
	static const struct option longs[] = {
		{"serve", required_argument, NULL, 's'},
		{"connect", required_argument, NULL, 'c'},
		{"bind", required_argument, NULL, 'b'},
		{"connections", required_argument, NULL, 'n'},
		{"bytes", required_argument, NULL, 'l'},
		{"seconds", required_argument, NULL, 't'},
		{"set-ups", no_argument, NULL, 'u'},
		{NULL, 0, NULL, 0},
	};
	int found;

	while ((found = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (found) {
		case 's':
		case 'c':
			plan->is_server = found == 's';
			read_address(optarg, &plan->address);
			break;
		case 'b':
			read_address(optarg, &plan->source);
			break;
		case 'n':
			plan->connections = (size_t)number(optarg, 1, MAX_CONNECTIONS);
			break;
		case 'l':
			plan->bytes = (size_t)number(optarg, 1, MAX_BYTES);
			break;
		case 't':
			plan->seconds = number(optarg, 0.1, 600);
			break;
		case 'u':
			plan->set_ups = true;
			break;
		default:
			usage();
		}
	}
	if (plan->address.sin_family == 0 || optind != argc - 1)
		usage();
	if (plan->set_ups && plan->bytes > MAX_SET_UP_BYTES) {
		fprintf(stderr, "round-trips: --set-ups takes messages of at most %d bytes\n",
			MAX_SET_UP_BYTES);
		exit(2);
	}
	plan->address.sin_port = htons((uint16_t)number(argv[optind], 1, 65535));
}

/* A descriptor for each connection; what the system does not allow shows when they are made. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("read the limit of descriptors");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("raise the limit of descriptors");
}

int main(int argc, char **argv)
{
	struct plan plan = {.connections = 1, .bytes = 1, .seconds = 1};

	read_plan(argc, argv, &plan);
	raise_descriptor_limit();
	if (plan.is_server)
		serve(&plan);
	put_load(&plan);
	return 0;
}
