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

/* An address that is none stands for any: what was bound to for the last question is undone. */
static bool bind_to_source(int fd, const struct ip_address *source)
{
	struct transport_address address = {.address = *source};
	struct socket_address name;
	socklen_t length;

	if (ip_address_is_none(source))
		address.address = ip_address_from_ipv4(htonl(INADDR_ANY));
	length = socket_address_make(&name, &address);
	return bind(fd, &name.any, length) == 0;
}

static uint32_t ask_kernel(int fd, const struct ip_address *peer, const struct ip_address *source)
{
	const struct transport_address address = {*peer, htons(ANY_PORT)};
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	struct socket_address name;
	socklen_t length = socket_address_make(&name, &address);
	socklen_t size = sizeof(int);
	int mtu = 0;

	if (fd < 0)
		return 0;
	/* Without the source the answer may be another route's, but there is one: an address that
	 * can be sent from may not be there for bind(), such as one on lo beside a device in a VRF.
	 */
	(void)bind_to_source(fd, source);
	if (connect(fd, &name.any, length) < 0 ||
	    getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &size) < 0)
		mtu = 0;
	/* gives back the port that bind() chose; without one the socket can be bound again (Linux
	 * net/ipv4/udp.c, __udp_disconnect(): only a port that was asked for is kept) */
	(void)connect(fd, &nobody, sizeof(nobody));
	return mtu > 0 ? (uint32_t)mtu : 0;
}

static size_t place_of(const struct ip_address *peer)
{
	return peer->bytes[15] % PATH_MTU_CACHE_SIZE;
}

static bool is_answer_to(const struct path_mtu_entry *entry, const struct ip_address *peer,
			 const struct ip_address *source, uint32_t now)
{
	return entry->asked_at == now && ip_address_equal(&entry->peer, peer) &&
	       ip_address_equal(&entry->source, source);
}

uint32_t path_mtu(struct path_mtu_cache *cache, const struct ip_address *peer,
		  const struct ip_address *source, uint32_t now)
{
	struct path_mtu_entry *entry = &cache->entries[place_of(peer)];

	if (!is_answer_to(entry, peer, source, now)) {
		entry->peer = *peer;
		entry->source = *source;
		entry->asked_at = now;
		entry->mtu = ask_kernel(cache->fd, peer, source);
	}
	return entry->mtu;
}

uint32_t path_mtu_known(const struct path_mtu_cache *cache, const struct ip_address *peer,
			const struct ip_address *source, uint32_t now)
{
	const struct path_mtu_entry *entry = &cache->entries[place_of(peer)];

	return is_answer_to(entry, peer, source, now) ? entry->mtu : 0;
}
