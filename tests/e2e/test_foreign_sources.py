"""Packets whose source is not the tunnel's address (T6): what is sent to them would reach the tunnel's
address instead.  Each fails at once and is counted, and works once it is masqueraded."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable

import pytest

import lab
from datagrams import BareEndpoint, a_segment
from reference.packets import ACK, RST, Ipv4, Unreachable
from streams import Payload, connect, round_trip, transfer
from tunnels import (
    CLIENT_TUNNEL,
    POOL,
    SERVER_TUNNEL,
    TunnelledPair,
    masquerade,
    route_tcp_into_tunnel,
    start_endpoint,
    start_server,
)
from wiretap import icmp_written

# "At once" for a person, and before a SYN is sent a third time.
AT_ONCE = 2.0
SIZE = 8 << 20
COUNTER = "discard_out_foreign_source"

_TRANSPARENT = 19  # IP_TRANSPARENT, which socket does not name

LAN_ADDRESS = "172.31.0.1"
LAN_CLIENT = "172.31.0.2"


def nobody_may_come_in(host: lab.Host) -> None:
    """The firewall that doc/router.md sets on a router."""
    host.nft("""
        table inet udp_encap_tun {
            chain from_tunnel {
                type filter hook prerouting priority mangle
                iifname != "tun0" accept
                ct state established,related accept
                drop
            }
        }""")


def caller_from(
    host: lab.Host, source: str = "", transparent: bool = False
) -> socket.socket:
    """A socket to connect; a transparent one may have any source."""
    with host.inside():
        caller = socket.socket()
    caller.settimeout(10)
    if transparent:
        caller.setsockopt(socket.IPPROTO_IP, _TRANSPARENT, 1)
    if source:
        caller.bind((source, 0))
    return caller


def assert_fails_at_once(
    host: lab.Host, target: tuple[str, int], source: str = "", transparent: bool = False
) -> None:
    with caller_from(host, source, transparent) as caller:
        started = time.monotonic()
        with pytest.raises(OSError) as failed:
            caller.connect(target)
        assert failed.value.errno == errno.EHOSTUNREACH, "No route to host"
        assert time.monotonic() - started < AT_ONCE


def assert_is_told(tunnel: lab.Tunnel, source: str, own: str) -> None:
    """Counted, and in the log once, with what to do about it."""
    assert tunnel.counters()[COUNTER] > 0
    tunnel.expect(f"packets from {source} are routed into tun0, whose address is {own}")
    (line,) = [line for line in tunnel.errors().splitlines() if "packets from" in line]
    assert 'oifname "tun0" masquerade' in line


def assert_carries(
    tunnel: lab.Tunnel, payload: Payload, near: socket.socket, far: socket.socket
) -> None:
    """Nothing of it is discarded."""
    before = tunnel.counters()[COUNTER]
    with near, far:
        transfer(near, far, payload, SIZE)
        transfer(far, near, payload, SIZE)
    assert tunnel.counters()[COUNTER] == before


def test_bound_to_another_address(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """A proxy on the router that is bound to the LAN's address."""
    pair: TunnelledPair = tunnelled_pair()
    lab.behind(pair.client)
    nobody_may_come_in(pair.client)
    assert_fails_at_once(pair.client, (pair.target, 80), source=LAN_ADDRESS)
    assert_is_told(pair.endpoint, LAN_ADDRESS, CLIENT_TUNNEL)
    masquerade(pair.client)
    near, far = connect(pair.client, pair.server, pair.target, source=LAN_ADDRESS)
    assert_carries(pair.endpoint, payload, near, far)


def test_transparent_proxy(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """One on the router that keeps its client's address (TPROXY), with the rules that bring the
    kernel's answers to its sockets."""
    pair: TunnelledPair = tunnelled_pair()
    lab.behind(pair.client)
    pair.client.nft("""
        table ip transparent {
            chain prerouting {
                type filter hook prerouting priority mangle
                socket transparent 1 meta mark set 1
            }
        }""")
    pair.client.rule("fwmark", 1, "lookup", 200)
    pair.client.route("local", "default", "dev", "lo", "table", 200)
    assert_fails_at_once(pair.client, (pair.target, 80), LAN_CLIENT, transparent=True)
    assert_is_told(pair.endpoint, LAN_CLIENT, CLIENT_TUNNEL)
    masquerade(pair.client)
    with pair.server.inside():
        listener = socket.create_server(("", 0))
    near = caller_from(pair.client, LAN_CLIENT, transparent=True)
    with listener:
        near.connect((pair.target, listener.getsockname()[1]))
        far, _ = listener.accept()
    assert_carries(pair.endpoint, payload, near, far)


def test_forwarded_from_a_lan(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """The error finds its way to the LAN's client, past the firewall, too."""
    pair: TunnelledPair = tunnelled_pair()
    behind = lab.behind(pair.client)
    nobody_may_come_in(pair.client)
    assert_fails_at_once(behind, (pair.target, 80))
    assert_is_told(pair.endpoint, LAN_CLIENT, CLIENT_TUNNEL)
    masquerade(pair.client)
    near, far = connect(behind, pair.server, pair.target)
    assert_carries(pair.endpoint, payload, near, far)


def test_port_forwarded_by_the_server(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """Somebody at the server's other side reaches a service of the router at the server's address."""
    pair: TunnelledPair = tunnelled_pair()
    outside = lab.behind(pair.server)
    near, far = pair.connect()
    with near, far:
        peer = far.getpeername()[0]
    pair.server.nft(f"""
        table ip forwarded {{
            chain prerouting {{
                type nat hook prerouting priority dstnat
                iifname lan0 ip protocol tcp dnat to {peer}
            }}
        }}""")
    assert_fails_at_once(outside, (LAN_ADDRESS, 80))
    assert_is_told(pair.listener, LAN_CLIENT, SERVER_TUNNEL)
    masquerade(pair.server)
    near, far = connect(outside, pair.client, LAN_ADDRESS)
    assert_carries(pair.listener, payload, near, far)


def test_server_calls_the_routers_public_address(
    tunnelled_pair: Callable[..., TunnelledPair],
) -> None:
    """Routed into the tunnel it is nobody's there; from the server's public address it is not even
    looked for."""
    pair: TunnelledPair = tunnelled_pair()
    scene = pair.scene
    route_tcp_into_tunnel(scene.server, scene.client_address)
    assert_fails_at_once(scene.server, (scene.client_address, 80))
    assert pair.listener.counters()["discard_out_unknown_destination"] == 1
    assert_fails_at_once(scene.server, (scene.client_address, 80), source=scene.server_address)
    assert_is_told(pair.listener, scene.server_address, SERVER_TUNNEL)


@pytest.fixture
def over_the_wan(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> tuple[lab.Pair, lab.Tunnel, socket.socket, socket.socket]:
    """The program on both ends, and a connection past it: nothing is routed into it yet."""
    scene = lab.pair(laboratory)
    start_server(start_tunnel, scene.server)
    endpoint = start_endpoint(start_tunnel, scene.client)
    near, far = connect(scene.client, scene.server, scene.server_address)
    round_trip(near, far)
    return scene, endpoint, near, far


def keep_on_the_wan(scene: lab.Pair) -> None:
    """As doc/router.md has it: what has the WAN's address stays there."""
    scene.client.rule("pref", 100, "iif", "lo", "from", scene.client_address,
                      "to", scene.server_address, "lookup", "main")


def test_open_on_the_wan_when_the_rule_is_set(
    over_the_wan: tuple[lab.Pair, lab.Tunnel, socket.socket, socket.socket],
) -> None:
    """It stands still and is counted, until the rule that keeps it where it was is there."""
    scene, endpoint, near, far = over_the_wan
    with near, far:
        route_tcp_into_tunnel(scene.client, scene.server_address)
        near.sendall(b"question")
        lab.wait_until(lambda: endpoint.counters()[COUNTER] > 0)
        assert_is_told(endpoint, scene.client_address, CLIENT_TUNNEL)
        keep_on_the_wan(scene)
        assert far.recv(100) == b"question"
        round_trip(near, far)


def test_open_on_the_wan_with_the_rule_before(
    over_the_wan: tuple[lab.Pair, lab.Tunnel, socket.socket, socket.socket],
) -> None:
    """Nothing of it is lost, and what is bound to the WAN's address stays there, too."""
    scene, endpoint, near, far = over_the_wan
    with near, far:
        keep_on_the_wan(scene)
        scene.client.route(scene.server_address, "dev", "tun0", "table", 100)
        scene.client.rule("pref", 101, "iif", "lo", "to", scene.server_address,
                          "ipproto", "tcp", "lookup", 100)
        round_trip(near, far)
        for source in (scene.client_address, ""):
            near_2, far_2 = connect(scene.client, scene.server, scene.server_address, source)
            with near_2, far_2:
                round_trip(near_2, far_2)
                came_from = far_2.getpeername()[0]
            assert (came_from == scene.client_address) == bool(source)
            assert (came_from in map(str, POOL.hosts())) == (not source)
    assert endpoint.counters()[COUNTER] == 0


def test_multipath_joins_through_masquerade(laboratory: lab.Laboratory) -> None:
    """A proxy that is bound to the LAN's address uses both WANs, with what doc/router.md sets."""
    scene = lab.multiwan(laboratory)
    tunnels = lab.TunnelledMultipath(scene)
    lab.behind(scene.router)
    with scene.server.inside():
        listener = socket.socket(type=socket.SOCK_STREAM, proto=socket.IPPROTO_MPTCP)
    with scene.router.inside():
        near = socket.socket(type=socket.SOCK_STREAM, proto=socket.IPPROTO_MPTCP)
        spare = socket.socket(type=socket.SOCK_STREAM, proto=socket.IPPROTO_MPTCP)
    with listener, near, spare:
        listener.bind(("", 8080))
        listener.listen()
        for each in (near, spare):
            each.settimeout(10)
            each.bind((LAN_ADDRESS, 0))
        with pytest.raises(OSError) as failed:
            spare.connect((scene.server_address, 8080))
        assert failed.value.errno == errno.EHOSTUNREACH
        masquerade(scene.router)
        near.connect((scene.server_address, 8080))
        far, _ = listener.accept()
        with far:
            round_trip(near, far)
            lab.wait_until(
                lambda: tunnels.router_tunnels[1].counters()["in_segments"] > 0
                and scene.router.counter("MPTcpExtMPJoinSynAckRx") > 0
            )
            round_trip(near, far)


def test_message_and_one_line(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    """Each packet is counted and answered from where it was sent to; the log has one line. A RST
    wants no answer: it is only counted."""
    endpoint = bare_endpoint()
    far = endpoint.scene.server_address
    reset = a_segment(flags=RST | ACK)
    endpoint.tap.send(Ipv4("172.31.0.9", far, reset).to_bytes())
    for n in range(2, 5):
        packet = Ipv4("172.31.0.2", far, a_segment()).to_bytes()
        endpoint.tap.send(packet)
        frame = endpoint.tap.receive(icmp_written)
        assert (frame.packet.source, frame.packet.destination) == (far, "172.31.0.2")
        message = Unreachable.parse(frame.packet)
        assert message.code == 13
        assert message.quoted[:28] == packet[:28]
        assert endpoint.tunnel.counters()[COUNTER] == n
    assert_is_told(endpoint.tunnel, "172.31.0.2", CLIENT_TUNNEL)
    counters = endpoint.tunnel.counters()
    assert counters["icmp_sent"] == 3
    assert counters["out_segments"] == counters["connections_made"] == 0
