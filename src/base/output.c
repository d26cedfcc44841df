/* Output that does not wait; see output.h for the theory of operation. */
#include "base/output.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Another description of the same pipe or terminal. Returns a negative number when there is none:
 * /proc is not there, or the terminal is another user's. */
static int open_again(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void output_open(struct output *output, int fd)
{
	struct stat status;
	int own;

	memset(output, 0, offsetof(struct output, text));
	output->fd = fd;
	if (fstat(fd, &status) < 0 || S_ISREG(status.st_mode))
		return;
	if (S_ISSOCK(status.st_mode)) {
		output->kind = OUTPUT_IS_SOCKET;
		return;
	}
	own = open_again(fd);
	if (own < 0) {
		output->kind = OUTPUT_IS_SHARED;
		return;
	}
	output->fd = own;
	output->is_own = true;
}

bool output_is_same(int a, int b)
{
	struct stat of_a, of_b;

	return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
	       of_a.st_ino == of_b.st_ino;
}

/* Device and inode of the stream: one that was put elsewhere since leaves the variable behind. */
bool output_is_journal(int fd)
{
	const char *named = getenv("JOURNAL_STREAM");
	struct stat status;
	char own[48];

	if (named == NULL || fstat(fd, &status) < 0)
		return false;
	snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	return strcmp(named, own) == 0;
}

void output_register(struct output *output, void (*begins_to_wait)(void *state), void *state)
{
	output->begins_to_wait = begins_to_wait;
	output->state = state;
	if (output_is_waiting(output) && begins_to_wait != NULL)
		begins_to_wait(state);
}

static ssize_t write_shared(int fd, const char *text, size_t length)
{
	int flags = fcntl(fd, F_GETFL);
	ssize_t written;
	int error;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -1;
	written = write(fd, text, length);
	error = errno;
	(void)fcntl(fd, F_SETFL, flags);
	errno = error;
	return written;
}

static ssize_t write_piece(const struct output *output, const char *text, size_t length)
{
	switch (output->kind) {
	case OUTPUT_IS_SOCKET:
		return send(output->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	case OUTPUT_IS_SHARED:
		return write_shared(output->fd, text, length);
	case OUTPUT_DOES_NOT_WAIT:
		break;
	}
	return write(output->fd, text, length);
}

/* As many whole lines as one write can hold; a pipe takes so much whole, or nothing. */
static size_t piece_length(const char *text, size_t length)
{
	const char *end;

	if (length <= PIPE_BUF)
		return length;
	end = memrchr(text, '\n', PIPE_BUF);
	return end == NULL ? PIPE_BUF : (size_t)(end + 1 - text);
}

static void lose(struct output *output, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		output->lost_lines += text[i] == '\n';
}

/* Writes as much as there is room for. Returns how much is done with, written or lost. */
static size_t write_some(struct output *output, const char *text, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t written = write_piece(output, text + done,
					      piece_length(text + done, length - done));

		if (written >= 0)
			done += (size_t)written;
		else if (errno == EAGAIN || errno == ENOBUFS)
			return done;
		else if (errno != EINTR) {
			/* the reader has gone, the disk is full: nothing to wait for */
			lose(output, text + done, length - done);
			return length;
		}
	}
	return done;
}

void output_resume(struct output *output)
{
	size_t done = write_some(output, output->text, output->waiting);

	output->waiting -= done;
	memmove(output->text, output->text + done, output->waiting);
}

static void keep(struct output *output, const char *text, size_t length)
{
	bool begins = !output_is_waiting(output);

	memcpy(output->text + output->waiting, text, length);
	output->waiting += length;
	if (begins && output->begins_to_wait != NULL)
		output->begins_to_wait(output->state);
}

void output_be_patient(struct output *output, unsigned patience)
{
	output->patient_until = monotonic_milliseconds() + patience;
}

/* Waits for the reader to take something. Returns false when there is no patience for that. */
static bool wait_for_reader(const struct output *output)
{
	struct pollfd watch = {.fd = output->fd, .events = POLLOUT};
	uint64_t now = monotonic_milliseconds();

	return now < output->patient_until &&
	       poll(&watch, 1, (int)(output->patient_until - now)) > 0;
}

/* Makes room for so many bytes, if there is patience for that. */
static void make_room(struct output *output, size_t length)
{
	do
		output_resume(output);
	while (output->waiting + length > OUTPUT_ROOM && wait_for_reader(output));
}

void output_write(struct output *output, const char *lines, size_t length)
{
	size_t done = 0;

	if (output->waiting + length > OUTPUT_ROOM)
		make_room(output, length);
	if (!output_is_waiting(output))
		done = write_some(output, lines, length);
	if (output->waiting + length - done > OUTPUT_ROOM)
		lose(output, lines, length);
	else if (done < length)
		keep(output, lines + done, length - done);
}

void output_close(struct output *output)
{
	make_room(output, OUTPUT_ROOM);
	lose(output, output->text, output->waiting);
	output->waiting = 0;
	if (output->is_own)
		close(output->fd);
	output->is_own = false;
}
