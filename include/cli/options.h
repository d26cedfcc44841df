/*
 * The command line: what can be asked for, and how it is read.
 *
 * Theory of operation. OPTION_LIST holds every option, one row each. The row makes the field of
 * struct options, its default (a text, read as one that somebody typed), the checks, the messages
 * and the line of --help, so that none of them can disagree.
 */
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
	MIN_TUNNEL_MTU = 576,
	MAX_TUNNEL_MTU = UINT16_MAX - 8,
	DEFAULT_MAX_TUNNEL_MTU = 1492, /* rule W6: 1,472 bytes of UDP payload */
	DEFAULT_MAX_CONNECTIONS = 65536,
	MAX_CONNECTIONS = 1 << 24,
	MAX_SECONDS = 1 << 30,
	MAX_BUSY_POLL = 10000,
};

/*
 * Field, long name, letter (0: none), kind, mode that it is for, whether it is required, default,
 * least and greatest number, argument (NULL: takes none), help, and what --help says in brackets
 * beside the default. The rows are in the order of --help.
 *
 * What has no default and is not given is zero: a number 0, a flag off, a prefix of length 0, an
 * empty list of CPUs. Ports are in host byte order.
 */
#define OPTION_LIST(X)                                                                             \
	X(interface, "interface", 'i', INTERFACE, BOTH, true, NULL, 0, 0, "NAME",                  \
	  "tunnel interface, made if it is not there", NULL)                                       \
	X(listen_port, "listen-port", 'l', NUMBER, BOTH, true, NULL, 1, UINT16_MAX, "PORT",        \
	  "UDP port to receive on and to send from", NULL)                                         \
	X(bind_to_interface, "bind-to-interface", 'b', INTERFACE, BOTH, true, NULL, 0, 0, "NAME",  \
	  "the WAN device that carries the datagrams", NULL)                                       \
	X(wait_for_device, "wait-for-device", 0, FLAG, BOTH, false, NULL, 0, 0, NULL,              \
	  "start without the WAN device, and wait for it", NULL)                                   \
	X(endpoint_port, "endpoint-port", 'e', NUMBER, BOTH, false, NULL, 1, UINT16_MAX, "PORT",   \
	  "remote port; without it: server mode", NULL)                                            \
	X(threads, "threads", 't', NUMBER, BOTH, false, NULL, 1, MAX_THREADS, "N", "workers",      \
	  "server, or ports of their own: one per CPU, else: 1")                                   \
	X(port_per_worker, "port-per-worker", 0, FLAG, ENDPOINT, false, NULL, 0, 0, NULL,          \
	  "each worker uses a port of its own, from the listen port on", NULL)                     \
	X(cpus, "cpus", 0, CPUS, BOTH, false, NULL, 0, 0, "LIST",                                  \
	  "CPUs for the workers to stay on, such as 0,2-3", "any")                                 \
	X(busy_poll, "busy-poll", 0, NUMBER, BOTH, false, "100", 0, MAX_BUSY_POLL, "MICROSECONDS", \
	  "look for packets for so long before sleeping", "0: off")                                \
	X(address, "address", 0, PREFIX, BOTH, false, NULL, 0, 0, "CIDR",                          \
	  "give the tunnel interface this address and bring it up", NULL)                          \
	X(mtu, "mtu", 0, NUMBER, BOTH, false, NULL, MIN_TUNNEL_MTU, MAX_TUNNEL_MTU, "N",           \
	  "MTU of the tunnel interface", "the WAN device's less 8, up to 1492")                    \
	X(peer_pool, "peer-pool", 0, PREFIX, SERVER, false, NULL, 0, 0, "CIDR",                    \
	  "where tunnel addresses come from", "the tunnel interface's subnet")                     \
	X(connection_timeout, "connection-timeout", 0, NUMBER, BOTH, false, "300", 1, MAX_SECONDS, \
	  "SECONDS", "forget a peer that nothing was received from for so long", NULL)             \
	X(max_connections, "max-connections", 0, NUMBER, BOTH, false, NULL, 1, MAX_CONNECTIONS,    \
	  "N", "entries at most", "the pool's size, at most 65536")                                \
	X(address_quarantine, "address-quarantine", 0, NUMBER, SERVER, false, "1200", 0,           \
	  MAX_SECONDS, "SECONDS", "keep a freed tunnel address from other peers for so long",      \
	  NULL)                                                                                    \
	X(keepalive, "keepalive", 0, NUMBER, ENDPOINT, false, "25", 0, MAX_SECONDS, "SECONDS",     \
	  "send an empty datagram after so long without sending", "0: off")                        \
	X(keepalive_for, "keepalive-for", 0, NUMBER, ENDPOINT, false, "7500", 1, MAX_SECONDS,      \
	  "SECONDS", "stop keeping alive what carried no TCP for so long", NULL)                   \
	X(solicited_only, "solicited-only", 0, FLAG, ENDPOINT, false, NULL, 0, 0, NULL,            \
	  "accept datagrams only from where something was sent to lately", NULL)                   \
	X(fwmark, "fwmark", 0, NUMBER, BOTH, false, NULL, 1, UINT32_MAX, "N",                      \
	  "mark all outer packets for policy routing", NULL)                                       \
	X(offload, "offload", 0, ON_OFF, BOTH, false, "on", 0, 0, "on/off",                        \
	  "off: none of the three offloads that follow", "with fallback")                          \
	X(tun_offload, "tun-offload", 0, ON_OFF, BOTH, false, "on", 0, 0, "on/off",                \
	  "large packets on the tunnel interface", "with fallback")                                \
	X(udp_segmentation, "udp-segmentation", 0, ON_OFF, BOTH, false, "on", 0, 0, "on/off",      \
	  "let the kernel or the card cut datagrams", "with fallback")                             \
	X(udp_gro, "udp-gro", 0, ON_OFF, BOTH, false, "on", 0, 0, "on/off",                        \
	  "let the kernel join received datagrams", "with fallback")                               \
	X(log_level, "log-level", 0, LEVEL, BOTH, false, "info", 0, 0, "LEVEL",                    \
	  "error, warning, info or debug", NULL)                                                   \
	X(log_peers, "log-peers", 0, FLAG, BOTH, false, NULL, 0, 0, NULL,                          \
	  "one line for each peer that comes and goes", NULL)                                      \
	X(version, "version", 0, FLAG, BOTH, false, NULL, 0, 0, NULL, "print the version and end", \
	  NULL)                                                                                    \
	X(help, "help", 'h', FLAG, BOTH, false, NULL, 0, 0, NULL, "print this help and end", NULL)

/* The field that an option of each kind has. */
#define OPTION_FIELD_FLAG(name) bool name;
#define OPTION_FIELD_ON_OFF(name) bool name;
#define OPTION_FIELD_NUMBER(name) uint32_t name;
#define OPTION_FIELD_INTERFACE(name) char name[IFNAMSIZ];
#define OPTION_FIELD_PREFIX(name) struct ip_prefix name;
#define OPTION_FIELD_LEVEL(name) enum log_level name;
#define OPTION_FIELD_CPUS(name) cpu_set_t name;

/** Everything that the command line says; constant once it was read. With `offload` off the three
 * offloads are, too. */
struct options {
#define OPTION_FIELD(field, name, letter, kind, ...) OPTION_FIELD_##kind(field)
	OPTION_LIST(OPTION_FIELD)
#undef OPTION_FIELD
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
