"""What enters the tunnel interface and is no TCP that can go on: each has its counter, and where
its sender can be helped by it, an ICMP message (T1, T2)."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable

import pytest

import lab
from datagrams import BareEndpoint, BareServer, a_segment
from reference.packets import IPV4_HEADER, Ipv4, Udp, Unreachable
from tunnels import CLIENT_TUNNEL, SERVER_TUNNEL, TunnelledPair
from wiretap import Frame, icmp_written

# "At once" for a person, and long before any retransmission gives up.
AT_ONCE = 2.0
UNUSED = "10.64.0.200"


def udp_packet(source: str, destination: str) -> Ipv4:
    """A UDP datagram that wants to go through the tunnel."""
    datagram = Udp(1234, 53, b"question").to_bytes(source, destination)
    return Ipv4(source, destination, datagram, protocol=socket.IPPROTO_UDP)


def to_peer(address: str) -> dict[str, tuple[bytes, str]]:
    """Packets for a peer that must not go, and the counter of each."""
    segment = a_segment(data=b"data")
    good = Ipv4(SERVER_TUNNEL, address, segment)
    ipv6 = b"\x60\0\0\0\0\x14\x06\x40" + bytes(32) + segment

    def ipv4(**fields: object) -> bytes:
        return Ipv4(SERVER_TUNNEL, address, segment, **fields).to_bytes()

    def tcp(payload: bytes) -> bytes:
        return Ipv4(SERVER_TUNNEL, address, payload).to_bytes()

    return {
        "IPv6": (ipv6, "discard_out_not_ipv4"),
        "version 0": (b"\x05" + good.to_bytes()[1:], "discard_out_not_ipv4"),
        "version 15": (b"\xf5" + good.to_bytes()[1:], "discard_out_not_ipv4"),
        "UDP": (udp_packet(SERVER_TUNNEL, address).to_bytes(), "discard_out_not_tcp"),
        "protocol 0": (ipv4(protocol=0), "discard_out_not_tcp"),
        "router alert": (ipv4(options=b"\x94\x04\0\0"), "discard_out_ip_options"),
        "40 bytes of options": (ipv4(options=b"\x01" * 40), "discard_out_ip_options"),
        "first fragment": (
            ipv4(dont_fragment=False, more_fragments=True), "discard_out_fragment"
        ),
        "later fragment": (
            ipv4(dont_fragment=False, fragment_offset=1480), "discard_out_fragment"
        ),
        "total length too large": (
            good.to_bytes(total_length=len(segment) + 21), "discard_out_length"
        ),
        "total length 0": (good.to_bytes(total_length=0), "discard_out_length"),
        "total length 19": (good.to_bytes(total_length=19), "discard_out_length"),
        "header length 16": (b"\x44" + good.to_bytes()[1:], "discard_out_length"),
        "one byte": (b"\x45", "discard_out_length"),
        "half a header": (good.to_bytes()[:10], "discard_out_length"),
        "no TCP header": (tcp(b""), "discard_out_length"),
        "half a TCP header": (tcp(segment[:19]), "discard_out_length"),
        "data offset 4": (
            tcp(segment[:12] + b"\x40" + segment[13:]), "discard_out_malformed_tcp"
        ),
        "data offset beyond the end": (
            tcp(segment[:12] + b"\xf0" + segment[13:]), "discard_out_malformed_tcp"
        ),
        "unknown destination": (
            Ipv4(SERVER_TUNNEL, UNUSED, segment).to_bytes(), "discard_out_unknown_destination"
        ),
        "destination outside the pool": (
            Ipv4(SERVER_TUNNEL, "203.0.113.1", segment).to_bytes(),
            "discard_out_unknown_destination",
        ),
        "own address": (
            Ipv4(SERVER_TUNNEL, SERVER_TUNNEL, segment).to_bytes(),
            "discard_out_unknown_destination",
        ),
    }


@pytest.mark.parametrize("offload", ["on", "off"])
def test_each_packet_is_counted_for_what_it_is(
    known_bare_server: Callable[..., BareServer], offload: str
) -> None:
    server = known_bare_server(options=("--offload", offload, "--threads", 1))
    with server.peer() as peer:
        address = server.introduce(peer)
        for name, (packet, counter) in to_peer(address).items():
            before = server.tunnel.counters()
            server.tap.send(packet)
            # What comes out next was sent after it.
            last = a_segment()
            server.tap.send(Ipv4(SERVER_TUNNEL, address, last).to_bytes())
            assert peer.receive()[4:8] == last[4:8], name
            after = server.tunnel.counters()
            changed = {
                key: after[key] - before[key] for key in after
                if key.startswith("discard_") and after[key] != before[key]
            }
            assert changed == {counter: 1}, name


def assert_unreachable(frame: Frame, packet: Ipv4) -> Unreachable:
    """The message answers this packet and comes from where its sender sent it."""
    assert frame.packet.source == packet.destination
    assert frame.packet.destination == packet.source
    message = Unreachable.parse(frame.packet)
    quoted = packet.to_bytes()[:IPV4_HEADER + 8]
    assert message.quoted[:len(quoted)] == quoted
    return message


def test_message_for_what_is_not_tcp(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    endpoint = bare_endpoint()
    packet = udp_packet(CLIENT_TUNNEL, endpoint.scene.server_address)
    endpoint.tap.send(packet.to_bytes())
    assert_unreachable(endpoint.tap.receive(icmp_written), packet)


def test_message_for_an_unknown_destination(known_bare_server: Callable[..., BareServer]) -> None:
    server = known_bare_server()
    packet = Ipv4(SERVER_TUNNEL, UNUSED, a_segment())
    server.tap.send(packet.to_bytes())
    message = assert_unreachable(server.tap.receive(icmp_written), packet)
    assert message.code == Unreachable.HOST


def test_no_message_where_none_may_be(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    """Not for ICMP errors, not for later fragments, not to or from addresses of many (RFC 1122)."""
    endpoint = bare_endpoint()
    far = endpoint.scene.server_address
    error = Ipv4(
        CLIENT_TUNNEL, far, b"\x03\x01" + b"\xfc\xfe" + bytes(32), protocol=socket.IPPROTO_ICMP
    )
    later_fragment = Ipv4(
        CLIENT_TUNNEL, far, bytes(100), protocol=socket.IPPROTO_UDP,
        dont_fragment=False, fragment_offset=1480,
    )
    for packet in (
        error,
        later_fragment,
        udp_packet(CLIENT_TUNNEL, "224.0.0.251"),
        udp_packet(CLIENT_TUNNEL, "255.255.255.255"),
        udp_packet("0.0.0.0", far),
        udp_packet("224.0.0.1", far),
    ):
        endpoint.tap.send(packet.to_bytes())
    asked = udp_packet(CLIENT_TUNNEL, far)
    endpoint.tap.send(asked.to_bytes())
    # The first message is the one for the last packet.
    assert_unreachable(endpoint.tap.receive(icmp_written), asked)
    lab.wait_until(lambda: endpoint.tunnel.counters()["icmp_sent"] == 1)


def test_messages_are_limited(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    endpoint = bare_endpoint()
    packets = 2000
    packet = udp_packet(CLIENT_TUNNEL, endpoint.scene.server_address).to_bytes()
    for _ in range(packets // 100):
        before = endpoint.tunnel.counters()["discard_out_not_tcp"]
        for _ in range(100):
            endpoint.tap.send(packet)
        lab.wait_until(
            lambda: endpoint.tunnel.counters()["discard_out_not_tcp"] == before + 100
        )
    counters = endpoint.tunnel.counters()
    assert counters["icmp_sent"] + counters["icmp_suppressed"] == packets
    assert 0 < counters["icmp_sent"] < packets / 2


def test_ping_and_udp_fail_at_once(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """What a person sees: an answer, not a program that hangs."""
    pair: TunnelledPair = tunnelled_pair()
    pair.client.route(f"{pair.target}/32", "dev", "tun0")
    with pair.client.inside():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ping = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with udp, ping:
        udp.settimeout(AT_ONCE)
        udp.connect((pair.target, 53))
        udp.send(b"question")
        with pytest.raises(OSError) as failed:
            udp.recv(100)
        assert not isinstance(failed.value, TimeoutError)
        ping.settimeout(AT_ONCE)
        ping.sendto(b"\x08\0\xf7\xfd\0\1\0\1", (pair.target, 0))
        assert Unreachable.parse(Ipv4.parse(ping.recv(1000)))
    near, far = pair.connect()
    near.close()
    far.close()


def test_unknown_destination_fails_at_once(
    tunnelled_pair: Callable[..., TunnelledPair],
) -> None:
    pair: TunnelledPair = tunnelled_pair()
    with pair.server.inside():
        caller = socket.socket()
    with caller:
        caller.settimeout(10)
        started = time.monotonic()
        with pytest.raises(OSError) as failed:
            caller.connect((UNUSED, 80))
        assert failed.value.errno == errno.EHOSTUNREACH, "No route to host"
        assert time.monotonic() - started < AT_ONCE
