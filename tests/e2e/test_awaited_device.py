"""--wait-for-device: the program starts before its WAN device is there."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

import lab
from datagrams import waiting_in_sockets
from streams import Payload, round_trip, transfer
from test_device import plug, unplug
from tunnels import (
    ENDPOINT_PORT,
    SERVER_PORT,
    connect_through_tunnel,
    start_endpoint,
    start_server,
)

OPTION = "--wait-for-device"
WAITS = "waiting for eth0"


def bare_pair(laboratory: lab.Laboratory) -> lab.Pair:
    """The usual pair, without the cable."""
    return lab.Pair(laboratory.host("client"), laboratory.host("server"))


def taken_port(host: lab.Host, port: int = SERVER_PORT) -> socket.socket:
    """The port in the hands of another process."""
    with host.inside():
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        taken.bind(("", port))
    except OSError:
        taken.close()
        raise
    return taken


def is_carried(scene: lab.Pair, payload: Payload) -> None:
    """A connection through the tunnel carries both ways."""
    near, far = connect_through_tunnel(scene.client, scene.server, scene.server_address)
    with near, far:
        round_trip(near, far)
        transfer(near, far, payload, 1 << 20)
        transfer(far, near, payload, 1 << 20)


@pytest.mark.parametrize("threads", [1, 4])
def test_device_comes_later(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
    threads: int,
) -> None:
    """Both ends say that they wait, and hold no port; when it comes they are ready. After that it
    is a device as any, that goes and comes back."""
    scene = bare_pair(laboratory)
    options = (OPTION, "--threads", threads)
    listener = start_server(start_tunnel, scene.server, options=options, says=WAITS)
    endpoint = start_endpoint(
        start_tunnel, scene.client, scene.server_address, says=WAITS,
        options=(*options, *(("--port-per-worker",) if threads > 1 else ())),
    )
    for host, tunnel, port in ((scene.server, listener, SERVER_PORT),
                               (scene.client, endpoint, ENDPOINT_PORT)):
        assert "inet" in host.ip("address", "show", "dev", "tun0")
        assert tunnel.counters()["connections"] == 0
        assert not waiting_in_sockets(host, port)
        assert "ready:" not in tunnel.errors()
    taken_port(scene.server).close()
    laboratory.link(scene.client, "eth0", scene.server, "eth0", 1400)
    for tunnel in (listener, endpoint):
        tunnel.expect("ready:")
    for host in (scene.server, scene.client):
        lab.wait_until(lambda: "mtu 1392" in host.ip("link", "show", "tun0"))
    scene.client.address("eth0", f"{scene.client_address}/24")
    scene.server.address("eth0", f"{scene.server_address}/24")
    assert len(waiting_in_sockets(scene.server, SERVER_PORT)) == threads
    is_carried(scene, payload)
    unplug(laboratory, scene)
    listener.expect("eth0 is gone")
    plug(laboratory, scene)
    listener.expect("sockets bound to it again")
    is_carried(scene, payload)
    for tunnel in (listener, endpoint):
        assert tunnel.errors().count("ready:") == 1
        assert tunnel.errors().count(WAITS) == 1


def test_port_is_taken_when_the_device_comes(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """One line, and the next attempt after the port is free."""
    scene = bare_pair(laboratory)
    listener = start_server(
        start_tunnel, scene.server, options=(OPTION, "--threads", 4), says=WAITS
    )
    endpoint = start_endpoint(
        start_tunnel, scene.client, scene.server_address, options=(OPTION,), says=WAITS
    )
    client = scene.client
    with closing(taken_port(scene.server)), closing(taken_port(client, ENDPOINT_PORT)):
        plug(laboratory, scene)
        for tunnel, port in ((listener, SERVER_PORT), (endpoint, ENDPOINT_PORT)):
            tunnel.expect(f"(port {port}): Address already in use; trying again")
        scene.server.ip("link", "set", "eth0", "down")  # word of a change is no second line
        listener.expect("eth0 is down")
        scene.server.ip("link", "set", "eth0", "up")
        listener.expect("eth0 is up again")
        with client.inside(), socket.socket() as near:
            near.setblocking(False)
            near.connect_ex((scene.server_address, 80))
            lab.wait_until(lambda: endpoint.counters()["discard_out_unreachable"] > 0)
        for tunnel in (listener, endpoint):
            assert "ready:" not in tunnel.errors()
    for tunnel in (listener, endpoint):
        tunnel.expect("ready:")
        assert tunnel.errors().count("trying again") == 1
    is_carried(scene, payload)
    assert endpoint.counters()["gso_fallbacks"] == 0


def test_signals_while_it_waits(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """It is there for them: counters, and a clean end, with packets that found no way."""
    host = laboratory.host("client")
    for signum in (signal.SIGTERM, signal.SIGINT):
        tunnel = start_endpoint(start_tunnel, host, options=(OPTION,), says=WAITS)
        host.route("192.0.2.0/24", "dev", "tun0")
        with host.inside():
            near = socket.socket()
        with near:
            near.setblocking(False)
            near.connect_ex(("192.0.2.2", 80))
            lab.wait_until(lambda: tunnel.counters()["out_packets"] > 0)
        counters = tunnel.counters()
        assert counters["out_segments"] == counters["discard_out_send_error"] == 0
        assert tunnel.stop(signum) == 0
        assert "tun0" not in host.ip("link")


def test_device_is_there_at_once(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """As without the option: ready at once, and a port that is taken is the end."""
    scene = lab.pair(laboratory)
    with closing(taken_port(scene.server)):
        with pytest.raises(RuntimeError, match=f"UDP port {SERVER_PORT} on eth0 is taken"):
            start_server(start_tunnel, scene.server, options=(OPTION,))
    assert "tun0" not in scene.server.ip("link")
    tunnels = [start_server(start_tunnel, scene.server, options=(OPTION,)),
               start_endpoint(start_tunnel, scene.client, scene.server_address, options=(OPTION,))]
    is_carried(scene, payload)
    assert not any("waiting" in tunnel.errors() for tunnel in tunnels)
