/* Where the log and the counters go; see outputs.h for the theory of operation. */
#include "control/outputs.h"

#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000 }; /* for the readers, at the end: who asked for it still waits then */

/* open() takes the lowest number that is free */
static void occupy_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

void outputs_open(struct outputs *outputs)
{
	occupy_standard_descriptors();
	outputs->are_same = output_is_same(STDOUT_FILENO, STDERR_FILENO);
	output_open(&outputs->log.output, STDERR_FILENO);
	if (!outputs->are_same)
		output_open(&outputs->records.output, STDOUT_FILENO);
	log_set_output(&outputs->log.output);
	log_show_time(!output_is_journal(STDERR_FILENO));
}

struct output *outputs_records(struct outputs *outputs)
{
	return outputs->are_same ? &outputs->log.output : &outputs->records.output;
}

static void tell_lost(struct watched_output *watched)
{
	uint64_t lost = watched->output.lost_lines - watched->lost_told;

	watched->lost_told = watched->output.lost_lines;
	if (lost > 0)
		log_warning("%llu lines of output are lost: nobody read them, or too slowly",
			    (unsigned long long)lost);
}

static void has_room(void *state)
{
	struct watched_output *watched = state;

	output_resume(&watched->output);
	if (output_is_waiting(&watched->output))
		return;
	event_watch_stop(&watched->watch);
	tell_lost(watched);
}

static void begins_to_wait(void *state)
{
	struct watched_output *watched = state;

	event_watch_start_for_room(watched->loop, &watched->watch, watched->output.fd,
				   EVENT_CAN_WAIT, has_room, watched);
}

static void start(struct watched_output *watched, event_loop *loop)
{
	watched->loop = loop;
	output_register(&watched->output, begins_to_wait, watched);
}

void outputs_start(struct outputs *outputs, event_loop *loop)
{
	start(&outputs->log, loop);
	if (!outputs->are_same)
		start(&outputs->records, loop);
}

void outputs_count(struct outputs *outputs, struct counters *counters)
{
	uint64_t lost = outputs->log.output.lost_lines + outputs->records.output.lost_lines;

	counter_add(counters, COUNTER_log_lines_lost, lost - outputs->lost_counted);
	outputs->lost_counted = lost;
}

void outputs_tell_lost(struct outputs *outputs)
{
	tell_lost(&outputs->log);
	tell_lost(&outputs->records);
}

void outputs_be_patient(struct outputs *outputs)
{
	output_be_patient(&outputs->log.output, PATIENCE_MS);
	output_be_patient(&outputs->records.output, PATIENCE_MS);
}

static void stop(struct watched_output *watched)
{
	output_register(&watched->output, NULL, NULL);
	event_watch_stop(&watched->watch);
}

void outputs_stop(struct outputs *outputs)
{
	stop(&outputs->log);
	stop(&outputs->records);
}

void outputs_close(struct outputs *outputs)
{
	/* it did not come as far as last words */
	if (outputs->log.output.patient_until == 0)
		outputs_be_patient(outputs);
	if (!outputs->are_same)
		output_close(&outputs->records.output);
	log_set_output(NULL);
	output_close(&outputs->log.output);
}
