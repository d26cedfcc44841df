"""Each byte of the headers: what the program puts around a segment, and that the segment itself
passes unchanged (R4, R5, R6, T3, W5, W6)."""

from __future__ import annotations

import ipaddress
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

import lab
from datagrams import BareEndpoint, BarePeer, BareServer, a_segment, same_sequence
from reference.packets import (
    ACK,
    CWR,
    ECE,
    FIN,
    LARGEST_SAFE_PAYLOAD,
    PSH,
    SYN,
    URG,
    Ipv4,
    Tcp,
    Udp,
    segments_of,
    without_checksum,
)
from tunnels import CLIENT_TUNNEL, ENDPOINT_PORT, POOL, SERVER_PORT, SERVER_TUNNEL
from wiretap import Frame, Wiretap, written_to_tunnel

T = TypeVar("T")
BOTH_OFFLOADS = pytest.mark.parametrize("offload", ["on", "off"])
TIMESTAMPS = b"\x01\x01\x08\x0a" + struct.pack("!II", 123456, 654321)
# Kind 30 is MPTCP: a data sequence signal, as long as they come.
MPTCP = b"\x1e\x1a\x20\x00" + bytes(22) + b"\x01\x01"


def assert_tunnel_header(frame: Frame, source: str, destination: str, segment: bytes) -> None:
    """What the program wrote is this segment under the header of rule R4."""
    packet = frame.packet
    expected = Ipv4(source, destination, packet.payload, identification=packet.identification)
    assert frame.raw == expected.to_bytes()
    assert frame.checksum_is_right()
    assert without_checksum(packet.payload) == without_checksum(segment)


@BOTH_OFFLOADS
def test_header_in_server_mode(bare_server: Callable[..., BareServer], offload: str) -> None:
    server = bare_server(options=("--offload", offload))
    with server.peer() as peer:
        segment = a_segment(flags=ACK | PSH, options=TIMESTAMPS, data=b"hello")
        peer.send(segment)
        frame = server.tap.receive(same_sequence(segment))
        assert_tunnel_header(frame, frame.packet.source, SERVER_TUNNEL, segment)
        address = ipaddress.ip_address(frame.packet.source)
        assert address in POOL
        assert address not in (
            POOL.network_address, POOL.broadcast_address, ipaddress.ip_address(SERVER_TUNNEL)
        )


@BOTH_OFFLOADS
def test_header_in_endpoint_mode(
    bare_endpoint: Callable[..., BareEndpoint], offload: str
) -> None:
    endpoint = bare_endpoint(options=("--offload", offload))
    segment = a_segment(flags=SYN | ACK, options=MPTCP)
    endpoint.remote.send(segment)
    frame = endpoint.tap.receive(same_sequence(segment))
    assert_tunnel_header(frame, endpoint.scene.server_address, CLIENT_TUNNEL, segment)


def assert_datagram(
    tap: Wiretap, segment: bytes, source: tuple[str, int], destination: tuple[str, int]
) -> None:
    """What passes next is one datagram with this segment, its headers as T3 and W5 say."""
    packet = tap.receive(lambda frame: frame.packet.protocol == socket.IPPROTO_UDP).packet
    datagram = Udp.parse(packet)
    assert (packet.source, datagram.source_port) == source
    assert (packet.destination, datagram.destination_port) == destination
    assert packet.dont_fragment and not packet.more_fragments and not packet.fragment_offset
    assert not packet.options
    assert without_checksum(datagram.payload) == without_checksum(segment)


@BOTH_OFFLOADS
def test_datagram_in_server_mode(bare_server: Callable[..., BareServer], offload: str) -> None:
    server = bare_server(options=("--offload", offload))
    # Nobody finishes checksums later: what is on the device is what goes over the cable.
    server.scene.server.run("ethtool", "-K", "eth0", "tx", "off")
    with server.peer() as peer, Wiretap(server.scene.client, "eth0") as cable:
        address = server.introduce(peer)
        segment = a_segment(options=MPTCP, data=b"x" * 100)
        server.tap.send(Ipv4(SERVER_TUNNEL, address, segment).to_bytes())
        peer.receive()
        cable.receive(lambda frame: not frame.outgoing is False)  # the introduction
        assert_datagram(
            cable, segment, (server.scene.server_address, SERVER_PORT), peer.socket.getsockname()
        )


@BOTH_OFFLOADS
def test_datagram_in_endpoint_mode(
    bare_endpoint: Callable[..., BareEndpoint], offload: str
) -> None:
    endpoint = bare_endpoint(options=("--offload", offload))
    scene = endpoint.scene
    scene.client.run("ethtool", "-K", "eth0", "tx", "off")
    with Wiretap(scene.server, "eth0") as cable:
        segment = a_segment(options=TIMESTAMPS, data=b"y" * 1420)
        endpoint.tap.send(Ipv4(CLIENT_TUNNEL, scene.server_address, segment).to_bytes())
        assert_datagram(
            cable,
            segment,
            (scene.client_address, ENDPOINT_PORT),
            (scene.server_address, SERVER_PORT),
        )


def segments_of_all_kinds() -> Iterator[bytes]:
    """Flags, options, windows, urgent pointers and sizes, as TCP stacks never send them too."""
    generator = random.Random(2)
    for flags in range(256):
        yield a_segment(flags=flags, data=generator.randbytes(generator.randrange(64)))
    for words in range(11):
        yield a_segment(options=generator.randbytes(words * 4), data=b"odd")
    for size in (0, 1, 2, 3, 1447, 1448, LARGEST_SAFE_PAYLOAD - 20):
        yield a_segment(data=generator.randbytes(size))
    for _ in range(100):
        yield Tcp(
            source_port=generator.randrange(65536),
            destination_port=generator.randrange(65536),
            sequence=generator.randrange(2**32),
            acknowledgement=generator.randrange(2**32),
            flags=ACK | generator.choice((0, PSH, FIN, URG)),
            window=generator.randrange(65536),
            urgent=generator.randrange(65536),
            options=generator.choice((b"", TIMESTAMPS, MPTCP)),
            data=generator.randbytes(generator.randrange(1400)),
        ).to_bytes(checksum=generator.randrange(65536))


def in_batches(items: list[T], size: int = 32) -> Iterator[list[T]]:
    """So many at a time, for which a socket buffer always has room."""
    for start in range(0, len(items), size):
        yield items[start:start + size]


def receive_written(tap: Wiretap, count: int) -> list[bytes]:
    """The next `count` segments that the program writes, super-packets cut up."""
    segments: list[bytes] = []
    while len(segments) < count:
        frame = tap.receive(written_to_tunnel)
        assert frame.checksum_is_right()
        segments += frame.segments()
    return segments


@BOTH_OFFLOADS
def test_segments_of_all_kinds_come_in_unchanged(
    bare_server: Callable[..., BareServer], offload: str
) -> None:
    server = bare_server(options=("--offload", offload))
    sent = list(segments_of_all_kinds())
    with server.peer() as peer:
        for batch in in_batches(sent):
            for segment in batch:
                peer.send(segment)
            assert receive_written(server.tap, len(batch)) == [
                without_checksum(segment) for segment in batch
            ]


@BOTH_OFFLOADS
def test_segments_of_all_kinds_go_out_unchanged(
    bare_server: Callable[..., BareServer], offload: str
) -> None:
    server = bare_server(options=("--offload", offload, "--threads", "1"))
    sent = list(segments_of_all_kinds())
    with server.peer() as peer:
        address = server.introduce(peer)
        for batch in in_batches(sent):
            for segment in batch:
                server.tap.send(Ipv4(SERVER_TUNNEL, address, segment).to_bytes())
            assert [without_checksum(peer.receive()) for _ in batch] == [
                without_checksum(segment) for segment in batch
            ]


def in_flows(flows: int, segments: int, size: int) -> list[bytes]:
    """Consecutive segments of several connections, interleaved."""
    generator = random.Random(3)
    return [
        a_segment(
            source_port=40000 + flow,
            sequence=(2**32 - 2000 + index * size) % 2**32,
            options=TIMESTAMPS,
            data=generator.randbytes(size),
        )
        for index in range(segments)
        for flow in range(flows)
    ]


def by_flow(segments: list[bytes]) -> dict[bytes, list[bytes]]:
    """The segments of each connection in their order, checksums blank."""
    flows: dict[bytes, list[bytes]] = {}
    for segment in segments:
        flows.setdefault(segment[:2], []).append(without_checksum(segment))
    return flows


@pytest.mark.parametrize("flows", [1, 3])
@BOTH_OFFLOADS
def test_runs_come_in_whole_and_in_order(
    bare_server: Callable[..., BareServer], offload: str, flows: int
) -> None:
    """Datagrams that arrive as one buffer; with offload they leave as super-packets."""
    server = bare_server(options=("--offload", offload))
    sent = in_flows(flows, 30 // flows, 1400)
    with server.peer() as peer:
        peer.send_run(sent)
        assert by_flow(receive_written(server.tap, len(sent))) == by_flow(sent)
    # a worker counts behind the call that writes
    lab.wait_until(lambda: server.tunnel.counters()["in_packets"] > 0)
    counters = server.tunnel.counters()
    assert counters["in_segments"] == len(sent)
    assert bool(counters["in_super_packets"]) == (offload == "on")


@pytest.mark.parametrize("size", [1, 100, 536, 1400])
@BOTH_OFFLOADS
def test_super_packets_go_out_as_their_segments(
    bare_server: Callable[..., BareServer], offload: str, size: int
) -> None:
    server = bare_server(options=("--offload", offload))
    generator = random.Random(4)
    with server.peer() as peer:
        address = server.introduce(peer)
        for flags in (ACK, ACK | PSH, ACK | FIN | PSH, ACK | ECE | CWR):
            for count in (2, 3, 45, 46, 64, 65, 129):  # around what one message can take
                length = min(size * count - size // 3, 65535 - 20 - 20 - len(TIMESTAMPS))
                whole = a_segment(
                    sequence=2**32 - 1000,
                    flags=flags,
                    options=TIMESTAMPS,
                    data=generator.randbytes(length),
                )
                expected = segments_of(whole, size)
                # The kernel hands a super-packet over with its checksum prepared.
                server.tap.send(Ipv4(SERVER_TUNNEL, address, whole).to_bytes(), gso_size=size)
                assert [without_checksum(peer.receive()) for _ in expected] == expected
    counters = server.tunnel.counters()
    assert counters["gso_fallbacks"] == 0
    assert bool(counters["out_gso_messages"]) == (offload == "on")


@BOTH_OFFLOADS
def test_ecn_and_dscp_come_in(bare_server: Callable[..., BareServer], offload: str) -> None:
    """The outer header's TOS becomes the inner one's, for each datagram on its own."""
    server = bare_server(options=("--offload", offload))
    with server.peer() as peer:
        for batch in in_batches(list(enumerate(in_flows(1, 256, 200)))):
            for tos, segment in batch:
                peer.send(segment, tos=tos)
            for tos, segment in batch:
                frame = server.tap.receive(written_to_tunnel)
                assert frame.segments() == [without_checksum(segment)]
                assert frame.packet.tos == tos


@BOTH_OFFLOADS
def test_ecn_and_dscp_go_out(bare_endpoint: Callable[..., BareEndpoint], offload: str) -> None:
    """The inner header's TOS becomes the outer one's."""
    endpoint = bare_endpoint(options=("--offload", offload))
    remote: BarePeer = endpoint.remote
    remote.socket.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    for batch in in_batches(list(enumerate(in_flows(1, 256, 200)))):
        for tos, segment in batch:
            packet = Ipv4(CLIENT_TUNNEL, endpoint.scene.server_address, segment, tos=tos)
            endpoint.tap.send(packet.to_bytes())
        for tos, segment in batch:
            payload, ancillary, _, _ = remote.socket.recvmsg(2048, 128)
            assert without_checksum(payload) == without_checksum(segment)
            assert [data[0] for _, kind, data in ancillary if kind == socket.IP_TOS] == [tos]
