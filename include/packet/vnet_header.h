/*
 * The offload header in front of a packet of the tunnel interface: virtio_net's (virtio 1.2,
 * section 5.1.6), in its shortest form and in the machine's byte order, as the tun driver has it
 * unless it is asked for another one.
 */
#ifndef UDP_ENCAP_TUN_VNET_HEADER_H
#define UDP_ENCAP_TUN_VNET_HEADER_H

#include <linux/virtio_net.h>

enum { VNET_HEADER_SIZE = sizeof(struct virtio_net_hdr) };

#endif
