"""A small tunnel end in both modes, against which the program is tried.

It behaves like the peers of the first generation: one packet at a time, no options.  It checks all
that it is given, in both directions, and notes what breaks a rule in `violations`.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import select
import socket
import struct
import threading
from collections import Counter

from .packets import (
    LARGEST_SAFE_PAYLOAD,
    Ipv4,
    Kind,
    kind_of,
    tcp_checksum,
    tcp_checksum_is_right,
)

_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_LONGEST_PACKET = 65535

Address = tuple[str, int]


def open_tun(name: str) -> int:
    """A descriptor of a TUN interface made in the calling thread's network namespace."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor


class Peer:
    """What both modes share: a thread between a TUN descriptor and a bound UDP socket.

    Use it as a context manager.  `address` is the tunnel interface's own.
    """

    def __init__(self, tun: int, udp: socket.socket, address: str) -> None:
        self.violations: list[str] = []
        self.seen: Counter[Kind] = Counter()
        self._tun = tun
        self._udp = udp
        self._address = address
        self._wake = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="reference peer", daemon=True)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)
        os.close(self._tun)
        self._udp.close()

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in (self._tun, self._udp.fileno(), self._wake):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _events in poll.poll()]
            if self._wake in ready:
                return
            if self._udp.fileno() in ready:
                self._from_udp()
            if self._tun in ready:
                self._from_tun()

    def _from_udp(self) -> None:
        try:
            payload, sender = self._udp.recvfrom(_LONGEST_PACKET)
        except ConnectionRefusedError:
            return
        kind = kind_of(payload)
        self.seen[kind] += 1
        if kind not in (Kind.SEGMENT, Kind.KEEPALIVE):
            self.violations.append(f"{sender} sent {kind}: {payload[:40].hex()}")
        if len(payload) > LARGEST_SAFE_PAYLOAD:
            self.violations.append(f"{sender} sent {len(payload)} bytes")
        source = self._source_of(sender)
        if kind is Kind.SEGMENT and source:
            # The checksum that came is for other addresses: it is made anew.
            os.write(self._tun, _with_checksum(source, self._address, payload))

    def _from_tun(self) -> None:
        data = os.read(self._tun, _LONGEST_PACKET)
        try:
            packet = Ipv4.parse(data)
        except ValueError:
            return
        if packet.protocol != socket.IPPROTO_TCP or packet.options:
            return
        if not tcp_checksum_is_right(packet):
            self.violations.append(f"kernel gave a wrong TCP checksum: {data.hex()}")
        target = self._target_of(packet.destination)
        if target:
            self._udp.sendto(packet.payload, target)

    def _source_of(self, sender: Address) -> str | None:
        """The inner source address of what came from `sender`."""
        raise NotImplementedError

    def _target_of(self, destination: str) -> Address | None:
        """Where a packet to this inner destination goes."""
        raise NotImplementedError


class EndpointPeer(Peer):
    """Endpoint mode: inner addresses are the outer ones."""

    def __init__(self, tun: int, udp: socket.socket, address: str, endpoint_port: int) -> None:
        super().__init__(tun, udp, address)
        self._endpoint_port = endpoint_port

    def _source_of(self, sender: Address) -> str | None:
        if sender[1] != self._endpoint_port:
            self.violations.append(f"datagram from port {sender[1]}")
        return sender[0]

    def _target_of(self, destination: str) -> Address | None:
        return destination, self._endpoint_port


class ServerPeer(Peer):
    """Server mode: each (address, port) that sends gets an address out of `pool`."""

    def __init__(self, tun: int, udp: socket.socket, address: str, pool: str) -> None:
        super().__init__(tun, udp, address)
        free = (str(host) for host in ipaddress.ip_network(pool).hosts())
        self._free = (host for host in free if host != address)
        self._tunnel_address: dict[Address, str] = {}
        self.peers: dict[str, Address] = {}

    def _source_of(self, sender: Address) -> str | None:
        if sender not in self._tunnel_address:
            self._tunnel_address[sender] = next(self._free)
            self.peers[self._tunnel_address[sender]] = sender
        return self._tunnel_address[sender]

    def _target_of(self, destination: str) -> Address | None:
        return self.peers.get(destination)


def _with_checksum(source: str, destination: str, segment: bytes) -> bytes:
    """An IPv4 packet with this segment, its checksum made for these addresses."""
    checksum = tcp_checksum(segment, source, destination).to_bytes(2, "big")
    return Ipv4(source, destination, segment[:16] + checksum + segment[18:]).to_bytes()
