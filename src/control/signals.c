/* Signals; see signals.h for the theory of operation. */
#include "control/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static bool is_ignored(int signum)
{
	struct sigaction action;

	return sigaction(signum, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int signals_open(struct signals *signals)
{
	static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
	sigset_t mask;

	signals->fd = -1;
	sigemptyset(&mask);
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++) {
		if (!is_ignored(handled[i]))
			sigaddset(&mask, handled[i]);
	}
	if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	/* a reader of our output that went away is an error of that write, no reason to die */
	signal(SIGPIPE, SIG_IGN);
	/* nor has a terminal that wants it (stty tostop) to stop what writes in the background */
	signal(SIGTTOU, SIG_IGN);
	signals->fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return signals->fd < 0 ? -errno : 0;
}

static void answer(void *state)
{
	struct signals *signals = state;
	struct signalfd_siginfo info;

	while (read(signals->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGUSR1)
			signals->print(signals->print_state);
		else
			ending_come(signals->ending, CONTROL_WAS_STOPPED);
	}
}

void signals_start(struct signals *signals, struct ending *ending, event_handler *print,
		   void *print_state)
{
	signals->ending = ending;
	signals->print = print;
	signals->print_state = print_state;
	/* after what else there is: counters that are printed then include it */
	event_watch_start(ending->loop, &signals->watch, signals->fd, EVENT_CAN_WAIT, answer,
			  signals);
}

void signals_close(struct signals *signals)
{
	event_watch_stop(&signals->watch);
	if (signals->fd >= 0)
		close(signals->fd);
	signals->fd = -1;
}
