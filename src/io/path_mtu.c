/* The path MTU; see path_mtu.h. */
#include "io/path_mtu.h"

#include "base/socket_address.h"
#include "io/udp_socket.h"

#include <unistd.h>

static uint32_t ask_kernel(const struct path_mtu_cache *cache, const struct ip_address *peer)
{
	const struct transport_address address = {*peer, htons(9)}; /* any port: nothing is sent */
	struct socket_address name;
	socklen_t length = socket_address_make(&name, &address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
	socklen_t size = sizeof(int);
	int mtu = 0;

	if (fd < 0)
		return 0;
	if (udp_socket_bind_to_device(fd, cache->device, cache->fwmark) < 0 ||
	    connect(fd, &name.any, length) < 0 ||
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
