"""This machine's own addresses: which of several is the tunnel's (R4), and what becomes of peers
when the machine takes an address of the pool."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

import lab
from datagrams import BareServer, a_segment, same_sequence
from streams import round_trip
from tunnels import (
    CLIENT_CIDR,
    CLIENT_TUNNEL,
    SERVER_CIDR,
    SERVER_TUNNEL,
    TunnelledPair,
    connect_through_tunnel,
)

NARROW = "169.254.7.7/16"
LOOKED = "10.64.0.33/32"
TALKATIVE = ("--log-level", "debug")  # for change_and_look()


def written_from_to(server: BareServer) -> tuple[str, str]:
    """From and to which address the program writes a segment that comes now."""
    segment = a_segment()
    with server.peer(port=7000) as peer:
        peer.send(segment)
        packet = server.tap.receive(same_sequence(segment)).packet
        return packet.source, packet.destination


def change_and_look(tunnel: lab.Tunnel, host: lab.Host, *changes: tuple[object, ...]) -> None:
    """Make changes with ip(8), and another one that shows when the program has looked at them: an
    address of the pool on another device, which is a debug line about the pool in the log."""
    seen = tunnel.errors().count("tunnel addresses come from")
    for change in changes:
        host.ip(*change)
    host.address("lo", LOOKED)
    tunnel.expect("tunnel addresses come from", occurrence=seen + 1)
    host.ip("address", "delete", LOOKED, "dev", "lo")
    tunnel.expect("tunnel addresses come from", occurrence=seen + 2)


@pytest.mark.parametrize("address", [NARROW, "10.64.0.77/32"])
def test_narrower_scope_takes_nothing_over(
    known_bare_server: Callable[..., BareServer], address: str
) -> None:
    """A link-local address (avahi-autoipd) or a VIP (keepalived), which the kernel lists first."""
    server = known_bare_server(options=TALKATIVE)
    host = server.scene.server
    before = written_from_to(server)
    change_and_look(
        server.tunnel, host, ("address", "add", address, "dev", "tun0", "scope", "link")
    )
    assert address in host.ip("address", "show", "dev", "tun0").splitlines()[2], "not listed first"
    assert written_from_to(server) == before
    assert before[1] == SERVER_TUNNEL
    counters = server.tunnel.counters()
    assert counters["connections_made"] == 1
    assert counters["connections_dropped"] == counters["connections_displaced"] == 0
    assert server.tunnel.errors().count("has address") == 1


def test_narrower_scope_on_a_router(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """Open connections go on. The kernel would open further ones from that address, which is why
    doc/router.md names the source in the tunnel's route."""
    pair: TunnelledPair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        round_trip(near, far)
        pair.client.ip("address", "add", NARROW, "dev", "tun0", "scope", "link")
        listed = pair.client.ip("address", "show", "dev", "tun0")
        assert listed.index(NARROW) < listed.index(CLIENT_CIDR)
        for _ in range(20):
            round_trip(near, far)
        pair.client.ip("route", "replace", pair.target, "dev", "tun0", "src", CLIENT_TUNNEL,
                       "table", 100)
        near_2, far_2 = connect_through_tunnel(pair.client, pair.server, pair.target)
        with near_2, far_2:
            round_trip(near_2, far_2)


def test_narrow_scope_is_better_than_none(known_bare_server: Callable[..., BareServer]) -> None:
    """The only one is taken, and one of global scope does not push it out while it is there."""
    server = known_bare_server(address=None, options=TALKATIVE)
    host = server.scene.server
    host.ip("link", "set", "tun0", "up")
    host.ip("address", "add", "10.64.0.9/24", "dev", "tun0", "scope", "link")
    server.tunnel.expect("has address 10.64.0.9")
    # one subnet has one scope
    wider = f"{SERVER_TUNNEL}/23"
    change_and_look(server.tunnel, host, ("address", "add", wider, "dev", "tun0"))
    assert written_from_to(server)[1] == "10.64.0.9"
    host.ip("address", "delete", "10.64.0.9/24", "dev", "tun0")
    server.tunnel.expect(f"has address {SERVER_TUNNEL}")
    assert written_from_to(server)[1] == SERVER_TUNNEL


def test_primary_address_goes(known_bare_server: Callable[..., BareServer]) -> None:
    """The kernel promotes another one of the subnet: it is the tunnel's, and stays when the first
    one is back behind it. The pool is the same all the time."""
    server = known_bare_server(options=TALKATIVE)
    host = server.scene.server
    host.sysctl("net.ipv4.conf.tun0.promote_secondaries", 1)
    change_and_look(server.tunnel, host, ("address", "add", "10.64.0.2/24", "dev", "tun0"))
    peer, own = written_from_to(server)
    assert own == SERVER_TUNNEL
    host.ip("address", "delete", SERVER_CIDR, "dev", "tun0")
    server.tunnel.expect("has address 10.64.0.2")
    assert written_from_to(server) == (peer, "10.64.0.2")
    change_and_look(server.tunnel, host, ("address", "add", SERVER_CIDR, "dev", "tun0"))
    assert written_from_to(server) == (peer, "10.64.0.2")
    assert server.tunnel.counters()["connections_made"] == 1


def test_removed_and_added_again_at_once(known_bare_server: Callable[..., BareServer]) -> None:
    """Behind another one by then, but the program sees it there before and after."""
    server = known_bare_server(options=TALKATIVE)
    host = server.scene.server
    change_and_look(server.tunnel, host, ("address", "add", "172.30.0.1/24", "dev", "tun0"))
    before = written_from_to(server)
    lines = (f"address delete {SERVER_CIDR} dev tun0", f"address add {SERVER_CIDR} dev tun0")
    server.tunnel.signal(signal.SIGSTOP)
    try:
        host.run("ip", "-batch", "-", input="\n".join(lines) + "\n")
    finally:
        server.tunnel.signal(signal.SIGCONT)
    change_and_look(server.tunnel, host)
    listed = host.ip("address", "show", "dev", "tun0")
    assert listed.index("172.30.0.1") < listed.index(SERVER_CIDR)
    assert written_from_to(server) == before
    assert server.tunnel.counters()["connections_dropped"] == 0


def test_another_prefix_length(known_bare_server: Callable[..., BareServer]) -> None:
    """It is the same address, but another subnet and therefore another pool."""
    server = known_bare_server()
    host = server.scene.server
    host.address("tun0", "10.64.0.1/28")
    host.ip("address", "delete", SERVER_CIDR, "dev", "tun0")
    server.tunnel.expect("tunnel addresses come from 10.64.0.0/28")
    with server.peer() as peer:
        assert int(server.introduce(peer).rpartition(".")[2]) < 15
    assert server.tunnel.errors().count("has address") == 1


def test_address_of_a_peer_is_taken(known_bare_server: Callable[..., BareServer]) -> None:
    """The peer gets another one, and the log says why; on whichever device it stands."""
    server = known_bare_server()
    host = server.scene.server
    for count, device in enumerate(("tun0", "eth0", "lo"), 1):
        with server.peer() as peer:
            taken = server.introduce(peer)
            host.address(device, f"{taken}/32")
            server.tunnel.expect(
                f"{taken} was taken by this machine: peer {peer.name} gets another address"
            )
            assert server.introduce(peer) != taken
        counters = server.tunnel.counters()
        assert counters["connections_displaced"] == count
        assert counters["connections_dropped"] == 0


def test_more_addresses_than_a_few(known_bare_server: Callable[..., BareServer]) -> None:
    """However many there are, no peer gets one of them: of 254 the last is a peer's."""
    server = known_bare_server(options=TALKATIVE)
    host = server.scene.server
    peers = [server.peer() for _ in range(3)]
    try:
        held = {server.introduce(peer) for peer in peers}
        left = f"10.64.0.{next(n for n in range(2, 255) if f'10.64.0.{n}' not in held)}"
        lines = [
            f"address add 10.64.0.{n}/24 dev tun0" for n in range(2, 255)
            if f"10.64.0.{n}" != left
        ]
        server.tunnel.signal(signal.SIGSTOP)
        try:
            host.run("ip", "-batch", "-", input="\n".join(lines) + "\n")
        finally:
            server.tunnel.signal(signal.SIGCONT)
        server.tunnel.expect("10.64.0.0/24: room for 1 peers")
        assert server.introduce(peers[0]) == left
        counters = server.tunnel.counters()
        assert counters["connections_displaced"] == 3
        assert counters["connections_dropped"] == 0
        assert "3 tunnel addresses were taken by this machine" in server.tunnel.errors()
        # there is no other one left
        peers[1].send(a_segment())
        lab.wait_until(lambda: server.tunnel.counters()["discard_in_refused"] == 1)
    finally:
        for peer in peers:
            peer.socket.close()
