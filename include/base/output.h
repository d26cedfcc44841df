/*
 * Where text goes that people or programs read: standard output and standard error, without ever
 * waiting for the reader.
 *
 * Theory of operation. Whether a write waits is a property of the open file description, which is
 * shared with whoever started the program, so it must not be changed there. A pipe or a terminal is
 * opened once more, under its name in /proc, for a description of the program's own that does not
 * wait; a socket is asked not to with each call; a file never waits for a reader. Where the second
 * opening is refused (no /proc, another user's terminal), the shared description is set not to wait
 * for the moment of each write and set back, the least that can be done to it. poll(2) would not
 * do: a terminal that has some room sleeps until it has taken the whole line.
 *
 * A pipe takes PIPE_BUF bytes whole or not at all, so no single write is longer. What finds no room
 * waits in a buffer, and whoever registered is told, to call output_resume() when the descriptor is
 * writable. What does not fit there either is lost and counted: lines, never parts of one. A reader
 * that has gone costs the lines that it would have got, nothing else.
 *
 * Everything here belongs to the main thread, which becomes the control thread.
 */
#ifndef UDP_ENCAP_TUN_OUTPUT_H
#define UDP_ENCAP_TUN_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OUTPUT_ROOM = 65536 }; /* bytes that wait at most: some 600 lines */

/** How a descriptor is written to without waiting. */
enum output_kind {
	OUTPUT_DOES_NOT_WAIT, /* as it is: a file, or a description of our own */
	OUTPUT_IS_SOCKET,     /* each call says so */
	OUTPUT_IS_SHARED,     /* set not to wait around each call */
};

/** All zero but for `fd`: writes to it as it is, which may wait. */
struct output {
	int fd;
	bool is_own; /* opened here, to be closed here */
	enum output_kind kind;
	uint64_t lost_lines;
	uint64_t patient_until;              /* monotonic milliseconds, 0: there is no patience */
	void (*begins_to_wait)(void *state); /* may be NULL */
	void *state;
	size_t waiting; /* bytes at the beginning of `text` */
	char text[OUTPUT_ROOM];
};

/** Prepares an output for a descriptor that stays the caller's. */
void output_open(struct output *output, int fd);

/** Whether two descriptors lead to the same file, pipe, terminal or socket. */
bool output_is_same(int a, int b);

/** Whether a descriptor is the stream to the journal that systemd names in $JOURNAL_STREAM. */
bool output_is_journal(int fd);

/** Has `begins_to_wait` called when something has to wait that could not be written. */
void output_register(struct output *output, void (*begins_to_wait)(void *state), void *state);

/** Writes whole lines, or has them wait, or loses all of them. */
void output_write(struct output *output, const char *lines, size_t length);

/** Writes what waits, as far as there is room. */
void output_resume(struct output *output);

/**
 * From now on what does not fit waits for the reader, for so long in all: the program ends, and
 * these are its last words.
 * @patience: milliseconds
 */
void output_be_patient(struct output *output, unsigned patience);

/** Whether something waits for room. */
static inline bool output_is_waiting(const struct output *output)
{
	return output->waiting > 0;
}

/** Writes what waits, as far as there is patience, and loses the rest. Closes what was opened here.
 */
void output_close(struct output *output);

#endif
