"""MTU: of the tunnel interface, of a path that shrinks, and what an inner sender is told."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import lab
from datagrams import BareEndpoint, BarePeer, BareServer, a_segment
from paths import SMALL_PATH, shrink_path
from reference.packets import IPV4_HEADER, LARGEST_SAFE_PAYLOAD, Ipv4, Unreachable
from streams import Payload, Stream, round_trip, transfer
from tunnels import CLIENT_TUNNEL, SERVER_PORT, SERVER_TUNNEL, TunnelledPair
from wiretap import Wiretap, icmp_written

UDP_AND_IP = 28
OVERHEAD = 8  # what encapsulation adds to a packet


def mtu_of(host: lab.Host, device: str = "tun0") -> int:
    """A device's MTU."""
    return json.loads(host.ip("-json", "link", "show", device))[0]["mtu"]


@pytest.mark.parametrize("device, tunnel", [(1500, 1492), (1400, 1392), (9000, 1492)])
def test_mtu_of_the_interface(
    laboratory: lab.Laboratory,
    bare_server: Callable[..., BareServer],
    device: int,
    tunnel: int,
) -> None:
    server = bare_server(scene=lab.pair(laboratory, mtu=device))
    assert mtu_of(server.scene.server) == tunnel


def test_mtu_follows_the_device(bare_server: Callable[..., BareServer]) -> None:
    host = bare_server().scene.server
    for device, tunnel in ((1300, 1292), (9000, 1492), (1480, 1472)):
        host.mtu("eth0", device)
        lab.wait_until(lambda: mtu_of(host) == tunnel, what=f"MTU {mtu_of(host)}, not {tunnel}")


def test_given_mtu_stays(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """--mtu is used as it is, above 1492 too, and does not follow the device."""
    scene = lab.pair(laboratory, mtu=9000)
    pair: TunnelledPair = tunnelled_pair(scene=scene, options=("--mtu", 8000))
    assert mtu_of(pair.client) == mtu_of(pair.server) == 8000
    near, far = pair.connect()
    with near, far, Wiretap(pair.server, "eth0") as cable:
        transfer(near, far, payload, 4 << 20)
        cable.receive(lambda frame: len(frame.packet.payload) > 7000)
        for host in (pair.client, pair.server):
            host.mtu("eth0", 8500)
        transfer(far, near, payload, 4 << 20)
    assert mtu_of(pair.client) == mtu_of(pair.server) == 8000


def test_nothing_longer_than_a_peer_can_take(
    laboratory: lab.Laboratory, bare_server: Callable[..., BareServer]
) -> None:
    """W6: not even on a cable that carries more, or if an inner sender disregards the MTU."""
    server = bare_server(scene=lab.pair(laboratory, mtu=9000))
    with server.peer() as peer:
        address = server.introduce(peer)
        for data, gso_size in ((3000, 1500), (3000, LARGEST_SAFE_PAYLOAD - 20 + 1)):
            whole = a_segment(data=bytes(data))
            server.tap.send(Ipv4(SERVER_TUNNEL, address, whole).to_bytes(), gso_size)
        largest = a_segment(data=bytes(LARGEST_SAFE_PAYLOAD - 20))
        server.tap.send(Ipv4(SERVER_TUNNEL, address, largest).to_bytes())
        # The two were on their way before the third: they did not go.
        assert len(peer.receive()) == LARGEST_SAFE_PAYLOAD
    assert server.tunnel.counters()["discard_out_too_big"] >= 2


@pytest.mark.parametrize("offload, threads", [("on", 1), ("on", 4), ("off", 1)])
def test_path_shrinks_during_transfers(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
    offload: str,
    threads: int,
) -> None:
    """Transfers both ways go on, with offload where it was on, and so do new connections."""
    scene = lab.pair_routed(laboratory)
    pair: TunnelledPair = tunnelled_pair(
        scene=scene, options=("--offload", offload, "--threads", threads)
    )
    up, down = pair.connect(), pair.connect()
    streams = [
        Stream(*up, payload, Payload.SMALLEST), Stream(*reversed(down), payload, Payload.SMALLEST)
    ]
    for stream in streams:
        stream.wait_for(4 << 20)
    assert not any(stream.done for stream in streams)
    shrink_path(scene)
    for stream in streams:
        stream.finish()
        assert stream.longest_pause < 5
    tunnels = (pair.endpoint, pair.listener)
    messages = [tunnel.counters()["out_gso_messages"] for tunnel in tunnels]
    transfer(*up, payload, 4 << 20)
    transfer(*reversed(up), payload, 4 << 20)
    near, far = pair.connect()
    with near, far:
        round_trip(near, far, bytes(10000))
    for tunnel, before in zip(tunnels, messages):
        counters = tunnel.counters()
        assert counters["discard_out_too_big"] > 0
        assert counters["icmp_sent"] > 0
        assert counters["gso_fallbacks"] == 0, "offload was given up"
        assert (counters["out_gso_messages"] > before) == (offload == "on")


def assert_told_the_path_mtu(tap: Wiretap, too_big: Ipv4, gso_size: int = 0) -> None:
    """Sent into the tunnel, the packet makes the ICMP message that the design describes."""
    tap.send(too_big.to_bytes(), gso_size)
    frame = tap.receive(icmp_written)
    # From the packet's own destination: the kernel takes it from nobody else.
    assert frame.packet.source == too_big.destination
    assert frame.packet.destination == too_big.source
    message = Unreachable.parse(frame.packet)
    assert message.code == Unreachable.FRAGMENTATION_NEEDED
    assert message.next_hop_mtu == SMALL_PATH - OVERHEAD
    quoted = too_big.to_bytes()[:IPV4_HEADER + 8]
    assert message.quoted[:len(quoted)] == quoted


@pytest.mark.parametrize("offload, gso_size", [("on", 0), ("on", 1440), ("off", 0)])
def test_message_to_the_inner_sender_in_server_mode(
    laboratory: lab.Laboratory,
    bare_server: Callable[..., BareServer],
    offload: str,
    gso_size: int,
) -> None:
    scene = lab.pair_routed(laboratory)
    server = bare_server(scene=scene, options=("--offload", offload))
    with server.peer() as peer:
        address = server.introduce(peer)
        too_big = Ipv4(
            SERVER_TUNNEL, address, a_segment(data=bytes(1440 * 5 if gso_size else 1440))
        )
        shrink_path(scene)
        # The first is lost on the way: from it the host learns of the path.
        server.tap.send(too_big.to_bytes(), gso_size)
        lab.wait_until(lambda: scene.server.counter("IcmpInDestUnreachs"))
        assert_told_the_path_mtu(server.tap, too_big, gso_size)
        largest = a_segment(data=bytes(SMALL_PATH - UDP_AND_IP - 20))
        server.tap.send(Ipv4(SERVER_TUNNEL, address, largest).to_bytes())
        assert len(peer.receive()) == SMALL_PATH - UDP_AND_IP
    assert server.tunnel.counters()["gso_fallbacks"] == 0


def test_message_to_the_inner_sender_in_endpoint_mode(
    laboratory: lab.Laboratory, bare_endpoint: Callable[..., BareEndpoint]
) -> None:
    scene = lab.pair_routed(laboratory)
    endpoint = bare_endpoint(scene=scene)
    shrink_path(scene)
    too_big = Ipv4(CLIENT_TUNNEL, scene.server_address, a_segment(data=bytes(1440)))
    endpoint.tap.send(too_big.to_bytes())
    lab.wait_until(lambda: scene.client.counter("IcmpInDestUnreachs"))
    assert_told_the_path_mtu(endpoint.tap, too_big)


def test_device_mtu_shrinks_during_a_transfer(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    pair: TunnelledPair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        stream = Stream(near, far, payload, Payload.SMALLEST)
        stream.wait_for(4 << 20)
        for host in (pair.server, pair.client):
            host.mtu("eth0", 1300)
        stream.finish()
        transfer(far, near, payload, 4 << 20)
    assert mtu_of(pair.client) == mtu_of(pair.server) == 1292


def test_two_peers_with_different_paths(
    laboratory: lab.Laboratory, bare_server: Callable[..., BareServer]
) -> None:
    """One peer's small path makes nothing smaller for the others."""
    scene = lab.pair_routed(laboratory)
    other_client = laboratory.host("other")
    laboratory.link(other_client, "eth0", scene.middle, "eth2")
    other_client.address("eth0", "203.0.113.1/24")
    other_client.route("default", "via", "203.0.113.254")
    scene.middle.address("eth2", "203.0.113.254/24")
    server = bare_server(scene=scene)
    with (
        server.peer() as near_small_path,
        BarePeer(other_client, (scene.server_address, SERVER_PORT)) as other,
    ):
        small = server.introduce(near_small_path)
        large = server.introduce(other)
        shrink_path(scene)
        segment = a_segment(data=bytes(1440))
        server.tap.send(Ipv4(SERVER_TUNNEL, small, segment).to_bytes())
        lab.wait_until(lambda: scene.server.counter("IcmpInDestUnreachs"))
        for address in (small, large, small, large):
            server.tap.send(Ipv4(SERVER_TUNNEL, address, segment).to_bytes())
        assert len(other.receive()) == len(other.receive()) == len(segment)
        assert near_small_path.receives_nothing(within=0.2)


def test_path_of_the_address_that_the_peer_uses(
    laboratory: lab.Laboratory, bare_server: Callable[..., BareServer]
) -> None:
    """A server with two addresses and a policy rule: the path is that of the datagrams' source."""
    scene = lab.pair_routed(laboratory)
    other = "198.51.100.2"
    scene.server.address("eth0", f"{other}/24")
    scene.server.rule("from", other, "lookup", 200)
    scene.server.route("default", "via", "198.51.100.254", "table", 200, "mtu", SMALL_PATH)
    server = bare_server(scene=scene)
    with BarePeer(scene.client, (other, SERVER_PORT)) as peer, server.peer() as first:
        too_big = a_segment(data=bytes(1440))
        server.tap.send(Ipv4(SERVER_TUNNEL, server.introduce(first), too_big).to_bytes())
        assert len(first.receive()) == len(too_big)
        server.tap.send(Ipv4(SERVER_TUNNEL, server.introduce(peer), too_big).to_bytes())
        message = Unreachable.parse(server.tap.receive(icmp_written).packet)
        assert message.code == Unreachable.FRAGMENTATION_NEEDED
        assert message.next_hop_mtu == SMALL_PATH - OVERHEAD
        assert peer.receives_nothing(within=0.1)
