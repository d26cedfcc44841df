/* The control thread's loop; see control.h for the theory of operation. */
#include "control/control_rooms.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
	REFUSALS_QUIET_MS = 10000, /* at most one line about refused peers in that time */
	RESERVE_QUIET_MS = 20,     /* at most one look at the whole pool in that time */
};

enum { WATCH_SIGNALS, WATCH_MONITOR, WATCH_NOTICES, WATCH_COUNT };

static int open_signals(void)
{
	sigset_t handled;

	sigemptyset(&handled);
	sigaddset(&handled, SIGINT);
	sigaddset(&handled, SIGTERM);
	sigaddset(&handled, SIGHUP);
	sigaddset(&handled, SIGUSR1);
	/* blocked here and so in every thread that is started later: only the descriptor tells */
	if (sigprocmask(SIG_BLOCK, &handled, NULL) < 0)
		return -1;
	/* a reader of our output that went away is an error of that write, no reason to die */
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool control_init(struct control *control, struct forwarding *forwarding, struct tun_interface *tun)
{
	memset(control, 0, sizeof(*control));
	control->forwarding = forwarding;
	control->tun = tun;
	control->signals = open_signals();
	control->monitor = link_monitor_open();
	forwarding->notices.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (control->signals >= 0 && control->monitor >= 0 && forwarding->notices.event >= 0)
		return true;
	log_error("cannot open the control thread's descriptors: %s", strerror(errno));
	control_close(control);
	return false;
}

bool control_set_workers(struct control *control, struct worker **workers, size_t count,
			 const int *sockets, unsigned bound_index)
{
	size_t ports = control->forwarding->options->port_per_worker ? count : 1;

	control->workers = workers;
	control->worker_count = count;
	control->bound_index = bound_index;
	while (control->keepalive_socket_count < ports) {
		int socket = fcntl(sockets[control->keepalive_socket_count], F_DUPFD_CLOEXEC, 0);

		if (socket < 0) {
			log_error("cannot duplicate a socket: %s", strerror(errno));
			return false;
		}
		control->keepalive_sockets[control->keepalive_socket_count++] = socket;
	}
	return true;
}

static void hush(struct control *control, uint32_t bit, uint64_t *quiet_until, uint64_t now)
{
	if (*quiet_until == 0 || now < *quiet_until)
		return;
	*quiet_until = 0;
	notices_lower(&control->forwarding->notices, bit);
}

static uint64_t sum_of(const struct control *control, enum counter counter)
{
	uint64_t sum = counter_read(&control->counters, counter);

	for (size_t i = 0; i < control->worker_count; i++)
		sum += counter_read(worker_counters(control->workers[i]), counter);
	return sum;
}

static void tell_refusals(struct control *control, uint64_t now)
{
	uint64_t refused = sum_of(control, COUNTER_connections_refused);
	const char *room = options_server_mode(control->forwarding->options)
				   ? "no room for another peer (see --peer-pool, --max-connections)"
				   : "too many destinations to keep alive (see --max-connections)";

	log_warning("%s: refused %llu times, %u entries", room,
		    (unsigned long long)(refused - control->refusals_told),
		    connection_store_count(control->forwarding->store));
	control->refusals_told = refused;
	control->refusals_quiet_until = now + REFUSALS_QUIET_MS;
}

static void tell_gso(struct control *control)
{
	int error = atomic_load_explicit(&control->forwarding->notices.gso_error,
					 memory_order_relaxed);

	log_warning("segmentation offload does not work on %s (%s): datagrams go out one by one, "
		    "slower, not less",
		    control->forwarding->options->bind_to_interface, strerror(error));
}

/* Answers the workers' notices. Returns false when the tunnel interface is gone. */
static bool answer_notices(struct control *control)
{
	struct notices *notices = &control->forwarding->notices;
	uint32_t raised = notices_raised(notices);
	uint64_t now = monotonic_milliseconds();

	if (raised & NOTICE_TUNNEL_GONE)
		return false;
	if (raised & NOTICE_NEWCOMER) {
		notices_lower(notices, NOTICE_NEWCOMER);
		housekeeping_log_newcomers(control);
	}
	if (raised & NOTICE_GSO_GIVEN_UP) {
		tell_gso(control);
		notices_lower(notices, NOTICE_GSO_GIVEN_UP);
	}
	if ((raised & NOTICE_RESERVE_LOW) && control->reserve_quiet_until == 0) {
		connection_store_refill_spares(control->forwarding->store, monotonic_seconds());
		/* from the end of the look on: in a large pool it takes its time */
		now = monotonic_milliseconds();
		control->reserve_quiet_until = now + RESERVE_QUIET_MS;
	}
	if ((raised & NOTICE_PEER_REFUSED) && control->refusals_quiet_until == 0)
		tell_refusals(control, now);
	hush(control, NOTICE_RESERVE_LOW, &control->reserve_quiet_until, now);
	hush(control, NOTICE_PEER_REFUSED, &control->refusals_quiet_until, now);
	return true;
}

/* Reads the signals that came. Returns false when one of them means the end. */
static bool answer_signals(struct control *control)
{
	struct signalfd_siginfo info;
	bool goes_on = true;

	while (read(control->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGUSR1)
			control_print_counters(control);
		else
			goes_on = false;
	}
	return goes_on;
}

static uint64_t earlier(uint64_t deadline, uint64_t other)
{
	return other != 0 && other < deadline ? other : deadline;
}

/* Milliseconds until something is due. */
static int time_to_sleep(const struct control *control)
{
	uint64_t now = monotonic_milliseconds();
	uint64_t deadline = control->sweep_at;

	deadline = earlier(deadline, control->refusals_quiet_until);
	deadline = earlier(deadline, control->reserve_quiet_until);
	deadline = earlier(deadline, control->socket_retry_at);
	if (deadline <= now)
		return 0;
	return deadline - now < INT32_MAX ? (int)(deadline - now) : INT32_MAX;
}

static bool is_due(uint64_t deadline)
{
	return deadline != 0 && monotonic_milliseconds() >= deadline;
}

enum control_outcome control_run(struct control *control)
{
	struct pollfd watches[WATCH_COUNT] = {
		[WATCH_SIGNALS] = {.fd = control->signals, .events = POLLIN},
		[WATCH_MONITOR] = {.fd = control->monitor, .events = POLLIN},
		[WATCH_NOTICES] = {.fd = control->forwarding->notices.event, .events = POLLIN},
	};

	housekeeping_sweep(control);
	for (;;) {
		eventfd_t ignored;
		int ready;

		rcu_thread_offline();
		ready = poll(watches, WATCH_COUNT, time_to_sleep(control));
		rcu_thread_online();
		if (ready < 0)
			continue;
		if ((watches[WATCH_SIGNALS].revents & POLLIN) && !answer_signals(control))
			return CONTROL_WAS_STOPPED;
		if (watches[WATCH_NOTICES].revents & POLLIN)
			(void)eventfd_read(control->forwarding->notices.event, &ignored);
		if (watches[WATCH_MONITOR].revents != 0)
			link_monitor_drain(control->monitor);
		if ((watches[WATCH_MONITOR].revents != 0 || is_due(control->socket_retry_at)) &&
		    !watch_look(control))
			return CONTROL_LOST_TUNNEL;
		if (!answer_notices(control))
			return CONTROL_LOST_TUNNEL;
		if (is_due(control->sweep_at))
			housekeeping_sweep(control);
	}
}

void control_print_counters(const struct control *control)
{
	printf("counters:\n");
	printf("connections %u\n", connection_store_count(control->forwarding->store));
	for (int i = 0; i < COUNTER_COUNT; i++)
		printf("%s %llu\n", counter_name((enum counter)i),
		       (unsigned long long)sum_of(control, (enum counter)i));
	printf("\n");
	fflush(stdout);
}

void control_close(struct control *control)
{
	const struct options *options = control->forwarding->options;

	/* an interface that was made takes its address and routes with it */
	if (control->has_added_route && !control->tun->is_made)
		(void)link_remove_route(control->tun->index, &options->peer_pool);
	if (control->own_gso_max_size != 0 && !control->tun->is_made)
		(void)link_set_gso_max_size(control->tun->index, control->own_gso_max_size);
	if (control->has_given_address && !control->tun->is_made)
		(void)link_remove_address(control->tun->index, &options->address);
	if (control->signals >= 0)
		close(control->signals);
	if (control->monitor >= 0)
		close(control->monitor);
	while (control->keepalive_socket_count > 0)
		close(control->keepalive_sockets[--control->keepalive_socket_count]);
	if (control->forwarding->notices.event >= 0)
		close(control->forwarding->notices.event);
}
