"""Endpoint mode: any number of destinations, keepalives to those in use, unsolicited datagrams."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import lab
from datagrams import (
    BareEndpoint,
    BarePeer,
    a_segment,
    make_bare_endpoint,
    same_sequence,
    wait_until_accounted,
)
from reference.packets import Ipv4
from tunnels import CLIENT_TUNNEL, ENDPOINT_PORT, SERVER_PORT, start_endpoint
from wiretap import Wiretap, written_to_tunnel

MORE_ADDRESSES = [f"192.0.2.{last}" for last in range(20, 25)]


def remote_peers(scene: lab.Pair, stack: ExitStack, port: int) -> list[BarePeer]:
    """Remote peers of the client's program at `port`, at addresses of the server's."""
    peers = []
    for address in MORE_ADDRESSES:
        peers.append(
            stack.enter_context(
                BarePeer(scene.server, (scene.client_address, port), SERVER_PORT, address)
            )
        )
    return peers


def test_many_destinations(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    """One process, one socket: each packet goes to its own destination and comes from there."""
    endpoint = bare_endpoint()
    for address in MORE_ADDRESSES:
        endpoint.scene.server.address("eth0", f"{address}/24")
    with ExitStack() as stack:
        for peer in remote_peers(endpoint.scene, stack, ENDPOINT_PORT):
            address = peer.socket.getsockname()[0]
            out, back = a_segment(), a_segment()
            endpoint.tap.send(Ipv4(CLIENT_TUNNEL, address, out).to_bytes())
            assert peer.receive()[4:8] == out[4:8]
            peer.send(back)
            assert endpoint.tap.receive(same_sequence(back)).packet.source == address


def keepalives(peer: BarePeer) -> int:
    """How many empty datagrams wait at this peer; what else waits is thrown away."""
    peer.socket.setblocking(False)
    count = 0
    while True:
        try:
            count += not peer.socket.recv(2048)
        except BlockingIOError:
            return count


def test_keepalives(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Sent to a destination in use that answers, and to which nothing else is sent, until it is in
    use no more."""
    scene = lab.pair(laboratory)
    for address in MORE_ADDRESSES:
        scene.server.address("eth0", f"{address}/24")
    interval, duration = 1, 3
    endpoint = make_bare_endpoint(
        scene, start_tunnel, options=("--keepalive", interval, "--keepalive-for", duration)
    )
    without = start_endpoint(
        start_tunnel, scene.client, interface="tun1", listen_port=ENDPOINT_PORT + 1,
        address="10.66.0.1/24", options=("--keepalive", 0),
    )
    with ExitStack() as stack:
        used_once, busy, never_used, silent, used_without = remote_peers(
            scene, stack, ENDPOINT_PORT
        )
        # The same address as the others, but heard by the program that sends no keepalives.
        used_without.socket.connect((scene.client_address, ENDPOINT_PORT + 1))
        other_tap = stack.enter_context(Wiretap(scene.client, "tun1"))

        def send(tap: Wiretap, source: str, peer: BarePeer) -> None:
            destination = peer.socket.getsockname()[0]
            tap.send(Ipv4(source, destination, a_segment()).to_bytes())

        for peer in (used_once, busy):
            send(endpoint.tap, CLIENT_TUNNEL, peer)
            peer.receive()
            peer.send(a_segment())
        send(endpoint.tap, CLIENT_TUNNEL, silent)
        silent.receive()
        silent.send(b"")  # no answer
        send(other_tap, "10.66.0.1", used_without)
        used_without.receive()
        used_without.send(a_segment())
        send(endpoint.tap, CLIENT_TUNNEL, used_once)
        used_once.receive()
        started = time.monotonic()
        assert used_once.receive() == b""
        assert interval - 0.5 < time.monotonic() - started < interval + 1.5

        send(endpoint.tap, CLIENT_TUNNEL, busy)
        keepalives(busy)

        def in_use_no_more() -> bool:
            send(endpoint.tap, CLIENT_TUNNEL, busy)
            return time.monotonic() > started + duration + interval + 0.5

        lab.wait_until(in_use_no_more, 10)
        # Times are whole seconds: one may come a moment after the turn of a second.
        assert keepalives(busy) <= 1, "although it was in use"
        assert 1 <= keepalives(used_once) <= duration / interval
        time.sleep(2 * interval)  # the time itself is what is tested
        assert keepalives(used_once) == 0, "keepalives keep themselves alive"
        assert 1 <= keepalives(busy) <= 3, "since it has been idle"
        assert keepalives(never_used) == keepalives(silent) == keepalives(used_without) == 0
    assert endpoint.tunnel.counters()["keepalives_sent"] >= 2
    assert without.counters()["keepalives_sent"] == 0


def test_received_keepalives_go_nowhere(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    endpoint = bare_endpoint()
    last = a_segment()
    for payload in (b"", b"", last):
        endpoint.remote.send(payload)
    frame = endpoint.tap.receive(written_to_tunnel)
    assert frame.packet.payload[4:8] == last[4:8]
    assert wait_until_accounted(endpoint.tunnel, 3)["in_keepalives"] == 2


def test_solicited_only(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    """Only who was sent to is heard. For how long: test_idle.py, which has the time."""
    endpoint = bare_endpoint(options=("--solicited-only", "--keepalive", 0))
    early, late = a_segment(), a_segment()
    endpoint.remote.send(early)
    assert wait_until_accounted(endpoint.tunnel, 1)["discard_in_unsolicited"] == 1
    request = Ipv4(CLIENT_TUNNEL, endpoint.scene.server_address, a_segment())
    endpoint.tap.send(request.to_bytes())
    endpoint.remote.receive()
    endpoint.remote.send(late)
    frame = endpoint.tap.receive(written_to_tunnel)
    assert frame.packet.payload[4:8] == late[4:8]
    assert wait_until_accounted(endpoint.tunnel, 2)["discard_in_unsolicited"] == 1
