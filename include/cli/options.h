/* The command line: what can be asked for, and how it is read. */
#ifndef UDP_ENCAP_TUN_OPTIONS_H
#define UDP_ENCAP_TUN_OPTIONS_H

#include "base/address.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>

#define PROGRAM_VERSION "0.1.0"

enum {
	MAX_THREADS =
		256, /* queues of one tun device: MAX_TAP_QUEUES, Linux include/linux/if_tap.h */
	MAX_TUNNEL_MTU = UINT16_MAX - 8,
	DEFAULT_MAX_TUNNEL_MTU = 1492, /* rule W6: 1,472 bytes of UDP payload */
	DEFAULT_MAX_CONNECTIONS = 65536,
};

/** Everything that the command line says; constant once it was read. */
struct options {
	char interface[IFNAMSIZ];
	char bind_to_interface[IFNAMSIZ];
	uint32_t listen_port;        /* host byte order */
	uint32_t endpoint_port;      /* host byte order, 0: server mode */
	uint32_t threads;            /* 0: the mode's default */
	struct ip_prefix address;    /* length 0: not given */
	struct ip_prefix peer_pool;  /* length 0: not given */
	uint32_t mtu;                /* bytes, 0: follow the bound device */
	uint32_t connection_timeout; /* seconds */
	uint32_t max_connections;    /* 0: the pool's size, at most DEFAULT_MAX_CONNECTIONS */
	uint32_t address_quarantine; /* seconds */
	uint32_t keepalive;          /* seconds, 0: off */
	uint32_t keepalive_for;      /* seconds */
	uint32_t fwmark;             /* 0: none */
	uint32_t busy_poll;          /* microseconds, 0: off */
	cpu_set_t cpus;              /* for the workers; empty: where the system wants */
	bool solicited_only;
	bool port_per_worker;
	bool offload;
	bool log_peers;
	enum log_level log_level;
};

/** What to do after the command line was read. */
enum options_outcome {
	OPTIONS_RUN,
	OPTIONS_DONE,  /* --help or --version was answered */
	OPTIONS_WRONG, /* one line on standard error told why */
};

/** Reads the command line. Before any thread starts. */
enum options_outcome options_parse(int argc, char **argv, struct options *options);

/** Entries at most. */
static inline uint32_t options_max_connections(const struct options *options)
{
	return options->max_connections > 0 ? options->max_connections : DEFAULT_MAX_CONNECTIONS;
}

/**
 * The port that a worker has, network byte order.
 * @number: of the worker, from 0 on
 */
static inline uint16_t options_own_port(const struct options *options, size_t number)
{
	return htons((uint16_t)(options->listen_port + (options->port_per_worker ? number : 0)));
}

static inline bool options_server_mode(const struct options *options)
{
	return options->endpoint_port == 0;
}

#endif
