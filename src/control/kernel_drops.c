/* What the kernel drops; see kernel_drops.h for the theory of operation. */
#include "control/kernel_drops.h"

#include "io/udp_socket.h"
#include "link/link.h"

#include <fcntl.h>
#include <unistd.h>

/* One that was just made has dropped nothing. */
static void watch_socket(struct kernel_drops *drops, size_t i, int socket)
{
	drops->sockets[i].fd = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	drops->sockets[i].drops = 0;
}

static void count_tunnel(struct kernel_drops *drops)
{
	struct link_state tunnel;

	/* an interface that is gone has no count, which is not 0 */
	if (link_read_index(drops->tunnel_ifindex, &tunnel) < 0 || tunnel.ifindex == 0)
		return;
	if (drops->knows_tunnel && tunnel.dropped > drops->of_tunnel)
		counter_add(drops->counters, COUNTER_out_queue_drops,
			    tunnel.dropped - drops->of_tunnel);
	drops->of_tunnel = tunnel.dropped;
	drops->knows_tunnel = true;
}

static void count_sockets(struct kernel_drops *drops)
{
	for (size_t i = 0; i < drops->socket_count; i++) {
		uint32_t now;

		if (!udp_socket_drops(drops->sockets[i].fd, &now))
			continue;
		/* the kernel's count wraps with its 32 bits */
		counter_add(drops->counters, COUNTER_in_socket_drops,
			    (uint32_t)(now - drops->sockets[i].drops));
		drops->sockets[i].drops = now;
	}
}

void kernel_drops_start(struct kernel_drops *drops, struct counters *counters,
			unsigned tunnel_ifindex, const int *sockets, size_t socket_count)
{
	drops->counters = counters;
	drops->tunnel_ifindex = tunnel_ifindex;
	drops->socket_count = socket_count;
	for (size_t i = 0; i < socket_count; i++)
		watch_socket(drops, i, sockets[i]);
	count_tunnel(drops);
}

void kernel_drops_count(struct kernel_drops *drops)
{
	count_tunnel(drops);
	count_sockets(drops);
}

static void forget_sockets(struct kernel_drops *drops)
{
	for (size_t i = 0; i < drops->socket_count; i++) {
		if (drops->sockets[i].fd >= 0)
			close(drops->sockets[i].fd);
	}
}

void kernel_drops_renew_sockets(struct kernel_drops *drops, const int *sockets)
{
	count_sockets(drops);
	forget_sockets(drops);
	for (size_t i = 0; i < drops->socket_count; i++)
		watch_socket(drops, i, sockets[i]);
}

void kernel_drops_close(struct kernel_drops *drops)
{
	forget_sockets(drops);
	drops->socket_count = 0;
}
