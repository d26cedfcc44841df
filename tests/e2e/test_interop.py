"""The program and an independent peer carry real TCP between them, in both modes (rule W7)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import lab
from reference.packets import Kind
from reference.peer import EndpointPeer, Peer, ServerPeer, open_tun
from streams import Payload, connect, round_trip, transfer
from tunnels import (
    CLIENT_CIDR,
    CLIENT_TUNNEL,
    ENDPOINT_PORT,
    POOL,
    SERVER_CIDR,
    SERVER_PORT,
    SERVER_TUNNEL,
    connect_through_tunnel,
    route_tcp_into_tunnel,
    start_endpoint,
    start_server,
)

SIZE = 4 << 20
BOTH_OFFLOADS = pytest.mark.parametrize("offload", ["on", "off"])


def reference_sockets(host: lab.Host, cidr: str, port: int) -> tuple[int, socket.socket]:
    """What a reference peer stands between: a tunnel interface and a UDP socket."""
    with host.inside():
        tun = open_tun("ref0")
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    host.mtu("ref0", 1492)
    host.address("ref0", cidr)
    host.ip("link", "set", "ref0", "up")
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    udp.bind(("", port))
    return tun, udp


@contextmanager
def reference_endpoint(scene: lab.Pair) -> Iterator[Peer]:
    """The reference peer on the client."""
    tun, udp = reference_sockets(scene.client, CLIENT_CIDR, ENDPOINT_PORT)
    route_tcp_into_tunnel(scene.client, scene.server_address, "ref0")
    with EndpointPeer(tun, udp, CLIENT_TUNNEL, SERVER_PORT) as peer:
        yield peer


@contextmanager
def reference_server(scene: lab.Pair) -> Iterator[Peer]:
    """The reference peer on the server."""
    tun, udp = reference_sockets(scene.server, SERVER_CIDR, SERVER_PORT)
    with ServerPeer(tun, udp, SERVER_TUNNEL, str(POOL)) as peer:
        yield peer


def carry(scene: lab.Pair, payload: Payload) -> None:
    """A connection through the tunnel, a little both ways, then much each way."""
    near, far = connect_through_tunnel(scene.client, scene.server, scene.server_address)
    with near, far:
        round_trip(near, far)
        transfer(near, far, payload, SIZE)
        transfer(far, near, payload, SIZE)


def test_the_reference_with_itself(laboratory: lab.Laboratory, payload: Payload) -> None:
    """Without the program: the reference peer is what it claims to be."""
    scene = lab.pair(laboratory)
    with reference_server(scene) as server, reference_endpoint(scene) as endpoint:
        carry(scene, payload)
    assert not server.violations + endpoint.violations


@BOTH_OFFLOADS
def test_reference_endpoint_to_the_programs_server(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
    offload: str,
) -> None:
    scene = lab.pair(laboratory)
    start_server(start_tunnel, scene.server, options=("--offload", offload))
    with reference_endpoint(scene) as peer:
        carry(scene, payload)
    assert not peer.violations
    assert peer.seen[Kind.SEGMENT] > SIZE // 1472


@BOTH_OFFLOADS
def test_the_programs_endpoint_to_reference_server(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
    offload: str,
) -> None:
    scene = lab.pair(laboratory)
    with reference_server(scene) as peer:
        start_endpoint(
            start_tunnel, scene.client, scene.server_address, options=("--offload", offload)
        )
        carry(scene, payload)
        assert list(peer.peers.values()) == [(scene.client_address, ENDPOINT_PORT)]
        assert not peer.violations
        assert peer.seen[Kind.SEGMENT] > SIZE // 1472


def test_a_port_for_each_worker_to_reference_server(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """A server that knows nothing of it: each port is a peer, and each connection stays with one."""
    scene = lab.pair(laboratory)
    with reference_server(scene) as peer:
        start_endpoint(
            start_tunnel, scene.client, scene.server_address,
            options=("--threads", 2, "--port-per-worker"),
        )
        for _ in range(16):
            near, far = connect_through_tunnel(scene.client, scene.server, scene.server_address)
            with near, far:
                transfer(near, far, payload, 64 << 10)
                transfer(far, near, payload, 64 << 10)
        assert set(peer.peers.values()) == {
            (scene.client_address, ENDPOINT_PORT), (scene.client_address, ENDPOINT_PORT + 1)
        }
        assert not peer.violations


def test_the_server_calls_the_client(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Once a peer has an address, connections to it work as well as from it."""
    scene = lab.pair(laboratory)
    start_server(start_tunnel, scene.server)
    with reference_endpoint(scene) as peer:
        near, far = connect_through_tunnel(scene.client, scene.server, scene.server_address)
        tunnel_address = far.getpeername()[0]
        near.close()
        far.close()
        caller, called = connect(scene.server, scene.client, tunnel_address)
        with caller, called:
            assert called.getsockname()[0] == CLIENT_TUNNEL
            assert called.getpeername()[0] == scene.server_address
            round_trip(caller, called)
    assert not peer.violations
