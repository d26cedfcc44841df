"""The tunnel interface: its address as it is now, one made beforehand, one that vanishes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable

import lab
import pytest
from datagrams import BareEndpoint, BareServer, a_segment, same_sequence, wait_until_accounted
from queues import MULTI_QUEUE, NO_PI, TUN, VNET_HEADER, held_queue
from reference.packets import Ipv4
from streams import round_trip
from tunnels import (
    CLIENT_CIDR,
    SERVER_CIDR,
    SERVER_TUNNEL,
    TunnelledPair,
    connect_through_tunnel,
    route_tcp_into_tunnel,
    start_endpoint,
    start_server,
)

# Between a change and the program's hearing of it.
NOTICE_SECONDS = 0.1


def destination_of_the_next(server: BareServer) -> str:
    """To which address the program writes a segment that comes now."""
    segment = a_segment()
    with server.peer(port=7000) as peer:
        peer.send(segment)
        return server.tap.receive(same_sequence(segment)).packet.destination


def test_address_changes(bare_server: Callable[..., BareServer]) -> None:
    """The next packet has the new one; entries stay, because the subnet is the same."""
    server = bare_server()
    host = server.scene.server
    assert destination_of_the_next(server) == SERVER_TUNNEL
    for old, new in (("10.64.0.1", "10.64.0.9"), ("10.64.0.9", "10.64.0.250")):
        host.ip("address", "delete", f"{old}/24", "dev", "tun0")
        host.address("tun0", f"{new}/24")
        changed = time.monotonic()
        while (found := destination_of_the_next(server)) != new:
            assert found == old and time.monotonic() < changed + NOTICE_SECONDS
        assert destination_of_the_next(server) == new
    counters = server.tunnel.counters()
    assert counters["connections_made"] == 1
    assert counters["connections_dropped"] == 0


def test_first_address_counts(bare_server: Callable[..., BareServer]) -> None:
    server = bare_server()
    server.scene.server.address("tun0", "10.64.0.2/24")
    server.scene.server.address("tun0", "172.30.0.1/24")
    assert destination_of_the_next(server) == SERVER_TUNNEL
    time.sleep(NOTICE_SECONDS)
    assert destination_of_the_next(server) == SERVER_TUNNEL


def test_subnet_changes(bare_server: Callable[..., BareServer]) -> None:
    """Entries outside the new one are dropped and logged; their peers get addresses in it."""
    server = bare_server()
    host = server.scene.server
    with server.peer() as peer:
        old = server.introduce(peer)
        host.ip("address", "delete", SERVER_CIDR, "dev", "tun0")
        host.address("tun0", "172.30.0.1/24")
        lab.wait_until(lambda: server.tunnel.counters()["connections_dropped"] == 1)
        assert server.tunnel.counters()["connections"] == 0
        assert "dropped" in server.tunnel.errors()
        new = server.introduce(peer)
        assert old.startswith("10.64.0.") and new.startswith("172.30.0.")
        segment = a_segment()
        server.tap.send(Ipv4("172.30.0.1", new, segment).to_bytes())
        assert peer.receive()[4:8] == segment[4:8]


def test_no_address_yet(bare_server: Callable[..., BareServer]) -> None:
    """Everything is discarded and counted, both ways, until there is one."""
    server = bare_server(address=None)
    host = server.scene.server
    for said in ("tun0 is down", "tun0 has no IPv4 address"):
        server.tunnel.expect(f"warning: {said}")
    host.ip("link", "set", "tun0", "up")
    with server.peer() as peer:
        for _ in range(3):
            peer.send(a_segment())
        counters = wait_until_accounted(server.tunnel, 3)
        assert counters["discard_in_no_address"] == 3
        assert counters["connections_made"] == 0
        server.tap.send(Ipv4("192.0.2.2", "10.64.0.5", a_segment()).to_bytes())
        lab.wait_until(lambda: server.tunnel.counters()["discard_out_no_address"] == 1)
        host.address("tun0", SERVER_CIDR)
        lab.wait_until(lambda: SERVER_TUNNEL in server.tunnel.errors())
        assert server.introduce(peer).startswith("10.64.0.")


def test_address_goes_and_comes(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """As when a lease is renewed by a careless client: the connection survives."""
    pair: TunnelledPair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        round_trip(near, far)
        pair.server.ip("address", "delete", SERVER_CIDR, "dev", "tun0")
        near.sendall(b"into the void")
        lab.wait_until(lambda: pair.listener.counters()["discard_in_no_address"] > 0)
        pair.server.address("tun0", SERVER_CIDR)
        assert far.recv(100) == b"into the void"
        round_trip(near, far)


def test_given_address_is_taken_away(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """A network manager flushes what it did not make itself; it is given again, for the time being
    said to be missing."""
    pair: TunnelledPair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        round_trip(near, far)
        pair.server.ip("address", "flush", "dev", "tun0")
        pair.listener.expect("warning: tun0 has no IPv4 address")
        pair.listener.expect("tun0 is given the address of --address again")
        pair.listener.expect(f"tun0 has address {SERVER_TUNNEL}", occurrence=2)
        round_trip(near, far)
    assert pair.listener.errors().count("has no IPv4 address") == 1


def test_another_address_is_left_alone(bare_server: Callable[..., BareServer]) -> None:
    """The address of --address makes way for one that a person gives instead."""
    server = bare_server()
    host = server.scene.server
    host.ip("address", "delete", SERVER_CIDR, "dev", "tun0")
    host.address("tun0", "10.64.0.9/24")
    time.sleep(2.5)  # the time itself is what is tested
    assert SERVER_TUNNEL not in host.ip("address", "show", "dev", "tun0").split()
    assert destination_of_the_next(server) == "10.64.0.9"
    assert "warning" not in server.tunnel.errors()


def reverse_path_drops(host: lab.Host) -> int:
    """How many packets the kernel dropped for where they came from."""
    return int(host.run("nstat", "-asz", "TcpExtIPReversePathFilter").stdout.split()[-2])


def test_reverse_path_filter_becomes_strict(
    bare_endpoint: Callable[..., BareEndpoint]
) -> None:
    """Of the interface's own number and that of all the larger one counts."""
    endpoint = bare_endpoint()
    host, tunnel = endpoint.scene.client, endpoint.tunnel
    for variable in ("all", "tun0"):
        host.sysctl(f"net.ipv4.conf.{variable}.rp_filter", 0)
    assert "rp_filter" not in tunnel.errors()
    for occurrence, variable in enumerate(("all", "tun0"), 1):
        host.sysctl(f"net.ipv4.conf.{variable}.rp_filter", 1)
        tunnel.expect("warning: net.ipv4.conf.tun0.rp_filter", occurrence=occurrence)
        before = reverse_path_drops(host)
        endpoint.remote.send(a_segment())
        lab.wait_until(lambda: reverse_path_drops(host) > before)
        host.sysctl("net.ipv4.conf.tun0.rp_filter", 2)
        tunnel.expect("rp_filter lets in again", occurrence=occurrence)
        host.sysctl("net.ipv4.conf.all.rp_filter", 0)


def test_strict_reverse_path_filter_of_a_server(bare_server: Callable[..., BareServer]) -> None:
    """It drops nothing that comes from the interface's own subnet."""
    server = bare_server()
    host = server.scene.server
    host.sysctl("net.ipv4.conf.tun0.rp_filter", 1)
    before = reverse_path_drops(host)
    with server.peer() as peer:
        server.introduce(peer)
    assert reverse_path_drops(host) == before
    assert "rp_filter" not in server.tunnel.errors()


def test_interface_is_down(bare_server: Callable[..., BareServer]) -> None:
    server = bare_server()
    host = server.scene.server
    host.ip("link", "set", "tun0", "down")
    server.tunnel.expect("warning: tun0 is down")
    with server.peer() as peer:
        peer.send(a_segment())
        counters = wait_until_accounted(server.tunnel, 1)
        lab.wait_until(lambda: server.tunnel.counters()["discard_in_tunnel_down"] == 1)
        assert counters["discard_in_write_error"] == 0
        host.ip("link", "set", "tun0", "up")
        server.tunnel.expect("tun0 is up again")
        assert server.retapped(server.tunnel).introduce(peer)
    assert server.tunnel.errors().count("tun0 is down") == 1


def test_settings_of_the_interface(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Loose reverse path filter, and no IPv6, on a host that has it."""
    host, other = laboratory.host("host", ipv6=True), laboratory.host("other")
    laboratory.link(host, "eth0", other, "eth0")
    host.sysctl("net.ipv4.conf.default.rp_filter", 1)
    tunnel = start_server(start_tunnel, host)
    sysctl = "/proc/sys/net/{}/conf/tun0/{}"
    assert host.run("cat", sysctl.format("ipv4", "rp_filter")).stdout == "2\n"
    assert "inet6" in host.ip("address", "show", "dev", "eth0")
    assert "inet6" not in host.ip("address", "show", "dev", "tun0")
    assert tunnel.counters()["discard_out_not_ipv4"] == 0


def test_interface_made_beforehand(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """A persistent one is taken over with its address, and left when the program ends."""
    scene = lab.pair(laboratory)
    for host, cidr in ((scene.server, SERVER_CIDR), (scene.client, CLIENT_CIDR)):
        host.ip("tuntap", "add", "mode", "tun", "multi_queue", "name", "tun0")
        host.address("tun0", cidr)
        host.ip("link", "set", "tun0", "up")
    route_tcp_into_tunnel(scene.client, scene.server_address)
    for _ in range(2):
        endpoint = start_endpoint(start_tunnel, scene.client, address=None)
        listener = start_server(start_tunnel, scene.server, address=None)
        near, far = connect_through_tunnel(scene.client, scene.server, scene.server_address)
        with near, far:
            round_trip(near, far)
        assert endpoint.stop() == listener.stop() == 0
    for host in (scene.server, scene.client):
        assert "tun0" in host.ip("tuntap", "show")
        assert "inet" in host.ip("address", "show", "dev", "tun0")


@pytest.mark.parametrize("threads, header", [(1, 0), (4, 0), (4, VNET_HEADER)])
def test_network_manager_holds_a_detached_queue(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], threads: int, header: int
) -> None:
    """As systemd-networkd with KeepCarrier=yes: the interface is taken over, and all packets are
    the program's, also when it starts again. A queue that is attached later is told of."""
    scene = lab.pair(laboratory)
    options = ("--threads", threads)
    with held_queue(scene.server, kind=TUN | MULTI_QUEUE | NO_PI | header) as queue:
        queue.detach()
        scene.server.ip("link", "set", "tun0", "up")
        (link,) = json.loads(scene.server.ip("-json", "link", "show", "tun0"))
        assert "LOWER_UP" in link["flags"], "a detached queue keeps the carrier"
        endpoint = start_endpoint(start_tunnel, scene.client, scene.server_address)
        for _ in range(2):
            listener = start_server(start_tunnel, scene.server, options=options)
            for _ in range(4):
                near, far = connect_through_tunnel(
                    scene.client, scene.server, scene.server_address
                )
                with near, far:
                    round_trip(near, far)
            assert "attached itself" not in listener.errors()
            assert ("without offload header" in listener.errors()) == (header == 0)
            queue.attach()
            listener.expect("another process has attached itself to tun0")
            queue.detach()
            listener.expect("tun0 is ours alone again")
            assert listener.stop() == 0
        assert endpoint.alive
    assert "tun0" in scene.server.ip("tuntap", "show")


def gso_max_size(host: lab.Host) -> int:
    (link,) = json.loads(host.ip("-details", "-json", "link", "show", "tun0"))
    return link["gso_max_size"]


@pytest.mark.parametrize("before", [None, 65000])
def test_super_packets_are_as_large_as_elsewhere(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], before: int | None
) -> None:
    """The bound is the kernel's, or of who made the interface beforehand: the kernel would cut
    whatever it forwards and is larger."""
    host = lab.pair(laboratory).server
    if before:
        host.ip("tuntap", "add", "mode", "tun", "multi_queue", "name", "tun0")
        host.ip("link", "set", "tun0", "gso_max_size", before)
    tunnel = start_server(start_tunnel, host)
    assert gso_max_size(host) == (before or 65536)
    host.mtu("eth0", 1300)
    lab.wait_until(lambda: "mtu 1292" in host.ip("link", "show", "tun0"))
    assert gso_max_size(host) == (before or 65536)
    assert tunnel.stop() == 0


def test_interface_is_deleted(bare_server: Callable[..., BareServer]) -> None:
    """The program says so and ends."""
    server = bare_server()
    server.scene.server.ip("link", "delete", "tun0")
    assert server.tunnel.wait(5) == 1
    errors = [line for line in server.tunnel.errors().splitlines() if ": error: " in line]
    assert len(errors) == 1 and "tun0" in errors[0]


def test_killed_and_started_again(
    tunnelled_pair: Callable[..., TunnelledPair], start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Nothing that a killed program leaves behind hinders the next; connections survive."""
    pair: TunnelledPair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        round_trip(near, far)
        assert pair.listener.stop(signal.SIGKILL) == -signal.SIGKILL
        lab.wait_until(lambda: "tun0" not in pair.server.ip("link"))
        near.sendall(b"meanwhile")
        start_server(start_tunnel, pair.server)
        assert far.recv(100) == b"meanwhile"
        round_trip(near, far)
