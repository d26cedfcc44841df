"""What befalls the WAN and the tunnel interface while a connection is under way: errors of the
kernel just when something changes, another master, another name, another namespace. Each is said
when it begins and when it ends, and the same connection goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import lab
from streams import round_trip
from test_device import plug, set_down, set_up, unplug
from tunnels import SERVER_CIDR, TunnelledPair, start_endpoint, start_server

OTHER_CIDR = "10.64.0.9/24"


@contextmanager
def connection(pair: TunnelledPair) -> Iterator[tuple[socket.socket, socket.socket]]:
    """One that works when it begins."""
    near, far = pair.connect()
    with near, far:
        round_trip(near, far)
        yield near, far


def goes_on(near: socket.socket, far: socket.socket) -> None:
    """What was sent in between arrives, and more goes both ways."""
    near.sendall(b"meanwhile")
    assert far.recv(100) == b"meanwhile"
    round_trip(near, far)


def ifindex(host: lab.Host, device: str) -> int:
    (link,) = json.loads(host.ip("-json", "link", "show", device))
    return link["ifindex"]


# ---- errors of the kernel ----------------------------------------------------------------------


class Fault:
    """Requests of a program to its kernel fail from begin() to end() (tests/interpose/netlink.c);
    the end is when a person was told that they do."""

    def __init__(self, laboratory: lab.Laboratory, kind: str) -> None:
        self.path = laboratory.new_file("netlink-fault")
        self._kind = kind

    def begin(self) -> None:
        self.path.write_text(self._kind)

    def end(self, tunnel: lab.Tunnel) -> None:
        tunnel.expect("trying again until it works")
        self.path.unlink()


@pytest.fixture
def faulty_pair(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> Callable[[str], tuple[TunnelledPair, Fault]]:
    """Make the usual pair, and a fault of this kind for the server's program."""

    def make(kind: str) -> tuple[TunnelledPair, Fault]:
        fault = Fault(laboratory, kind)
        scene = lab.pair(laboratory)
        listener = start_server(
            start_tunnel, scene.server, interpose=["netlink"], env={"NETLINK_FAULT": fault.path}
        )
        endpoint = start_endpoint(start_tunnel, scene.client, scene.server_address)
        return TunnelledPair(scene, endpoint, listener), fault

    return make


@pytest.mark.parametrize("kind", ["sendto", "recvmsg"])
def test_errors_while_the_device_comes_back(
    laboratory: lab.Laboratory,
    faulty_pair: Callable[[str], tuple[TunnelledPair, Fault]],
    kind: str,
) -> None:
    """Nothing else happens to the device afterwards; the program finds it by itself."""
    pair, fault = faulty_pair(kind)
    with connection(pair) as (near, far):
        unplug(laboratory, pair.scene)
        pair.listener.expect("eth0 is gone")
        fault.begin()
        plug(laboratory, pair.scene)
        fault.end(pair.listener)
        goes_on(near, far)
        errors = pair.listener.errors()
        assert errors.count("trying again") == 1
        assert errors.count("can be read and changed again") == 1


@pytest.mark.parametrize("kind", ["interrupted", "overrun", "silence"])
def test_errors_while_the_address_changes(
    faulty_pair: Callable[[str], tuple[TunnelledPair, Fault]], kind: str
) -> None:
    """A list of addresses that is not whole, or never comes, is asked for again."""
    pair, fault = faulty_pair(kind)
    with connection(pair) as (near, far):
        pair.server.ip("address", "delete", SERVER_CIDR, "dev", "tun0")
        pair.listener.expect("has no IPv4 address")
        fault.begin()
        pair.server.address("tun0", SERVER_CIDR)
        fault.end(pair.listener)
        goes_on(near, far)


def test_route_to_the_pool_cannot_be_added(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """It is, as soon as it can."""
    host, fault = lab.pair(laboratory).server, Fault(laboratory, "newroute")
    fault.begin()
    tunnel = start_server(
        start_tunnel, host, options=["--peer-pool", "10.99.0.0/24"],
        interpose=["netlink"], env={"NETLINK_FAULT": fault.path},
    )
    fault.end(tunnel)
    lab.wait_until(lambda: "10.99.0.0/24 dev tun0" in host.ip("route"))


def test_mtu_cannot_be_set(
    faulty_pair: Callable[[str], tuple[TunnelledPair, Fault]],
) -> None:
    """It follows the WAN's as soon as it can."""
    pair, fault = faulty_pair("newlink")
    fault.begin()
    pair.server.mtu("eth0", 1400)
    fault.end(pair.listener)
    lab.wait_until(lambda: "mtu 1392" in pair.server.ip("link", "show", "tun0"))


def test_no_memory_for_the_pool(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """There is a pool for the new address as soon as there is memory."""
    host, fault = lab.pair(laboratory).server, Fault(laboratory, "")
    tunnel = start_server(
        start_tunnel, host, interpose=["lazy_memory"], env={"LAZY_MEMORY_FAULT": fault.path}
    )
    fault.begin()
    host.ip("address", "delete", SERVER_CIDR, "dev", "tun0")
    host.address("tun0", "172.30.0.1/24")
    fault.end(tunnel)
    tunnel.expect("tunnel addresses come from 172.30.0.0/24")
