"""Paths that take less than TCP can make its segments, claimed or real: data goes on, in fragments
where there is no other way.

Without a tunnel all of these pass, because the kernel itself lets TCP be fragmented there.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

import lab
from paths import shrink_path
from reference.packets import Ipv4, internet_checksum
from streams import Payload, Stream, transfer
from tunnels import (
    ENDPOINT_PORT,
    SERVER_PORT,
    TunnelledPair,
    connect_through_tunnel,
    start_endpoint,
    start_server,
)

_MTU_DISCOVER, _DO_NOT = 10, 0
_LEAST = 552  # net.ipv4.route.min_pmtu
SIZE = 3 << 20


def claim_mtu(
    router: lab.Host, victim: tuple[str, int], peer: tuple[str, int], mtu: int
) -> None:
    """Tell the victim that its datagrams to the peer were larger than `mtu`; nobody asks whether
    they were."""
    udp = struct.pack("!HHHH", victim[1], peer[1], 1000, 0)
    quoted = Ipv4(victim[0], peer[0], udp, protocol=socket.IPPROTO_UDP).to_bytes()
    unreachable = struct.pack("!BBHHH", 3, 4, 0, 0, mtu)
    checksum = struct.pack("!H", internet_checksum(unreachable + quoted))
    with router.inside(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        s.sendto(unreachable[:2] + checksum + unreachable[4:] + quoted, (victim[0], 0))


def claimed_mtu(host: lab.Host, destination: str) -> int:
    """What the host believes the path takes, 0: nothing special."""
    words = host.ip("route", "get", destination).split()
    return int(words[words.index("mtu") + (2 if "lock" in words else 1)]) if "mtu" in words else 0


def claim_to_both(scene: lab.PairRouted, mtu: int) -> None:
    """Both ends are told so, and believe it."""
    client = (scene.client_address, ENDPOINT_PORT)
    server = (scene.server_address, SERVER_PORT)
    for host, victim, peer in ((scene.client, client, server), (scene.server, server, client)):
        claim_mtu(scene.middle, victim, peer, mtu)
        lab.wait_until(lambda: claimed_mtu(host, peer[0]) == max(mtu, _LEAST))


@contextlib.contextmanager
def streaming(pair: TunnelledPair, payload: Payload) -> Iterator[None]:
    """A transfer each way, under way; both must end well."""
    for device in ("eth0", "eth1"):
        pair.scene.middle.tbf(device, "100mbit")
    up, down = pair.connect(), pair.connect()
    streams = Stream(*up, payload, SIZE), Stream(*reversed(down), payload, SIZE)
    with up[0], up[1], down[0], down[1]:
        for stream in streams:
            stream.wait_for(1 << 18)
        assert not any(stream.done for stream in streams)
        yield
        for stream in streams:
            stream.finish()
            assert stream.longest_pause < 5
        for sender, receiver in (up, down[::-1]):
            transfer(sender, receiver, payload, 1 << 20)


@pytest.mark.parametrize("mtu", [0, 68, 500, 552, 559, 560, 576, 1000])
def test_claimed_mtu(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
    mtu: int,
) -> None:
    """One ICMP message to either end, in mid-transfer."""
    scene = lab.pair_routed(laboratory)
    pair: TunnelledPair = tunnelled_pair(scene=scene)
    with streaming(pair, payload):
        claim_to_both(scene, mtu)
    for tunnel in (pair.endpoint, pair.listener):
        counters = tunnel.counters()
        assert bool(counters["out_fragmentable"]) == (mtu < _LEAST + 8)
        assert counters["gso_fallbacks"] == 0


def test_claim_where_fragments_are_dropped(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
) -> None:
    """By a firewall on the way: what was claimed makes no fragments of what the path takes."""
    scene = lab.pair_routed(laboratory)
    scene.middle.nft("""
        table ip no_fragments {
            chain forward {
                type filter hook forward priority filter
                ip frag-off & 0x3fff != 0 drop
            }
        }""")
    pair: TunnelledPair = tunnelled_pair(scene=scene)
    with streaming(pair, payload):
        claim_to_both(scene, 0)
    assert pair.listener.counters()["out_fragmentable"] > 0


@pytest.mark.parametrize("mtu", [500, 552])
def test_real_path(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
    mtu: int,
) -> None:
    scene = lab.pair_routed(laboratory)
    pair: TunnelledPair = tunnelled_pair(scene=scene)
    with streaming(pair, payload):
        shrink_path(scene, mtu)
    assert pair.listener.counters()["out_fragmentable"] > 0


@pytest.mark.parametrize("end", ["client", "server"])
def test_end_that_does_not_discover_mtus(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
    end: str,
) -> None:
    """net.ipv4.ip_no_pmtu_disc takes whatever a router says for the least there is."""
    scene = lab.pair_routed(laboratory)
    getattr(scene, end).sysctl("net.ipv4.ip_no_pmtu_disc", 1)
    pair: TunnelledPair = tunnelled_pair(scene=scene)
    with streaming(pair, payload):
        shrink_path(scene)
    for tunnel in (pair.endpoint, pair.listener):
        assert tunnel.counters()["gso_fallbacks"] == 0


def test_connection_without_df(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
) -> None:
    """What may be fragmented inside may be outside; it stays segmented where the path allows."""
    scene = lab.pair_routed(laboratory)
    pair: TunnelledPair = tunnelled_pair(scene=scene)
    near, far = pair.connect()
    with near, far:
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _DO_NOT)
        transfer(near, far, payload, SIZE)
        counters = pair.endpoint.counters()
        assert counters["out_fragmentable"] > 0
        assert counters["out_gso_messages"] > 0
        shrink_path(scene)
        for sender, receiver in ((near, far), (far, near)):
            stream = Stream(sender, receiver, payload, SIZE)
            stream.finish()
            assert stream.longest_pause < 5
        # Beside it, another one carries DF and learns of the path.
        transfer(*pair.connect(), payload, SIZE)
    counters = pair.endpoint.counters()
    assert counters["gso_fallbacks"] == 0
    assert counters["icmp_sent"] > 0


def test_claim_about_an_address_that_several_peers_share(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """Behind a NAT one router's claim is everybody's."""
    scene = lab.nated(laboratory, clients_per_nat=(2,))
    scene.internet.tbf("nat0", "100mbit")
    target = scene.server_addresses[0]
    start_server(start_tunnel, scene.server)
    streams = []
    for client in scene.all_clients:
        start_endpoint(start_tunnel, client, target)
        near, far = connect_through_tunnel(client, scene.server, target)
        streams.append(Stream(far, near, payload, SIZE))
        streams[-1].wait_for(1 << 18)
    assert not any(stream.done for stream in streams)
    claim_mtu(scene.internet, (target, SERVER_PORT), (scene.nat_address(0), ENDPOINT_PORT), 0)
    lab.wait_until(lambda: claimed_mtu(scene.server, scene.nat_address(0)) == _LEAST)
    for stream in streams:
        stream.finish()
        assert stream.longest_pause < 5
