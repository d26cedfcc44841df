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


# ---- the WAN -----------------------------------------------------------------------------------


def test_wan_is_down(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair]
) -> None:
    """Said once, whatever else changes meanwhile."""
    pair = tunnelled_pair()
    with connection(pair) as (near, far):
        set_down(laboratory, pair.scene)
        pair.listener.expect("eth0 is down")
        pair.server.address("tun0", OTHER_CIDR)
        pair.server.mtu("eth0", 1400)
        lab.wait_until(lambda: "mtu 1392" in pair.server.ip("link", "show", "tun0"))
        set_up(laboratory, pair.scene)
        pair.listener.expect("eth0 is up again")
        goes_on(near, far)
    assert pair.listener.errors().count("is down") == 1


def test_wan_loses_its_carrier(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """The other end of the cable is down; routes and addresses stay at this one."""
    pair = tunnelled_pair()
    with connection(pair) as (near, far):
        pair.server.ip("link", "set", "eth0", "down")
        pair.endpoint.expect("eth0 has no carrier")
        pair.server.ip("link", "set", "eth0", "up")
        pair.endpoint.expect("eth0 has its carrier again")
        goes_on(near, far)


def test_wan_is_down_at_the_start(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """The program starts, and says why nothing passes."""
    scene = lab.pair(laboratory)
    scene.client.ip("link", "set", "eth0", "down")
    assert "eth0 is down" in start_endpoint(start_tunnel, scene.client).errors()
    assert "eth0 has no carrier" in start_server(start_tunnel, scene.server).errors()


def test_wan_becomes_a_bridge_port(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """The bridge takes what arrives until it is told not to; the sockets stay the same."""
    pair = tunnelled_pair()
    host, tunnel = pair.server, pair.listener
    with connection(pair) as (near, far):
        host.ip("link", "add", "br0", "type", "bridge")
        host.ip("link", "set", "br0", "up")
        host.ip("link", "set", "eth0", "master", "br0")
        tunnel.expect("eth0 is a port of bridge br0")
        assert "ip link set eth0 nomaster" in tunnel.errors()
        assert "--bind-to-interface br0" in tunnel.errors()
        before = tunnel.counters()["in_segments"], pair.endpoint.counters()["out_segments"]
        near.sendall(b"to the bridge")
        lab.wait_until(lambda: pair.endpoint.counters()["out_segments"] > before[1])
        assert tunnel.counters()["in_segments"] == before[0]
        host.ip("link", "set", "eth0", "nomaster")
        tunnel.expect("eth0 is free of bridge br0 again")
        assert far.recv(100) == b"to the bridge"
        goes_on(near, far)
    assert "sockets bound to it again" not in tunnel.errors()


@pytest.mark.parametrize("keeps_index", [True, False])
def test_wan_visits_another_namespace(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    keeps_index: bool,
) -> None:
    """It comes back as the device that the sockets are bound to, or as another one."""
    pair = tunnelled_pair()
    host, tunnel = pair.server, pair.listener
    index = ifindex(host, "eth0")
    away = laboratory.host("away")
    if not keeps_index:
        away.ip("link", "add", "index", index, "name", "other", "type", "bridge")
    with connection(pair) as (near, far):
        host.ip("link", "set", "eth0", "netns", away.netns)
        tunnel.expect("eth0 is gone")
        away.ip("link", "set", "eth0", "netns", host.netns)
        assert (ifindex(host, "eth0") == index) == keeps_index
        host.ip("link", "set", "eth0", "up")
        host.address("eth0", f"{pair.scene.server_address}/24")
        goes_on(near, far)
    assert ("sockets bound to it again" in tunnel.errors()) != keeps_index


def test_another_device_takes_the_name(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """The name counts: the new one carries, while the former one is there as well."""
    pair = tunnelled_pair()
    client, server = pair.client, pair.server
    with connection(pair) as (near, far):
        pair.scene.server.laboratory.link(client, "new", server, "new")
        for host, address in (
            (client, pair.scene.client_address), (server, pair.scene.server_address)
        ):
            host.ip("link", "set", "eth0", "down")
            host.ip("address", "flush", "dev", "eth0")
            host.ip("link", "set", "eth0", "name", "old")
        for tunnel in (pair.endpoint, pair.listener):
            tunnel.expect("eth0 is gone")
        for host, address in (
            (client, pair.scene.client_address), (server, pair.scene.server_address)
        ):
            host.ip("link", "set", "new", "down")
            host.ip("link", "set", "new", "name", "eth0")
            host.ip("link", "set", "eth0", "up")
            host.address("eth0", f"{address}/24")
        goes_on(near, far)


# ---- the tunnel interface ----------------------------------------------------------------------


def test_tunnel_interface_is_renamed(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """It is followed under its new name: its MTU, its address, its end."""
    pair = tunnelled_pair()
    host, tunnel = pair.server, pair.listener
    with connection(pair) as (near, far):
        host.ip("link", "set", "tun0", "down")  # older kernels rename no other
        host.ip("link", "set", "tun0", "name", "tun7")
        host.ip("link", "set", "tun7", "up")
        tunnel.expect("tun0 is called tun7")
        goes_on(near, far)
        host.mtu("eth0", 1400)
        lab.wait_until(lambda: "mtu 1392" in host.ip("link", "show", "tun7"))
        host.address("tun7", "172.30.0.1/24")
        host.ip("address", "delete", SERVER_CIDR, "dev", "tun7")
        tunnel.expect("tun7 has address 172.30.0.1")
        host.address("tun7", SERVER_CIDR)
        host.ip("address", "delete", "172.30.0.1/24", "dev", "tun7")
        tunnel.expect("tun7 has address 10.64.0.1")
    assert tunnel.stop() == 0
    assert "tun7" not in host.ip("link")


def test_what_is_undone_has_the_new_name(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """An interface made beforehand gets back what was changed."""
    host = lab.pair(laboratory).server
    host.ip("tuntap", "add", "mode", "tun", "multi_queue", "name", "tun0")
    tunnel = start_server(start_tunnel, host)
    host.ip("link", "set", "tun0", "down")
    host.ip("link", "set", "tun0", "name", "tun7")
    tunnel.expect("tun0 is called tun7")
    assert tunnel.stop() == 0
    assert "inet" not in host.ip("address", "show", "dev", "tun7")


def test_tunnel_interface_moves_away(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair]
) -> None:
    """To another namespace: that is an end, as when it is deleted."""
    pair = tunnelled_pair()
    away = laboratory.host("away")
    pair.server.ip("link", "set", "tun0", "netns", away.netns)
    assert pair.listener.wait(5) == 1
    assert "moved to another namespace" in pair.listener.errors()
    assert "tun0" not in away.ip("link")
