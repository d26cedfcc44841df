"""Who means no good: floods of forged sources, a hostile sender, a port scan from inside.

Each is bounded by whoever uses it, in count or by the end of a context, and stays between hosts of
the laboratory.
"""

import ipaddress
import mmap
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable

from .laboratory import Host
from .scenes import Pair

SYN, ACK = 0x02, 0x10
_UDP, _TCP = socket.IPPROTO_UDP, socket.IPPROTO_TCP


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF ^ total


def _packet(protocol: int, source: bytes, target: str, payload: bytes, tos: int = 0) -> bytes:
    header = struct.pack(">BBHHHBBH4s4s", 0x45, tos, 20 + len(payload), 0, 0x4000, 64, protocol, 0,
                         source, socket.inet_aton(target))
    return header[:10] + _checksum(header).to_bytes(2, "big") + header[12:] + payload


def _datagram(source_port: int, port: int, payload: bytes) -> bytes:
    """One without a checksum, which a UDP receiver accepts."""
    return struct.pack(">HHHH", source_port, port, 8 + len(payload), 0) + payload


def segment(flags: int, port: int) -> bytes:
    """A TCP header without a checksum, as it travels in a tunnel (W5)."""
    return struct.pack(">HHIIBBHHH", 40000, port, 1, 1, 5 << 4, flags, 65535, 0, 0)


def _raw_socket(host: Host) -> socket.socket:
    """Its packets carry whatever header they are given."""
    with host.inside():
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def _mac(host: Host, device: str) -> bytes:
    found = re.search(r"link/ether ([\da-f:]+)", host.ip("link", "show", "dev", device))
    assert found
    return bytes.fromhex(found[1].replace(":", ""))


# What forged sources send: openings, acknowledgments of nothing, keepalives (to a port of TCP).
FLOODS: dict[str, Callable[[int], bytes]] = {
    "syn": lambda port: segment(SYN, port),
    "ack": lambda port: segment(ACK, port),
    "keepalive": lambda _port: b"",
}


class Flood:
    """Sends a payload to a port of the server at this rate, each datagram from another source that
    does not exist, until the end of the context. Through a ring of frames, which costs little.

    With `times`, each source sends so many, some tens of milliseconds apart. What the server
    answers is dropped at the client.
    """

    SOURCES = 16384  # and 255 ports of each
    _SOL_PACKET = 263
    _PACKET_VERSION, _PACKET_TX_RING, _PACKET_QDISC_BYPASS = 10, 13, 20
    _TPACKET_V2 = 1
    _SEND_REQUEST = 1
    _SLOT = 128
    _DATA = 32  # from a slot's begin, behind its header
    _SOURCE_PORT = _DATA + 14 + 20
    _BLOCK = 1 << 16

    def __init__(self, scene: Pair, port: int, payload: bytes, rate: int, times: int = 1,
                 target: str = "") -> None:
        self.sent = 0
        self.lasted = 0.0  # seconds
        self._scene, self._rate, self._times = scene, rate, times
        # so many sources take turns, before the next ones do
        self._block = min(1 << max(int(rate * 0.08).bit_length() - 1, 0), self.SOURCES // 4)
        with scene.client.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for option, value in ((self._PACKET_VERSION, self._TPACKET_V2),
                              (self._PACKET_QDISC_BYPASS, 1)):
            self._socket.setsockopt(self._SOL_PACKET, option, value)
        size = self.SOURCES * self._SLOT
        self._socket.setsockopt(self._SOL_PACKET, self._PACKET_TX_RING, struct.pack(
            "IIII", self._BLOCK, size // self._BLOCK, self._SLOT, self.SOURCES))
        self._socket.bind(("eth0", 0x0800))
        self._ring = mmap.mmap(self._socket.fileno(), size)
        self._image = bytearray(b"".join(self._slots(port, payload, target)))
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forged sources", daemon=True)

    def _slots(self, port: int, payload: bytes, target: str) -> Iterable[bytes]:
        ethernet = (_mac(self._scene.server, "eth0") + _mac(self._scene.client, "eth0")
                    + struct.pack(">H", 0x0800))
        for number in range(self.SOURCES):
            source = struct.pack(">HH", 0x0B00 + number, 0x8000 - number)  # 11.0.0.0 to 75.0.0.0
            frame = ethernet + _packet(_UDP, source, target or self._scene.server_address,
                                       _datagram(0, port, payload))
            header = struct.pack("II", self._SEND_REQUEST, len(frame)).ljust(self._DATA, b"\0")
            yield (header + frame).ljust(self._SLOT, b"\0")

    def __enter__(self) -> "Flood":
        self._scene.client.nft("""
            table ip forged {
                chain prerouting {
                    type filter hook prerouting priority raw
                    ip daddr { 11.0.0.0-75.0.255.255 } drop
                }
            }""")
        self._scene.server.ip("route", "replace", "default", "via", self._scene.client_address)
        self._begin = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        self._thread.join()
        self.lasted = time.monotonic() - self._begin
        self._ring.close()
        self._socket.close()
        self._scene.client.nft("delete table ip forged")

    def _run(self) -> None:
        turn = -1
        while not self._is_over.wait(0.002):
            due = int((time.monotonic() - self._begin) * self._rate) - self.sent
            end = self.sent + min(due, self.SOURCES // 2)
            while self.sent < end:
                within = self.sent % self._block
                blocks = self.sent // (self._block * self._times)
                now, source = divmod(blocks * self._block + within, self.SOURCES)
                if now != turn:
                    turn = now
                    port = bytes([turn % 255 + 1])  # the upper half of it
                    self._image[self._SOURCE_PORT::self._SLOT] = port * self.SOURCES
                count = min(end - self.sent, self._block - within)
                self._copy(source, self.sent % self.SOURCES, count)
                self.sent += count
            self._socket.send(b"")

    def _copy(self, source: int, slot: int, count: int) -> None:
        """The frames of so many sources into the ring; blocks divide it, so they lie in a row."""
        size = self._SLOT
        self._ring[slot * size:(slot + count) * size] = memoryview(self._image)[
            source * size:(source + count) * size]


class HostileSender:
    """A stranger on the client's side who sends anything from anywhere to a port of the server,
    half of it near to TCP. The same seed makes the same datagrams."""

    def __init__(self, scene: Pair, port: int, seed: int = 5) -> None:
        self._target, self._port = scene.server_address, port
        self._random = random.Random(seed)
        self._socket = _raw_socket(scene.client)

    def __enter__(self) -> "HostileSender":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def _payload(self) -> bytes:
        most = self._random.choice((21, 64, 1473))
        payload = bytearray(self._random.randbytes(self._random.randrange(most)))
        if len(payload) > 12 and self._random.random() < 0.5:
            payload[12] = self._random.choice((4, 5, 5, 6, 8, 15)) << 4
        return bytes(payload)

    def send(self, count: int) -> None:
        """So many datagrams, one after the other."""
        for _ in range(count):
            source = self._random.choice((
                f"203.0.113.{self._random.randrange(256)}",
                f"203.0.113.{self._random.randrange(256)}",
                self._target,
                "10.64.0.7",
                "224.0.0.1",
                "255.255.255.255",
            ))
            source_port = self._random.choice((0, self._port, self._random.randrange(65536)))
            self._socket.sendto(
                _packet(_UDP, socket.inet_aton(source), self._target,
                        _datagram(source_port, self._port, self._payload()),
                        tos=self._random.randrange(256)), (self._target, 0))


class Scan:
    """Somebody on a host who tries one address after the other: a SYN to each of a network."""

    def __init__(self, host: Host, source: str, network: str, port: int = 80) -> None:
        self._source, self._port = socket.inet_aton(source), port
        self._addresses = ipaddress.ip_network(network).hosts()
        self._socket = _raw_socket(host)

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def try_some(self, count: int) -> None:
        """The next so many addresses."""
        for _, address in zip(range(count), self._addresses):
            header = bytearray(segment(SYN, self._port))
            pseudo = self._source + address.packed + struct.pack(">HH", _TCP, len(header))
            header[16:18] = _checksum(pseudo + header).to_bytes(2, "big")
            self._socket.sendto(_packet(_TCP, self._source, str(address), bytes(header)),
                                (str(address), 0))
