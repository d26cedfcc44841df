"""From which address an endpoint sends (T5): the WAN's own or one that the route names, and nothing
at all while there is none; never another interface's, which would make the router a stranger. And
destinations that no route leads to."""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import lab
from datagrams import a_segment
from reference.packets import Ipv4
from streams import Payload, Stream, round_trip, transfer
from tunnels import (
    CLIENT_TUNNEL,
    ENDPOINT_PORT,
    SERVER_PORT,
    connect_through_tunnel,
    make_tunnelled_pair,
    start_endpoint,
)
from wiretap import Wiretap

GATEWAY = "192.0.2.254"
# Of another interface of the client: what its kernel chooses where the WAN has no address.
STRANGER = "172.16.0.1"
# That a route can name.
LOOPBACK = "203.0.113.9"
MISSING = "eth0 has no address to send from"


def make_scene(laboratory: lab.Laboratory) -> lab.PairRouted:
    """A client whose WAN is eth0, with a second interface; all that leaves eth0 finds its way, from
    whichever of its addresses, and answers do."""
    scene = lab.pair_routed(laboratory)
    laboratory.link(scene.client, "lan", laboratory.host("home"), "eth0")
    scene.client.address("lan", f"{STRANGER}/24")
    # A destination that the kernel takes to be on the link is found there.
    scene.middle.sysctl("net.ipv4.conf.all.proxy_arp", 1)
    route_back(scene)
    return scene


def route_back(scene: lab.PairRouted, device: str = "eth0") -> None:
    """What is for any address of the client."""
    for address in (STRANGER, LOOPBACK):
        scene.middle.route(f"{address}/32", "dev", device)


def give_address(scene: lab.PairRouted) -> None:
    """What a DHCP client does."""
    scene.client.address("eth0", f"{scene.client_address}/24")
    scene.client.route("default", "via", GATEWAY, "dev", "eth0")


def unplug(laboratory: lab.Laboratory, scene: lab.PairRouted) -> None:
    """The modem is pulled out and plugged in again: a new device, without an address."""
    scene.client.ip("link", "delete", "eth0")
    laboratory.link(scene.client, "eth0", scene.middle, "eth0")
    scene.middle.address("eth0", f"{GATEWAY}/24")
    route_back(scene)


def flush(laboratory: lab.Laboratory, scene: lab.PairRouted) -> None:
    """The lease is lost."""
    scene.client.ip("address", "flush", "dev", "eth0")


def lines_with(tunnel: lab.Tunnel, text: str) -> list[str]:
    return [line for line in tunnel.errors().splitlines() if text in line]


def peers_of(listener: lab.Tunnel) -> set[str]:
    """The addresses that datagrams came from, from the log of a server with --log-peers."""
    return set(re.findall(r"peer ([\d.]+):\d+ came", listener.errors()))


@pytest.mark.parametrize("lose, seconds", [(unplug, 1.5), (flush, 3)])
def test_address_is_away_for_a_while(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
    lose: Callable[[lab.Laboratory, lab.PairRouted], None],
    seconds: float,
) -> None:
    """The server never sees another source, and an upload goes on. A keepalive is due, too."""
    scene = make_scene(laboratory)
    pair = make_tunnelled_pair(
        scene, start_tunnel, server_options=("--log-peers",), endpoint_options=("--keepalive", 1)
    )
    near, far = pair.connect()
    with near, far:
        round_trip(near, far)
        stream = Stream(near, far, payload, 256 << 20)
        stream.wait_for(1 << 20)
        lose(laboratory, scene)
        time.sleep(seconds)
        keepalives = pair.endpoint.counters()["keepalives_sent"]
        give_address(scene)
        assert peers_of(pair.listener) == {scene.client_address}
        stream.finish()
    assert pair.listener.counters()["connections_made"] == 1
    assert scene.client.counter("TcpOutRsts") == scene.server.counter("TcpOutRsts") == 0
    counters = pair.endpoint.counters()
    assert counters["discard_out_no_source"] > 0
    assert counters["discard_out_send_error"] == counters["gso_fallbacks"] == 0
    assert keepalives <= 1, "before the address was lost"
    assert len(lines_with(pair.endpoint, MISSING)) == 1
    assert "DHCP" in lines_with(pair.endpoint, MISSING)[0]
    assert len(lines_with(pair.endpoint, "eth0 sends from")) == 1


def test_keepalives_wait_for_an_address(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """With nothing else to send: none leaves from elsewhere, and the next one as soon as can be."""
    scene = make_scene(laboratory)
    pair = make_tunnelled_pair(
        scene, start_tunnel, server_options=("--log-peers",), endpoint_options=("--keepalive", 1)
    )
    near, far = pair.connect()
    with near, far:
        lab.wait_until(lambda: pair.listener.counters()["in_keepalives"] > 0)
        flush(laboratory, scene)
        time.sleep(0.1)
        sent = pair.endpoint.counters()["keepalives_sent"]
        time.sleep(2.5)
        assert pair.endpoint.counters()["keepalives_sent"] == sent
        give_address(scene)
        lab.wait_until(lambda: pair.endpoint.counters()["keepalives_sent"] > sent, 3)
        round_trip(near, far)
    assert peers_of(pair.listener) == {scene.client_address}


def test_renewed_lease_is_no_news(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """A client that takes the address away and gives it back in a moment; another address is."""
    scene = make_scene(laboratory)
    pair = make_tunnelled_pair(scene, start_tunnel)
    near, far = pair.connect()
    with near, far:
        for _ in range(3):
            flush(laboratory, scene)
            give_address(scene)
            round_trip(near, far)
        flush(laboratory, scene)
        scene.client.address("eth0", "192.0.2.5/24")
        scene.client.route("default", "via", GATEWAY, "dev", "eth0")
        pair.endpoint.expect("eth0 sends from 192.0.2.5")
    assert not lines_with(pair.endpoint, MISSING)
    assert len(lines_with(pair.endpoint, "sends from")) == 1


def test_never_an_address(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Nothing is on the wire, one warning, and TCP waits: it is not refused."""
    scene = make_scene(laboratory)
    flush(laboratory, scene)
    tunnel = start_endpoint(start_tunnel, scene.client, scene.server_address)
    with Wiretap(scene.client, "eth0") as cable:
        with scene.client.inside():
            near = socket.socket()
        with near:
            near.settimeout(1.5)
            with pytest.raises(TimeoutError):
                near.connect((scene.server_address, 80))
        with pytest.raises(TimeoutError):
            cable.receive(lambda frame: frame.packet.protocol == socket.IPPROTO_UDP, 0.1)
    counters = tunnel.counters()
    assert counters["discard_out_no_source"] >= 2, "the SYN and its repetition"
    assert counters["icmp_sent"] == counters["discard_out_unreachable"] == 0
    assert len(lines_with(tunnel, MISSING)) == 1


def test_address_that_the_route_has_to_name(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """An address on `lo` that the kernel would choose: not of its own accord, but as soon as the
    command of the log was run."""
    scene = make_scene(laboratory)
    flush(laboratory, scene)
    scene.client.ip("address", "delete", f"{STRANGER}/24", "dev", "lan")
    scene.client.address("lo", f"{LOOPBACK}/32")
    scene.client.route("default", "via", GATEWAY, "dev", "eth0", "onlink", "metric", 7)
    pair = make_tunnelled_pair(scene, start_tunnel, server_options=("--log-peers",))
    pair.endpoint.expect(MISSING)
    line = lines_with(pair.endpoint, MISSING)[0]
    assert f"from {LOOPBACK}, an address of lo" in line
    command = line[line.index("ip route change"):].split()
    assert not peers_of(pair.listener)
    scene.client.run(*command)
    pair.endpoint.expect(f"eth0 sends from {LOOPBACK}", 1)
    near, far = pair.connect()
    with near, far:
        transfer(near, far, payload, 8 << 20)
        transfer(far, near, payload, 8 << 20)
    assert peers_of(pair.listener) == {LOOPBACK}
    assert pair.endpoint.counters()["discard_out_no_source"] == 0


def test_address_that_the_route_names(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """It may stand anywhere, and only some destinations' route may name it."""
    scene = make_scene(laboratory)
    flush(laboratory, scene)
    scene.client.address("lo", f"{LOOPBACK}/32")
    scene.client.route(
        "198.51.100.0/24", "via", GATEWAY, "dev", "eth0", "onlink", "src", LOOPBACK
    )
    pair = make_tunnelled_pair(scene, start_tunnel, server_options=("--log-peers",))
    near, far = pair.connect()
    with near, far:
        transfer(near, far, payload, 8 << 20)
        # The path takes less from now on: what tells so finds its way to the program.
        scene.middle.mtu("eth1", 1400)
        scene.server.mtu("eth0", 1400)
        transfer(near, far, payload, 8 << 20)
        time.sleep(0.5)  # a warning would have come
    assert peers_of(pair.listener) == {LOOPBACK}
    assert not lines_with(pair.endpoint, "has no address")
    assert pair.endpoint.counters()["discard_out_no_source"] == 0


def from_address(remote: socket.socket, tap: Wiretap, destination: str) -> str:
    """Send a segment to a remote socket and return the address that it comes from."""
    segment = a_segment()
    tap.send(Ipv4(CLIENT_TUNNEL, destination, segment).to_bytes())
    received, (address, port) = remote.recvfrom(1 << 16)
    assert received[4:8] == segment[4:8] and port == ENDPOINT_PORT
    return address


@pytest.fixture
def bare_remote(
    laboratory: lab.Laboratory,
) -> Iterator[tuple[lab.PairRouted, socket.socket]]:
    """The scene, and a UDP socket on its server that takes what comes from anywhere. The client's
    WAN has several addresses."""
    scene = make_scene(laboratory)
    for n in (77, 88):
        scene.client.address("eth0", f"192.0.2.{n}/24")
    with scene.server.inside():
        remote = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with remote:
        remote.settimeout(5)
        remote.bind((scene.server_address, SERVER_PORT))
        yield scene, remote


def test_marked_datagrams_follow_their_rule(
    bare_remote: tuple[lab.PairRouted, socket.socket], start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    scene, remote = bare_remote
    scene.client.route("default", "via", GATEWAY, "src", "192.0.2.77", "table", 77)
    scene.client.rule("fwmark", 7, "lookup", 77)
    tunnel = start_endpoint(start_tunnel, scene.client, options=("--fwmark", 7))
    with Wiretap(scene.client, tunnel.interface) as tap:
        for _ in range(2):  # before the destination was asked for, and after
            assert from_address(remote, tap, scene.server_address) == "192.0.2.77"
            time.sleep(0.1)


def test_destination_with_a_route_of_its_own(
    bare_remote: tuple[lab.PairRouted, socket.socket], start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Its source is used once the destination was asked for, and another one once that changed."""
    scene, remote = bare_remote
    route = (f"{scene.server_address}/32", "via", GATEWAY, "dev", "eth0")
    scene.client.route(*route, "src", "192.0.2.77")
    tunnel = start_endpoint(start_tunnel, scene.client)

    with Wiretap(scene.client, tunnel.interface) as tap:
        def leaves_from(address: str) -> bool:
            return from_address(remote, tap, scene.server_address) == address

        lab.wait_until(lambda: leaves_from("192.0.2.77"), 1)
        scene.client.ip("route", "change", *route, "src", "192.0.2.88")
        lab.wait_until(lambda: leaves_from("192.0.2.88"), 1)
        scene.client.ip("route", "delete", *route)
        lab.wait_until(lambda: leaves_from(scene.client_address), 1)
    assert not lines_with(tunnel, "has no address")


def test_destination_that_has_none(
    bare_remote: tuple[lab.PairRouted, socket.socket], start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Others go on; its line names it, and there is one when it ends."""
    scene, remote = bare_remote
    flush(scene.client.laboratory, scene)
    scene.client.address("lo", f"{LOOPBACK}/32")
    scene.client.route("default", "via", GATEWAY, "dev", "eth0", "onlink", "src", LOOPBACK)
    scene.client.route("198.51.100.77/32", "via", GATEWAY, "dev", "eth0", "onlink")
    tunnel = start_endpoint(start_tunnel, scene.client)
    with Wiretap(scene.client, tunnel.interface) as tap:
        assert from_address(remote, tap, scene.server_address) == LOOPBACK
        tap.send(Ipv4(CLIENT_TUNNEL, "198.51.100.77", a_segment()).to_bytes())
        tunnel.expect("eth0 has no address from which to send to 198.51.100.77")
        before = tunnel.counters()["discard_out_no_source"]
        tap.send(Ipv4(CLIENT_TUNNEL, "198.51.100.77", a_segment()).to_bytes())
        lab.wait_until(lambda: tunnel.counters()["discard_out_no_source"] == before + 1)
        assert from_address(remote, tap, scene.server_address) == LOOPBACK
        line = lines_with(tunnel, "no address from which to send")[0]
        scene.client.run(*line[line.index("ip route change"):].split())
        tunnel.expect("eth0 has an address to send from to every destination", 1)


@pytest.mark.parametrize("route", [
    ("default", "via", "172.16.0.2", "dev", "lan"),
    ("unreachable", "default"),
])
def test_destination_without_a_route(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], route: tuple[str, ...]
) -> None:
    """The default route is another WAN's, so that the kernel looks for it on this one's link, or
    refuses it; others go on. A line names it, and another one says when it has a route."""
    scene = make_scene(laboratory)
    scene.client.ip("route", "delete", "default")
    scene.client.route(*route)
    tunnel = start_endpoint(start_tunnel, scene.client)
    with Wiretap(scene.client, tunnel.interface) as tap:
        for destination in (GATEWAY, "198.51.100.77"):
            tap.send(Ipv4(CLIENT_TUNNEL, destination, a_segment()).to_bytes())
        tunnel.expect("warning: eth0 has no route to 198.51.100.77")
        scene.client.route("198.51.100.0/24", "via", GATEWAY, "dev", "eth0")
        tunnel.expect("eth0 has a route to every destination again")
    assert len(lines_with(tunnel, "has no route")) == 1


def test_route_is_renewed(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Deleted and made anew, as DHCP clients do: nobody's concern."""
    scene = make_scene(laboratory)
    tunnel = start_endpoint(start_tunnel, scene.client)
    with Wiretap(scene.client, tunnel.interface) as tap:
        tap.send(Ipv4(CLIENT_TUNNEL, scene.server_address, a_segment()).to_bytes())
        lab.wait_until(lambda: tunnel.counters()["out_segments"] == 1)
        default = ("default", "via", GATEWAY, "dev", "eth0")
        lines = [f"route {what} {' '.join(default)}" for what in ("delete", "add")] * 20
        scene.client.run("ip", "-batch", "-", input="\n".join(lines) + "\n")
        time.sleep(0.6)  # a warning would have come
    assert not lines_with(tunnel, "route")


_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 1, 0x1000


def _open_tun(host: lab.Host, name: str) -> int:
    with host.inside():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    host.ip("link", "set", name, "up")
    return fd


@contextmanager
def raw_ip_link(a: lab.Host, b: lab.Host, name: str) -> Iterator[None]:
    """A cable that carries IP packets and nothing else, as a modem's device does: no neighbours, no
    link layer."""
    ends = [_open_tun(a, name), _open_tun(b, name)]
    wake, woken = os.pipe()

    def pump() -> None:
        while True:
            readable, _, _ = select.select([*ends, wake], [], [])
            if wake in readable:
                return
            for end in readable:
                try:
                    os.write(ends[1 - ends.index(end)], os.read(end, 1 << 16))
                except OSError:
                    pass  # a device that is down, or full

    thread = threading.Thread(target=pump)
    thread.start()
    try:
        yield
    finally:
        os.write(woken, b"x")
        thread.join()
        for fd in (*ends, wake, woken):
            os.close(fd)


def test_point_to_point(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """PPP and raw IP: an address with a peer, a default route without a gateway; the address goes
    and comes, the route is there before it."""
    scene = make_scene(laboratory)
    flush(laboratory, scene)
    with raw_ip_link(scene.client, scene.middle, "ppp0"):
        def lease() -> None:
            scene.client.ip("address", "add", "192.0.2.33", "peer", "192.0.2.34", "dev", "ppp0")

        scene.client.route("default", "dev", "ppp0")
        scene.middle.route("192.0.2.33/32", "dev", "ppp0")
        for address in (STRANGER, LOOPBACK):
            scene.middle.ip("route", "replace", f"{address}/32", "dev", "ppp0")
        lease()
        pair = make_tunnelled_pair(
            scene, lambda host, **arguments: start_tunnel(host, **{
                **arguments, "device": "ppp0" if host is scene.client else "eth0"}),
            server_options=("--log-peers",),
        )
        near, far = connect_through_tunnel(scene.client, scene.server, scene.server_address)
        with near, far:
            round_trip(near, far)
            scene.client.ip("address", "flush", "dev", "ppp0")
            scene.client.ip("route", "replace", "default", "dev", "ppp0")
            near.sendall(b"while it was away")
            time.sleep(0.5)
            assert peers_of(pair.listener) == {"192.0.2.33"}
            lease()
            assert far.recv(100) == b"while it was away"
            transfer(near, far, payload, 1 << 20)
        assert not lines_with(pair.endpoint, "no route")
        line = lines_with(pair.endpoint, "no address to send from")[-1]
        assert f"{STRANGER}, an address of lan: ip route change default dev ppp0 src" in line
        assert peers_of(pair.listener) == {"192.0.2.33"}
        assert scene.client.counter("TcpOutRsts") == scene.server.counter("TcpOutRsts") == 0
        assert pair.endpoint.counters()["discard_out_no_source"] > 0
        pair.endpoint.stop()


def test_look_that_fails_is_repeated(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """For a passing reason: no other word of a change is needed."""
    scene = make_scene(laboratory)
    failing = laboratory.new_file("failing")
    pair = make_tunnelled_pair(
        scene, lambda host, **arguments: start_tunnel(
            host, interpose=("netlink_sockets",), env={"INTERPOSE_NETLINK_SOCKETS": failing},
            **arguments),
    )
    flush(laboratory, scene)
    pair.endpoint.expect(MISSING)
    failing.touch()
    give_address(scene)
    time.sleep(0.3)
    failing.unlink()
    pair.endpoint.expect(f"eth0 sends from {scene.client_address}", 2)
    near, far = pair.connect()
    with near, far:
        round_trip(near, far)


def test_routes_that_keep_changing(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """A full table that flaps takes a small part of the processor at most, and is not in the way of
    an address that comes back."""
    scene = make_scene(laboratory)
    pair = make_tunnelled_pair(scene, start_tunnel)
    near, far = pair.connect()
    routes = [f"10.{n // 250}.{n % 250}.0/24 via {STRANGER.rpartition('.')[0]}.2 dev lan"
              for n in range(5000)]
    flap = "".join(f"route {verb} {route}\n" for verb in ("add", "del") for route in routes)
    with near, far:
        flapping = [True]

        def flap_on() -> None:
            while flapping[0]:
                scene.client.run("ip", "-batch", "-", input=flap)

        thread = threading.Thread(target=flap_on)
        thread.start()
        try:
            busy, began = sum(pair.endpoint.cpu_seconds()), time.monotonic()
            time.sleep(2)
            share = (sum(pair.endpoint.cpu_seconds()) - busy) / (time.monotonic() - began)
            flush(laboratory, scene)
            pair.endpoint.expect(MISSING)
            give_address(scene)
            pair.endpoint.expect(f"eth0 sends from {scene.client_address}", 1)
            round_trip(near, far)
        finally:
            flapping[0] = False
            thread.join()
    print(f"share of a processor: {share:.3f}")
    assert share < 0.2
