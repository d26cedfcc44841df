/*
 * The lines about addresses to send from, and about routes to destinations: one when there is none,
 * one when there is one again.
 *
 * Theory of operation. A DHCP client may take an address away and give it back within a moment, at
 * each renewal; so what is missing is told only when it still is after PATIENCE_MS. Missing for the
 * device is one matter, missing for single destinations while the device has one is another, and a
 * missing route the third.
 */
#ifndef UDP_ENCAP_TUN_SOURCE_LOG_H
#define UDP_ENCAP_TUN_SOURCE_LOG_H

#include "base/event_loop.h"
#include "link/source.h"

#include <net/if.h>

enum { SOURCE_COMMAND_SIZE = 256 };

/** An address that is missing, and what the kernel would do. */
struct source_trouble {
	bool is_there;
	bool is_told;
	bool advice_is_told;               /* the line named a command */
	struct ip_address destination;     /* all zero: any */
	struct ip_address address;         /* that the kernel would choose, all zero: none */
	char holder[IF_NAMESIZE];          /* the interface that has it */
	char command[SOURCE_COMMAND_SIZE]; /* that lets it be used, "" where there is none */
};

struct source_log {
	const char *device;
	event_loop *loop;
	struct event_timer patience;
	struct ip_address told; /* that the device sends from, all zero: none yet */
	struct source_trouble of_device;
	struct source_trouble of_destination;
	struct source_trouble of_route; /* to a destination, from an address that there is */
};

void source_log_start(struct source_log *log, event_loop *loop, const char *device);

void source_log_close(struct source_log *log);

/** The device sends from this address. Control thread, as all of these. */
void source_log_device_has(struct source_log *log, const struct ip_address *address);

/** The device is gone or down, which others tell of. */
void source_log_device_is_away(struct source_log *log);

/** Every destination has an address to send from, as far as the device has. */
void source_log_destinations_have(struct source_log *log);

/**
 * An address is missing.
 * @trouble: `of_device` or `of_destination` of the log
 * @destination: NULL: any
 * @source: what the kernel would do
 */
void source_log_is_missing(struct source_log *log, struct source_trouble *trouble,
			   const struct ip_address *destination, const struct link_source *source,
			   const struct link_round *round);

/** A destination has no route over the device. */
void source_log_lacks_route(struct source_log *log, const struct ip_address *destination);

/** Every destination has one. */
void source_log_routes_are_there(struct source_log *log);

/**
 * Writes the command that makes a route name a source, "" where one line does not say it.
 * @command: SOURCE_COMMAND_SIZE bytes
 */
void source_log_command(char *command, const char *device, const struct link_route *route,
			const struct ip_address *source);

#endif
