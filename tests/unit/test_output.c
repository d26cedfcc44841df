/* Output that does not wait: order, what waits, what is lost and counted, readers that go. */
#include "base/output.h"

#include "base/clock.h"
#include "random_traffic.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PIPE_SIZE = 4096, LINES = 5000, LINE_SIZE = 32 };

static struct output output;
static int ends[2]; /* the reader's, the writer's */
static unsigned waits;

static void note_wait(void *state)
{
	(void)state;
	waits++;
}

static void begin(int fd)
{
	waits = 0;
	output_open(&output, fd);
	output_register(&output, note_wait, NULL);
}

static void open_pipe(void)
{
	assert_int_equal(pipe(ends), 0);
	assert_true(fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE) >= PIPE_SIZE);
}

static void close_pipe(void)
{
	close(ends[0]);
	close(ends[1]);
}

static void write_line(unsigned number)
{
	char line[LINE_SIZE];

	output_write(&output, line, (size_t)snprintf(line, sizeof(line), "line %u\n", number));
}

/* Reads all that there is and looks whether it is whole lines in order. Returns how many. */
static unsigned read_lines(unsigned first)
{
	static char text[4 * OUTPUT_ROOM];
	size_t used = 0;
	ssize_t got;
	char *at = text;

	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	do {
		while ((got = read(ends[0], text + used, sizeof(text) - 1 - used)) > 0)
			used += (size_t)got;
		output_resume(&output);
		got = read(ends[0], text + used, sizeof(text) - 1 - used);
		used += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	text[used] = '\0';
	for (unsigned number = first;; number++) {
		char line[LINE_SIZE];
		size_t length = (size_t)snprintf(line, sizeof(line), "line %u\n", number);

		if (*at == '\0')
			return number - first;
		assert_memory_equal(at, line, length);
		at += length;
	}
}

/* What the inherited description has stays as it is, for whoever shares it. */
static void the_readers_end_stays_as_it_was(void **state)
{
	(void)state;
	open_pipe();
	begin(ends[1]);
	assert_int_equal(output.kind, OUTPUT_DOES_NOT_WAIT);
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(output.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	output_close(&output);
	close_pipe();
}

/* Nothing is read: the pipe and the buffer fill, the rest is lost and counted. */
static void check_full_reader(void)
{
	unsigned kept;

	for (unsigned i = 0; i < LINES; i++)
		write_line(i);
	for (unsigned i = LINES; output.lost_lines == 0; i++)
		write_line(i);
	assert_true(output_is_waiting(&output));
	assert_int_equal(waits, 1);
	kept = read_lines(0);
	assert_true(kept >= LINES);
	assert_false(output_is_waiting(&output));
	/* the one that was lost is not among them, and the next one is whole */
	assert_int_equal(output.lost_lines, 1);
	write_line(7);
	assert_int_equal(read_lines(7), 1);
}

static void a_pipe_that_nobody_reads(void **state)
{
	(void)state;
	open_pipe();
	begin(ends[1]);
	check_full_reader();
	output_close(&output);
	close_pipe();
}

/* As without /proc: the description is the inherited one, which waits. */
static void a_pipe_that_cannot_be_opened_again(void **state)
{
	(void)state;
	open_pipe();
	begin(ends[1]);
	close(output.fd);
	output.fd = ends[1];
	output.is_own = false;
	output.kind = OUTPUT_IS_SHARED;
	check_full_reader();
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	output_close(&output);
	close_pipe();
}

/* A terminal with little room: poll(2) calls it writable, and a write would sleep for the rest. */
static void a_terminal_that_cannot_be_opened_again(void **state)
{
	int master, terminal;

	(void)state;
	assert_int_equal(openpty(&master, &terminal, NULL, NULL, NULL), 0);
	begin(terminal);
	close(output.fd);
	output.fd = terminal;
	output.is_own = false;
	output.kind = OUTPUT_IS_SHARED;
	for (unsigned i = 0; output.lost_lines == 0; i++)
		write_line(i);
	assert_true(output_is_waiting(&output));
	assert_int_equal(fcntl(terminal, F_GETFL) & O_NONBLOCK, 0);
	output_close(&output);
	close(terminal);
	close(master);
}

static void a_socket_that_nobody_reads(void **state)
{
	const int size = 4096;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	begin(ends[1]);
	assert_int_equal(output.kind, OUTPUT_IS_SOCKET);
	check_full_reader();
	output_close(&output);
	close_pipe();
}

static void a_block_is_longer_than_a_pipe_takes_at_once(void **state)
{
	static char block[3 * PIPE_BUF];
	unsigned lines = 0;
	size_t used = 0;

	(void)state;
	while (used + LINE_SIZE < sizeof(block))
		used += (size_t)snprintf(block + used, LINE_SIZE, "line %u\n", lines++);
	open_pipe();
	begin(ends[1]);
	output_write(&output, block, used);
	assert_true(output_is_waiting(&output));
	assert_int_equal(read_lines(0), lines);
	assert_int_equal(output.lost_lines, 0);
	output_close(&output);
	close_pipe();
}

static void a_reader_that_has_gone(void **state)
{
	(void)state;
	open_pipe();
	begin(ends[1]);
	for (unsigned i = 0; !output_is_waiting(&output); i++)
		write_line(i);
	close(ends[0]);
	output_resume(&output);
	assert_false(output_is_waiting(&output));
	assert_int_equal(output.lost_lines, 1);
	write_line(1);
	assert_int_equal(output.lost_lines, 2);
	output_close(&output);
	close(ends[1]);
}

static void a_file_takes_everything(void **state)
{
	int file = memfd_create("log", MFD_CLOEXEC);

	(void)state;
	begin(file);
	for (unsigned i = 0; i < LINES; i++)
		write_line(i);
	assert_int_equal(output.lost_lines, 0);
	assert_int_equal(waits, 0);
	assert_true(lseek(file, 0, SEEK_END) > (off_t)LINES * 6);
	output_close(&output);
	close(file);
}

static void a_full_disk_costs_lines(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	begin(full);
	write_line(1);
	assert_int_equal(output.lost_lines, 1);
	assert_false(output_is_waiting(&output));
	output_close(&output);
	close(full);
}

static void the_end_does_not_wait_for_ever(void **state)
{
	uint64_t start = monotonic_milliseconds();

	(void)state;
	open_pipe();
	begin(ends[1]);
	for (unsigned i = 0; !output_is_waiting(&output); i++)
		write_line(i);
	output_be_patient(&output, 50);
	output_close(&output);
	assert_in_range(monotonic_milliseconds() - start, 40, 2000) /* of a coarse clock */;
	assert_int_equal(output.lost_lines, 1);
	close_pipe();
}

static void *read_slowly(void *argument)
{
	unsigned *lines = argument;
	char text[1024];
	ssize_t got;

	while ((got = read(ends[0], text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < got; i++)
			*lines += text[i] == '\n';
		usleep(100);
	}
	return NULL;
}

/* At the end a reader that reads gets everything, however much more than the buffer that is. */
static void last_words_are_waited_for(void **state)
{
	const unsigned words = 4 * OUTPUT_ROOM / 10;
	unsigned lines = 0;
	pthread_t reader;

	(void)state;
	open_pipe();
	begin(ends[1]);
	assert_int_equal(pthread_create(&reader, NULL, read_slowly, &lines), 0);
	output_be_patient(&output, 10000);
	for (unsigned i = 0; i < words; i++)
		write_line(i);
	output_close(&output);
	close(ends[1]);
	pthread_join(reader, NULL);
	close(ends[0]);
	assert_int_equal(output.lost_lines, 0);
	assert_int_equal(lines, words);
}

static void which_descriptors_are_the_same(void **state)
{
	int copy;

	(void)state;
	open_pipe();
	copy = dup(ends[1]);
	assert_true(output_is_same(ends[1], copy));
	assert_false(output_is_same(ends[1], STDOUT_FILENO));
	close(copy);
	assert_false(output_is_same(ends[1], copy));
	close_pipe();
}

static void name_stream(unsigned long long device, unsigned long long inode, const char *more)
{
	char text[64];

	snprintf(text, sizeof(text), "%llu:%llu%s", device, inode, more);
	assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
}

static void which_stream_is_the_journals(void **state)
{
	struct stat status;

	(void)state;
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(fstat(ends[1], &status), 0);
	assert_false(output_is_journal(ends[1]));
	name_stream(status.st_dev, status.st_ino, "");
	assert_true(output_is_journal(ends[1]));
	assert_false(output_is_journal(ends[0]));
	name_stream(status.st_dev + 1, status.st_ino, "");
	assert_false(output_is_journal(ends[1]));
	name_stream(status.st_dev, status.st_ino, "0");
	assert_false(output_is_journal(ends[1]));
	name_stream(status.st_dev, status.st_ino, "x");
	assert_false(output_is_journal(ends[1]));
	assert_int_equal(setenv("JOURNAL_STREAM", "journal", 1), 0);
	assert_false(output_is_journal(ends[1]));
	close_pipe();
	name_stream(status.st_dev, status.st_ino, "");
	assert_false(output_is_journal(ends[1]));
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_readers_end_stays_as_it_was),
		cmocka_unit_test(a_pipe_that_nobody_reads),
		cmocka_unit_test(a_pipe_that_cannot_be_opened_again),
		cmocka_unit_test(a_terminal_that_cannot_be_opened_again),
		cmocka_unit_test(a_socket_that_nobody_reads),
		cmocka_unit_test(a_block_is_longer_than_a_pipe_takes_at_once),
		cmocka_unit_test(a_reader_that_has_gone),
		cmocka_unit_test(a_file_takes_everything),
		cmocka_unit_test(a_full_disk_costs_lines),
		cmocka_unit_test(the_end_does_not_wait_for_ever),
		cmocka_unit_test(last_words_are_waited_for),
		cmocka_unit_test(which_descriptors_are_the_same),
		cmocka_unit_test(which_stream_is_the_journals),
	};

	signal(SIGPIPE, SIG_IGN);
	return report_seed(cmocka_run_group_tests_name("output", tests, NULL, NULL));
}
