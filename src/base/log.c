/* The log; see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum {
	TEXT_SIZE = 512,
	LINE_SIZE = TEXT_SIZE + 64, /* with what stands in front */
};

static enum log_level threshold = LOG_LEVEL_INFO;
static struct output as_it_is = {.fd = STDERR_FILENO};
static struct output *destination = &as_it_is;

void log_set_output(struct output *output)
{
	destination = output != NULL ? output : &as_it_is;
}

void log_set_level(enum log_level level)
{
	threshold = level;
}

const char *log_level_name(enum log_level level)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};

	return names[level];
}

/* One call, so that lines of several processes do not mix. */
__attribute__((format(printf, 2, 0))) static void write_line(enum log_level level,
							     const char *format, va_list arguments)
{
	char text[TEXT_SIZE], line[LINE_SIZE];
	int length;

	vsnprintf(text, sizeof(text), format, arguments);
	length = snprintf(line, sizeof(line), "udp-encap-tun: %s: %s\n", log_level_name(level),
			  text);
	output_write(destination, line, (size_t)length);
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list arguments;

	if (level > threshold)
		return;
	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}

void log_record(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(LOG_LEVEL_INFO, format, arguments);
	va_end(arguments);
}
