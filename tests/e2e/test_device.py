"""The WAN device: pulled out and plugged in again, down and up, and how its sockets share work."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

import lab
from datagrams import BareServer, waiting_in_sockets
from streams import Payload, round_trip, transfer
from tunnels import SERVER_PORT, TunnelledPair, halt


Scene = lab.Pair | lab.PairRouted


def unplug(laboratory: lab.Laboratory, scene: Scene) -> None:
    """The device vanishes, on both hosts as they share the cable."""
    scene.client.ip("link", "delete", "eth0")


def plug(laboratory: lab.Laboratory, scene: Scene) -> None:
    """A new one comes with the old name and address."""
    laboratory.link(scene.client, "eth0", scene.server, "eth0")
    scene.client.address("eth0", f"{scene.client_address}/24")
    scene.server.address("eth0", f"{scene.server_address}/24")


def set_down(laboratory: lab.Laboratory, scene: Scene) -> None:
    """The device goes down on both hosts, and its routes go."""
    for host in (scene.client, scene.server):
        host.ip("link", "set", "eth0", "down")


def set_up(laboratory: lab.Laboratory, scene: Scene) -> None:
    """And up again."""
    for host in (scene.client, scene.server):
        host.ip("link", "set", "eth0", "up")


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("interrupt, resume", [(unplug, plug), (set_down, set_up)])
def test_device_goes_and_comes_back(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
    interrupt: Callable[[lab.Laboratory, Scene], None],
    resume: Callable[[lab.Laboratory, Scene], None],
    threads: int,
) -> None:
    """The same connection goes on, again and again, with no program restarted."""
    pair: TunnelledPair = tunnelled_pair(options=("--threads", threads))
    near, far = pair.connect()
    with near, far:
        for _ in range(3):
            round_trip(near, far)
            interrupt(laboratory, pair.scene)
            near.sendall(b"while it was gone")
            resume(laboratory, pair.scene)
            assert far.recv(100) == b"while it was gone"
            transfer(near, far, payload, 1 << 20)
            transfer(far, near, payload, 1 << 20)
        other = pair.connect()
        round_trip(*other)
        for end in other:
            end.close()
    for tunnel in (pair.endpoint, pair.listener):
        counters = tunnel.counters()
        assert counters["gso_fallbacks"] == 0
        assert counters["discard_out_send_error"] == 0


def test_peers_spread_over_the_sockets(
    laboratory: lab.Laboratory, bare_server: Callable[..., BareServer]
) -> None:
    """Each thread has a socket, and each socket its share: also on a device that came back."""
    threads, peers = 4, 64
    server = bare_server(address="10.64.0.1/16", options=("--threads", threads))
    scene, tunnel = server.scene, server.tunnel

    def assert_spread() -> None:
        assert len(waiting_in_sockets(scene.server, SERVER_PORT)) == threads
        before = tunnel.counters()["in_keepalives"]
        halt(tunnel)
        with ExitStack() as stack:
            for _ in range(peers):
                stack.enter_context(server.peer()).send(b"")
            waiting = waiting_in_sockets(scene.server, SERVER_PORT)
        tunnel.signal(signal.SIGCONT)
        assert all(waiting), "a socket got nothing"
        lab.wait_until(lambda: tunnel.counters()["in_keepalives"] == before + peers)

    assert_spread()
    unplug(laboratory, scene)
    plug(laboratory, scene)
    with server.peer() as peer:
        before = tunnel.counters()["in_keepalives"]

        def heard_again() -> bool:
            peer.send(b"")
            return tunnel.counters()["in_keepalives"] > before

        lab.wait_until(heard_again)
    assert_spread()
