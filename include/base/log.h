/*
 * The log: one line on standard error for each event. Never called on the packet path: workers
 * raise a notice (notices.h), and the control thread writes the line.
 */
#ifndef UDP_ENCAP_TUN_LOG_H
#define UDP_ENCAP_TUN_LOG_H

#include "base/output.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/** Sets the level above which nothing is written; before the workers start. */
void log_set_level(enum log_level level);

/** Sets where lines go from now on; NULL: to standard error as it is. Main thread. */
void log_set_output(struct output *output);

/**
 * Has each line from now on begin with the time, as RFC 3339 writes it, in UTC: for whoever keeps
 * lines without noting when they came. Until then they have none. Before the workers start.
 */
void log_show_time(bool is_shown);

/** The name of a level ("warning"). */
const char *log_level_name(enum log_level level);

/** Writes one line; a line break is added. Main and control thread. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Writes an info line whatever the level is: a record that was asked for. Control thread. */
void log_record(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
