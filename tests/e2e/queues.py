"""Queues of a tun device in the hands of another process, as network managers and VPNs have them."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import lab

TUN, TAP, MULTI_QUEUE, NO_PI, VNET_HEADER = 0x0001, 0x0002, 0x0100, 0x1000, 0x4000
_ATTACH, _DETACH = 0x0200, 0x0400
_TUNSETIFF, _TUNSETPERSIST, _TUNSETQUEUE = 0x400454CA, 0x400454CB, 0x400454D9


def _request(name: str, flags: int) -> bytes:
    return struct.pack("16sH22x", name.encode(), flags)


class Queue:
    """One that is attached, and that nobody reads."""

    def __init__(self, host: lab.Host, name: str, kind: int, persistent: bool) -> None:
        with host.inside():
            self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.ioctl(self.descriptor, _TUNSETIFF, _request(name, kind))
        if persistent:
            fcntl.ioctl(self.descriptor, _TUNSETPERSIST, 1)

    def attach(self) -> None:
        fcntl.ioctl(self.descriptor, _TUNSETQUEUE, _request("", _ATTACH))

    def detach(self) -> None:
        fcntl.ioctl(self.descriptor, _TUNSETQUEUE, _request("", _DETACH))


@contextmanager
def held_queue(
    host: lab.Host, name: str = "tun0", kind: int = TUN | MULTI_QUEUE | NO_PI, persistent: bool = True
) -> Iterator[Queue]:
    """A queue of this interface, which is made if it is not there."""
    queue = Queue(host, name, kind, persistent)
    try:
        yield queue
    finally:
        os.close(queue.descriptor)
