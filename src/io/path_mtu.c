/* The path MTU; see path_mtu.h for the theory of operation. */
#include "io/path_mtu.h"

#include "base/socket_address.h"
#include "io/udp_socket.h"

#include <errno.h>
#include <unistd.h>

enum { ANY_PORT = 9 }; /* discard (RFC 863): nothing is ever sent */

int path_mtu_socket_open(const char *device, uint32_t fwmark)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	int error;

	if (fd < 0)
		return -errno;
	error = udp_socket_bind_to_device(fd, device, fwmark);
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

void path_mtu_cache_init(struct path_mtu_cache *cache, int fd)
{
	memset(cache, 0, sizeof(*cache));
	cache->fd = fd;
}

static uint32_t ask_kernel(int fd, const struct ip_address *peer)
{
	const struct transport_address address = {*peer, htons(ANY_PORT)};
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	struct socket_address name;
	socklen_t length = socket_address_make(&name, &address);
	socklen_t size = sizeof(int);
	int mtu = 0;

	if (fd < 0 || connect(fd, &name.any, length) < 0)
		return 0;
	if (getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &size) < 0)
		mtu = 0;
	/* gives the port back that connect() chose */
	(void)connect(fd, &nobody, sizeof(nobody));
	return mtu > 0 ? (uint32_t)mtu : 0;
}

uint32_t path_mtu(struct path_mtu_cache *cache, const struct ip_address *peer, uint32_t now)
{
	struct path_mtu_entry *entry = &cache->entries[peer->bytes[15] % PATH_MTU_CACHE_SIZE];

	if (entry->asked_at != now || !ip_address_equal(&entry->peer, peer)) {
		entry->peer = *peer;
		entry->asked_at = now;
		entry->mtu = ask_kernel(cache->fd, peer);
	}
	return entry->mtu;
}
