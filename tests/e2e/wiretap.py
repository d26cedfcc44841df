"""Packets as they pass a device, with the offload metadata that belongs to them, and packets put
on a device past the host's own IP layer."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import lab
from reference.packets import (
    Ipv4,
    ones_complement_sum,
    pseudo_header,
    segments_of,
    tcp_checksum_is_prepared,
    tcp_checksum_is_right,
)

_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_ETH_P_ALL = 3
_ETH_P_IP = 0x0800
_ARPHRD_ETHER = 1
_ETHERNET_HEADER = 14
# struct virtio_net_hdr
_VNET = struct.Struct("=BBHHHH")
_NEEDS_CSUM = 1
_GSO_TCPV4 = 1
_GSO_ECN = 0x80


def enlarge_buffers(endpoint: socket.socket) -> None:
    """Let a socket hold what a test sends in one go."""
    for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
        endpoint.setsockopt(socket.SOL_SOCKET, option, 64 << 20)


def _is_tcp(packet: bytes) -> bool:
    """Whether this is one whole TCP segment behind an IPv4 header without options."""
    return (
        len(packet) >= 40
        and packet[0] == 0x45
        and packet[9] == socket.IPPROTO_TCP
        and int.from_bytes(packet[2:4], "big") == len(packet)
        and not int.from_bytes(packet[6:8], "big") & 0x3FFF
    )


def _with_prepared_checksum(packet: bytes) -> bytes:
    """The packet with its pseudo-header's sum where the checksum has to be."""
    addresses = map(socket.inet_ntoa, (packet[12:16], packet[16:20]))
    pseudo = pseudo_header(*addresses, socket.IPPROTO_TCP, len(packet) - 20)
    return packet[:36] + ones_complement_sum(pseudo).to_bytes(2, "big") + packet[38:]


@dataclass(frozen=True)
class Frame:
    """A packet on a device."""

    packet: Ipv4
    raw: bytes
    outgoing: bool
    needs_checksum: bool
    gso_size: int

    def segments(self) -> list[bytes]:
        """The TCP segments that it stands for, checksums blank."""
        return segments_of(self.packet.payload, self.gso_size)

    def checksum_is_right(self) -> bool:
        """Whether the kernel takes the TCP checksum: complete, or prepared and marked so."""
        if self.needs_checksum:
            return tcp_checksum_is_prepared(self.packet)
        return tcp_checksum_is_right(self.packet)


class Wiretap:
    """A packet socket on a device of a host: `receive` what passes, `send` past the IP layer.

    On a TUN interface, "outgoing" is what the program reads, the rest what it writes.
    """

    def __init__(self, host: lab.Host, device: str) -> None:
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        enlarge_buffers(self._socket)
        self._socket.bind((device, 0))
        self._ethernet = self._socket.getsockname()[3] == _ARPHRD_ETHER
        if not self._ethernet:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        self._socket.bind((device, _ETH_P_ALL))
        # A device that is down is an error to be told once; it may go up later.
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def __enter__(self) -> Wiretap:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def send(self, packet: bytes, gso_size: int = 0) -> None:
        """Put a packet on a TUN interface; with gso_size, as a TCP super-packet.

        TCP has its checksum prepared, for the kernel or the program to complete, as what the host's
        own TCP sends has; what is no whole TCP segment stays as it is.
        """
        flags = gso_type = header_length = checksum_start = checksum_offset = 0
        if _is_tcp(packet):
            packet = _with_prepared_checksum(packet)
            flags, checksum_start, checksum_offset = _NEEDS_CSUM, 20, 16
        if gso_size:
            gso_type = _GSO_TCPV4
            header_length = 20 + (packet[32] >> 4) * 4
            if packet[33] & 0x80:
                gso_type |= _GSO_ECN
        header = _VNET.pack(
            flags, gso_type, header_length, gso_size, checksum_start, checksum_offset
        )
        device = self._socket.getsockname()[0]
        self._socket.sendto(header + packet, (device, _ETH_P_IP))

    def receive(
        self,
        wanted: Callable[[Frame], bool] = lambda frame: True,
        timeout: float = 5,
    ) -> Frame:
        """The next IPv4 packet that is wanted; others are thrown away."""
        deadline = time.monotonic() + timeout
        while True:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data, (_, protocol, kind, *_) = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                raise TimeoutError(f"no such packet within {timeout} s") from None
            if protocol != _ETH_P_IP:
                continue
            frame = self._frame(data, kind == socket.PACKET_OUTGOING)
            if wanted(frame):
                return frame

    def _frame(self, data: bytes, outgoing: bool) -> Frame:
        needs_checksum, gso_size = False, 0
        if self._ethernet:
            data = data[_ETHERNET_HEADER:]
        else:
            flags, gso_type, _, size, _, _ = _VNET.unpack_from(data)
            data = data[_VNET.size:]
            needs_checksum = bool(flags & _NEEDS_CSUM)
            gso_size = size if gso_type else 0
        if self._ethernet:
            # Short frames are padded.
            data = data[:int.from_bytes(data[2:4], "big")]
        return Frame(Ipv4.parse(data), data, outgoing, needs_checksum, gso_size)


def written_to_tunnel(frame: Frame) -> bool:
    """For Wiretap.receive on a TUN interface: what the program wrote."""
    return not frame.outgoing


def icmp_written(frame: Frame) -> bool:
    """For Wiretap.receive on a TUN interface: an ICMP message that the program wrote."""
    return not frame.outgoing and frame.packet.protocol == socket.IPPROTO_ICMP
