/* Capturing what is written; see capture.h. */
#include "capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

void capture_begin(struct capture *capture)
{
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		capture->files[i] = memfd_create("capture", MFD_CLOEXEC);
		capture->saved[i] = dup(STDOUT_FILENO + i);
		assert_true(capture->files[i] >= 0 && capture->saved[i] >= 0);
		dup2(capture->files[i], STDOUT_FILENO + i);
	}
}

static void read_text(int file, char *text, size_t size)
{
	ssize_t length = pread(file, text, size - 1, 0);

	text[length > 0 ? length : 0] = '\0';
}

void capture_end(struct capture *capture)
{
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		dup2(capture->saved[i], STDOUT_FILENO + i);
		close(capture->saved[i]);
	}
	read_text(capture->files[0], capture->output, sizeof(capture->output));
	read_text(capture->files[1], capture->errors, sizeof(capture->errors));
	for (int i = 0; i < 2; i++)
		close(capture->files[i]);
}

int count_lines(const char *text)
{
	int lines = 0;
	char last = '\n';

	for (; *text != '\0'; text++) {
		last = *text;
		lines += last == '\n';
	}
	return last == '\n' ? lines : -1;
}
