"""IPv4, TCP, UDP and ICMP headers, built and taken apart byte by byte.

Parsing is strict: whatever a kernel would not accept raises ValueError.  Building is lax where a
test needs a wrong packet: each derived field (lengths, checksums) can be overridden.
"""

from __future__ import annotations

import enum
import socket
import struct
from dataclasses import dataclass, replace

IPV4_HEADER = 20
TCP_HEADER = 20
UDP_HEADER = 8
LARGEST_UDP_PAYLOAD = 65507
# A peer of the first generation overruns its buffer on more (rule W6).
LARGEST_SAFE_PAYLOAD = 1472

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))


class Kind(enum.Enum):
    """What a UDP payload is, by the rules of the wire."""

    SEGMENT = "W1"
    KEEPALIVE = "W2"
    CONTROL = "W3"
    MALFORMED = "W4"


def kind_of(payload: bytes) -> Kind:
    """Classify a UDP payload."""
    if not payload:
        return Kind.KEEPALIVE
    if len(payload) < TCP_HEADER:
        return Kind.MALFORMED
    words = payload[12] >> 4
    if words < 5:
        return Kind.CONTROL
    return Kind.SEGMENT if words * 4 <= len(payload) else Kind.MALFORMED


def ones_complement_sum(data: bytes) -> int:
    """The 16-bit one's complement sum of RFC 1071, folded, not inverted."""
    if len(data) % 2:
        data += b"\0"
    # Taken as one number, the words of `data` add up to it modulo 0xffff: 2^16 is 1 there.
    number = int.from_bytes(data, "big")
    return (number % 0xFFFF or 0xFFFF) if number else 0


def internet_checksum(data: bytes) -> int:
    """The checksum of RFC 1071 over `data`."""
    return 0xFFFF - ones_complement_sum(data)


def pseudo_header(source: str, destination: str, protocol: int, length: int) -> bytes:
    """What TCP and UDP checksums cover besides the segment itself."""
    return (
        socket.inet_aton(source)
        + socket.inet_aton(destination)
        + struct.pack("!BBH", 0, protocol, length)
    )


@dataclass(frozen=True)
class Ipv4:
    """An IPv4 packet."""

    source: str
    destination: str
    payload: bytes
    protocol: int = socket.IPPROTO_TCP
    tos: int = 0
    ttl: int = 64
    identification: int = 0
    dont_fragment: bool = True
    more_fragments: bool = False
    fragment_offset: int = 0
    options: bytes = b""

    def to_bytes(self, total_length: int | None = None, checksum: int | None = None) -> bytes:
        """The packet's bytes; the derived fields are right unless they are given."""
        header_length = IPV4_HEADER + len(self.options)
        if total_length is None:
            total_length = header_length + len(self.payload)
        fragment = self.dont_fragment << 14 | self.more_fragments << 13 | self.fragment_offset // 8
        header = bytearray(
            struct.pack(
                "!BBHHHBBH4s4s",
                4 << 4 | header_length // 4,
                self.tos,
                total_length,
                self.identification,
                fragment,
                self.ttl,
                self.protocol,
                0,
                socket.inet_aton(self.source),
                socket.inet_aton(self.destination),
            )
            + self.options
        )
        if checksum is None:
            checksum = internet_checksum(bytes(header))
        header[10:12] = checksum.to_bytes(2, "big")
        return bytes(header) + self.payload

    @classmethod
    def parse(cls, data: bytes) -> Ipv4:
        """Take a packet apart, refusing what a receiver must refuse."""
        if len(data) < IPV4_HEADER:
            raise ValueError(f"{len(data)} bytes are no IPv4 packet")
        (first, tos, total_length, identification, fragment, ttl, protocol, _checksum, source,
         destination) = struct.unpack_from("!BBHHHBBH4s4s", data)
        header_length = (first & 15) * 4
        if first >> 4 != 4:
            raise ValueError(f"IP version {first >> 4}")
        if not IPV4_HEADER <= header_length <= total_length:
            raise ValueError(f"header length {header_length}, total length {total_length}")
        if total_length != len(data):
            raise ValueError(f"total length {total_length} of {len(data)} bytes")
        if internet_checksum(data[:header_length]):
            raise ValueError(f"IPv4 header checksum wrong: {data[:header_length].hex()}")
        if fragment & 0x8000:
            raise ValueError("reserved flag set")
        return cls(
            source=socket.inet_ntoa(source),
            destination=socket.inet_ntoa(destination),
            payload=data[header_length:],
            protocol=protocol,
            tos=tos,
            ttl=ttl,
            identification=identification,
            dont_fragment=bool(fragment & 0x4000),
            more_fragments=bool(fragment & 0x2000),
            fragment_offset=(fragment & 0x1FFF) * 8,
            options=data[IPV4_HEADER:header_length],
        )


@dataclass(frozen=True)
class Tcp:
    """A TCP segment."""

    source_port: int
    destination_port: int
    sequence: int = 0
    acknowledgement: int = 0
    flags: int = ACK
    window: int = 65535
    urgent: int = 0
    options: bytes = b""
    data: bytes = b""

    def to_bytes(
        self,
        source: str = "0.0.0.0",
        destination: str = "0.0.0.0",
        checksum: int | None = None,
        data_offset: int | None = None,
    ) -> bytes:
        """The segment's bytes, its checksum made for the addresses unless it is given."""
        if len(self.options) % 4:
            raise ValueError("TCP options are not padded")
        if data_offset is None:
            data_offset = (TCP_HEADER + len(self.options)) // 4
        segment = bytearray(
            struct.pack(
                "!HHIIBBHHH",
                self.source_port,
                self.destination_port,
                self.sequence,
                self.acknowledgement,
                data_offset << 4,
                self.flags,
                self.window,
                0,
                self.urgent,
            )
            + self.options
            + self.data
        )
        if checksum is None:
            checksum = tcp_checksum(bytes(segment), source, destination)
        segment[16:18] = checksum.to_bytes(2, "big")
        return bytes(segment)

    @classmethod
    def parse(cls, segment: bytes) -> Tcp:
        """Take a segment apart; its checksum is `tcp_checksum_is_right`'s affair."""
        if kind_of(segment) is not Kind.SEGMENT:
            raise ValueError(f"no TCP segment: {segment[:32].hex()}")
        (source_port, destination_port, sequence, acknowledgement, offset, flags, window, _checksum,
         urgent) = struct.unpack_from("!HHIIBBHHH", segment)
        header_length = (offset >> 4) * 4
        return cls(
            source_port=source_port,
            destination_port=destination_port,
            sequence=sequence,
            acknowledgement=acknowledgement,
            flags=flags,
            window=window,
            urgent=urgent,
            options=segment[TCP_HEADER:header_length],
            data=segment[header_length:],
        )


def tcp_checksum(segment: bytes, source: str, destination: str) -> int:
    """The checksum that a TCP segment between these addresses carries."""
    cleared = segment[:16] + b"\0\0" + segment[18:]
    return internet_checksum(
        pseudo_header(source, destination, socket.IPPROTO_TCP, len(segment)) + cleared
    )


def tcp_checksum_is_right(packet: Ipv4) -> bool:
    """Whether a receiver of this IPv4 packet accepts the checksum of the TCP segment in it."""
    segment = packet.payload
    return not internet_checksum(
        pseudo_header(packet.source, packet.destination, packet.protocol, len(segment)) + segment
    )


def tcp_checksum_is_prepared(packet: Ipv4) -> bool:
    """Whether the field holds the pseudo-header's sum, as a device expects that finishes it."""
    expected = ones_complement_sum(
        pseudo_header(packet.source, packet.destination, packet.protocol, len(packet.payload))
    )
    return int.from_bytes(packet.payload[16:18], "big") == expected


def without_checksum(segment: bytes) -> bytes:
    """A TCP segment with its checksum blanked: on the wire it means nothing (rule W5)."""
    return segment[:16] + b"\0\0" + segment[18:]


def segments_of(segment: bytes, size: int) -> list[bytes]:
    """Cut a TCP segment into those of `size` data bytes that it stands for.

    Sequence numbers go up, FIN and PSH stay on the last one only, CWR on the first one only.
    Checksums are blank.
    """
    whole = Tcp.parse(segment)
    starts = range(0, len(whole.data), size) if size and whole.data else range(1)
    pieces = []
    for start in starts:
        data = whole.data[start:start + size] if size else whole.data
        flags = whole.flags
        if start + len(data) < len(whole.data):
            flags &= ~(FIN | PSH)
        if start:
            flags &= ~CWR
        piece = replace(
            whole, sequence=(whole.sequence + start) % 2**32, flags=flags, data=data
        )
        pieces.append(piece.to_bytes(checksum=0))
    return pieces


@dataclass(frozen=True)
class Udp:
    """A UDP datagram with the checksum that it carried."""

    source_port: int
    destination_port: int
    payload: bytes
    checksum: int = 0

    @classmethod
    def parse(cls, packet: Ipv4) -> Udp:
        """Take the datagram out of an IPv4 packet; a missing or wrong checksum is an error."""
        data = packet.payload
        if packet.protocol != socket.IPPROTO_UDP or len(data) < UDP_HEADER:
            raise ValueError("no UDP datagram")
        source_port, destination_port, length, checksum = struct.unpack_from("!HHHH", data)
        if length != len(data):
            raise ValueError(f"UDP length {length} of {len(data)} bytes")
        if not checksum:
            raise ValueError("UDP checksum not sent")
        if internet_checksum(
            pseudo_header(packet.source, packet.destination, packet.protocol, length) + data
        ):
            raise ValueError("UDP checksum wrong")
        return cls(source_port, destination_port, data[UDP_HEADER:], checksum)

    def to_bytes(self, source: str, destination: str) -> bytes:
        """The datagram's bytes with the right checksum for these addresses."""
        length = UDP_HEADER + len(self.payload)
        header = struct.pack("!HHHH", self.source_port, self.destination_port, length, 0)
        checksum = internet_checksum(
            pseudo_header(source, destination, socket.IPPROTO_UDP, length) + header + self.payload
        )
        return header[:6] + (checksum or 0xFFFF).to_bytes(2, "big") + self.payload


@dataclass(frozen=True)
class Unreachable:
    """An ICMP "destination unreachable" message."""

    code: int
    next_hop_mtu: int
    quoted: bytes

    NETWORK, HOST, PROTOCOL, PORT, FRAGMENTATION_NEEDED = range(5)

    @classmethod
    def parse(cls, packet: Ipv4) -> Unreachable:
        """Take the message out of an IPv4 packet."""
        data = packet.payload
        if packet.protocol != socket.IPPROTO_ICMP or len(data) < 8 or data[0] != 3:
            raise ValueError("no ICMP destination unreachable")
        if internet_checksum(data):
            raise ValueError("ICMP checksum wrong")
        return cls(code=data[1], next_hop_mtu=struct.unpack_from("!H", data, 6)[0], quoted=data[8:])
