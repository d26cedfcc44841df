"""TCP connections between hosts and data streamed over them, checked by its hash."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import lab

# A connection on which nothing moves for so long is dead.
STALL_SECONDS = 30


class Payload:
    """Bytes in memory that repeat nowhere soon, to be sent as a file."""

    SMALLEST = 64 << 20

    def __init__(self, size: int) -> None:
        self.size = size
        self.file = os.fdopen(os.memfd_create("payload"), "r+b", buffering=0)
        # Making randomness is slow: after some of it, blocks differ in their first bytes only.
        blocks = [os.urandom(1 << 20) for _ in range(self.SMALLEST >> 20)]
        for index in range(max(size, self.SMALLEST) >> 20):
            self.file.write(index.to_bytes(8, "big") + blocks[index % len(blocks)][8:])

    def __enter__(self) -> Payload:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.file.close()

    @functools.cache
    def digest(self, size: int) -> bytes:
        """The hash of the first `size` bytes."""
        digest = hashlib.sha256()
        for offset in range(0, size, 1 << 20):
            digest.update(os.pread(self.file.fileno(), min(1 << 20, size - offset), offset))
        return digest.digest()

    def head(self, size: int) -> bytes:
        """The first `size` bytes."""
        return os.pread(self.file.fileno(), size, 0)


def connect(
    client: lab.Host, server: lab.Host, address: str, source: str = ""
) -> tuple[socket.socket, socket.socket]:
    """A TCP connection from a host to this address of another: both ends of it."""
    with server.inside():
        listener = socket.create_server(("", 0))
    with client.inside():
        near = socket.socket()
    with listener:
        for each in (near, listener):
            each.settimeout(STALL_SECONDS)
        if source:
            near.bind((source, 0))
        near.connect((address, listener.getsockname()[1]))
        far, _ = listener.accept()
    far.settimeout(STALL_SECONDS)
    for each in (near, far):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


@contextmanager
def connected_by_mptcp(
    client: lab.Host, server: lab.Host, address: str
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The same with MPTCP, whose joins come to the listener too: it stays as long."""
    with server.inside():
        listener = socket.socket(proto=socket.IPPROTO_MPTCP)
    with client.inside():
        near = socket.socket(proto=socket.IPPROTO_MPTCP)
    with listener, near:
        listener.bind(("", 0))
        listener.listen()
        near.connect((address, listener.getsockname()[1]))
        far, _ = listener.accept()
        with far:
            yield near, far


def receive_exactly(receiver: socket.socket, size: int) -> bytes:
    """The next `size` bytes of a connection."""
    received = bytearray()
    while len(received) < size:
        piece = receiver.recv(size - len(received))
        if not piece:
            raise ConnectionError(f"connection ended after {len(received)} of {size} bytes")
        received += piece
    return bytes(received)


def round_trip(near: socket.socket, far: socket.socket, data: bytes = b"ping") -> None:
    """Send a little each way and check that it came."""
    for sender, receiver in ((near, far), (far, near)):
        sender.sendall(data)
        assert receive_exactly(receiver, len(data)) == data


class Stream:
    """Bytes on their way from one socket to the other, in the background; `received` goes up."""

    def __init__(
        self, sender: socket.socket, receiver: socket.socket, payload: Payload, size: int
    ) -> None:
        self.sender = sender
        self.received = 0
        self.longest_pause = 0.0
        self._payload = payload
        self._size = size
        self._executor = ThreadPoolExecutor(2)
        self._sending: Future[int] = self._executor.submit(
            sender.sendfile, payload.file, 0, size
        )
        self._digest: Future[bytes] = self._executor.submit(self._receive, receiver)

    def _receive(self, receiver: socket.socket) -> bytes:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(1 << 20))
        while self.received < self._size:
            asked = time.monotonic()
            length = receiver.recv_into(buffer, min(len(buffer), self._size - self.received))
            self.longest_pause = max(self.longest_pause, time.monotonic() - asked)
            if not length:
                raise ConnectionError(f"connection ended after {self.received} bytes")
            digest.update(buffer[:length])
            self.received += length
        return digest.digest()

    @property
    def done(self) -> bool:
        """Whether nothing moves any more."""
        return self._digest.done()

    def wait_for(self, size: int) -> None:
        """Wait until so many bytes have arrived."""
        def there() -> bool:
            if self.done:
                self._digest.result()
            return self.received >= size

        lab.wait_until(there, STALL_SECONDS, f"{self.received} of {size} bytes arrived")

    def finish(self) -> None:
        """Wait for the end and compare."""
        with self._executor:
            digest = self._digest.result()
            self._sending.result()
        assert digest == self._payload.digest(self._size), "what arrived is not what was sent"


def transfer(
    sender: socket.socket, receiver: socket.socket, payload: Payload, size: int | None = None
) -> None:
    """Send the payload's first `size` bytes (all of them by default) and compare."""
    Stream(sender, receiver, payload, payload.size if size is None else size).finish()
