/* One rtnetlink request and its answer, for the files of this room. */
#ifndef UDP_ENCAP_TUN_RTNETLINK_H
#define UDP_ENCAP_TUN_RTNETLINK_H

#include <libmnl/libmnl.h>

/** Opens a socket for requests. Returns NULL with errno set. The control thread's, as all here. */
struct mnl_socket *rtnetlink_open(void);

/**
 * Sends a request on an open socket and hands each message of the answer to a callback.
 * @netlink: of rtnetlink_open()
 * @request: made with libmnl; sequence number and acknowledgment flag are filled in
 * @callback: may be NULL
 * Returns 0 or a negative errno, the kernel's own among them. -EINTR, -ENOBUFS, -ENOSPC, -EOVERFLOW
 * and -ETIMEDOUT: the answer is not whole, and asking again helps.
 */
int rtnetlink_ask(struct mnl_socket *netlink, struct nlmsghdr *request, mnl_cb_t callback,
		  void *argument);

/** The same on a socket that is made for it. */
int rtnetlink_talk(struct nlmsghdr *request, mnl_cb_t callback, void *argument);

#endif
