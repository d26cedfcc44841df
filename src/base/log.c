/* The log; see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
	TEXT_SIZE = 512,
	TIME_SIZE = 32,
	LINE_SIZE = TEXT_SIZE + TIME_SIZE + 32, /* with what stands in front */
};

static enum log_level threshold = LOG_LEVEL_INFO;
static bool shows_time;
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

void log_show_time(bool is_shown)
{
	shows_time = is_shown;
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

/* What a line begins with; nothing where no time is asked for, or the clock shows none. */
static const char *time_text(char text[TIME_SIZE])
{
	struct timespec now;
	struct tm utc;

	if (!shows_time || clock_gettime(CLOCK_REALTIME, &now) < 0 ||
	    gmtime_r(&now.tv_sec, &utc) == NULL ||
	    strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ ", &utc) == 0)
		return "";
	return text;
}

/* One call, so that lines of several processes do not mix. */
__attribute__((format(printf, 2, 0))) static void write_line(enum log_level level,
							     const char *format, va_list arguments)
{
	char text[TEXT_SIZE], stamp[TIME_SIZE], line[LINE_SIZE];
	int length;

	vsnprintf(text, sizeof(text), format, arguments);
	length = snprintf(line, sizeof(line), "%sudp-encap-tun: %s: %s\n", time_text(stamp),
			  log_level_name(level), text);
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
