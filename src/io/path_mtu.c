/* The path MTU; see path_mtu.h. */
#include "io/path_mtu.h"

#include "base/clock.h"
#include "io/udp_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static uint32_t ask_kernel(const struct path_mtu_cache *cache, const struct ip_address *peer)
{
	struct sockaddr_in name = {
		.sin_family = AF_INET,
		.sin_port = htons(9), /* any: nothing is sent */
		.sin_addr.s_addr = ip_address_ipv4(peer),
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
	socklen_t size = sizeof(int);
	int mtu = 0;

	if (fd < 0)
		return 0;
	if (udp_socket_bind_to_device(fd, cache->device, cache->fwmark) < 0 ||
	    connect(fd, (const struct sockaddr *)&name, sizeof(name)) < 0 ||
	    getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &size) < 0)
		mtu = 0;
	close(fd);
	return mtu > 0 ? (uint32_t)mtu : 0;
}

uint32_t path_mtu(struct path_mtu_cache *cache, const struct ip_address *peer, uint32_t now)
{
	struct path_mtu_entry *entry = &cache->entries[peer->bytes[15] % PATH_MTU_CACHE_SIZE];

	if (entry->asked_at != now || !ip_address_equal(&entry->peer, peer)) {
		entry->peer = *peer;
		entry->asked_at = now;
		entry->mtu = ask_kernel(cache, peer);
	}
	return entry->mtu;
}
