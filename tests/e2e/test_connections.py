"""Entries of `connection_store` as peers see them: unique and steady tunnel addresses, expiry and
return, a full pool, quarantine (R2, R3)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import ExitStack

import lab
from datagrams import BarePeer, BareServer, a_segment, wait_until_accounted
from reference.packets import Ipv4
from tunnels import POOL, SERVER_PORT, SERVER_TUNNEL

# How long after the time-out an entry may still be there.
EXPIRY_SLACK = 2
# Between an event and this process seeing it.
LATENCY = 0.5
SMALL_POOL = ("--peer-pool", "10.64.0.0/29")
SMALL_POOL_SIZE = 5  # without network, broadcast and the server's own address


def went(tunnel: lab.Tunnel, peer: BarePeer) -> bool:
    """Whether the log (with --log-peers) says that this peer's entry is gone."""
    return f"peer {peer.name} went" in tunnel.errors()


def await_expiry(tunnel: lab.Tunnel, *peers: BarePeer, timeout: float = 10) -> None:
    """Wait until the entries of these peers are gone."""
    lab.wait_until(
        lambda: all(went(tunnel, peer) for peer in peers), timeout, "entries did not expire"
    )


def test_same_source_port_at_different_addresses(
    bare_server: Callable[..., BareServer],
) -> None:
    server = bare_server()
    scene = server.scene
    addresses = [scene.client_address, *(f"192.0.2.{last}" for last in range(10, 15))]
    for address in addresses[1:]:
        scene.client.address("eth0", f"{address}/24")
    with ExitStack() as stack:
        peers = [
            stack.enter_context(
                BarePeer(scene.client, (scene.server_address, SERVER_PORT), 7000, address)
            )
            for address in addresses
        ]
        given = {server.introduce(peer): peer for peer in peers}
        assert len(given) == len(peers)
        for tunnel_address, peer in given.items():
            segment = a_segment(data=tunnel_address.encode())
            server.tap.send(Ipv4(SERVER_TUNNEL, tunnel_address, segment).to_bytes())
            assert peer.receive()[20:] == tunnel_address.encode()
    assert server.tunnel.counters()["connections"] == len(peers)


def test_every_address_of_the_pool_is_given_once(
    bare_server: Callable[..., BareServer],
) -> None:
    """A nearly full pool still finds the last free address, a full one refuses."""
    server = bare_server(options=("--log-peers",))
    free = {str(host) for host in POOL.hosts()} - {SERVER_TUNNEL}
    with ExitStack() as stack:
        peers = [stack.enter_context(server.peer()) for _ in free]
        given = [server.introduce_proven(peer) for peer in peers]
        assert sorted(given) == sorted(free)
        with server.peer() as newcomer:
            newcomer.send(a_segment())
            counters = wait_until_accounted(server.tunnel, 2 * len(free) + 1)
        assert [server.introduce(peer) for peer in peers] == given
    assert counters["connections"] == counters["connections_made"] == len(free)
    assert counters["connections_refused"] == counters["discard_in_refused"] == 1
    came = re.findall(r"info: peer ([\d.:]+) came, tunnel address ([\d.]+), to ",
                      server.tunnel.errors())
    assert [address for _, address in came] == given, "one line for each, none held back"


def test_full_pool_says_so_and_keeps_its_peers(bare_server: Callable[..., BareServer]) -> None:
    server = bare_server(options=SMALL_POOL)
    newcomers = 1000
    with ExitStack() as stack:
        peers = [stack.enter_context(server.peer()) for _ in range(SMALL_POOL_SIZE)]
        given = [server.introduce_proven(peer) for peer in peers]
        for index in range(newcomers):
            with server.peer() as newcomer:
                newcomer.send(a_segment())
            if index % 50 == 49:
                wait_until_accounted(server.tunnel, 2 * SMALL_POOL_SIZE + index + 1)
        counters = server.tunnel.counters()
        assert counters["discard_in_refused"] == newcomers
        assert counters["connections"] == SMALL_POOL_SIZE
        assert [server.introduce(peer) for peer in peers] == given
    warnings = [line for line in server.tunnel.errors().splitlines() if "warning" in line]
    assert any("--peer-pool" in line for line in warnings), "says what is full"
    assert len(warnings) < newcomers / 10, "does not flood the log"


def test_max_connections(bare_server: Callable[..., BareServer]) -> None:
    server = bare_server(options=("--max-connections", 3))
    with ExitStack() as stack:
        peers = [stack.enter_context(server.peer()) for _ in range(4)]
        for peer in peers[:3]:
            server.introduce_proven(peer)
        peers[3].send(a_segment())
        counters = wait_until_accounted(server.tunnel, 7)
    assert counters["connections"] == 3
    assert counters["connections_refused"] == counters["discard_in_refused"] == 1
    assert "--max-connections" in server.tunnel.errors()


def test_expiry_and_return(bare_server: Callable[..., BareServer]) -> None:
    """Received datagrams keep an entry, sent ones do not; who returns has the old address."""
    timeout = 2
    server = bare_server(options=("--connection-timeout", timeout, "--log-peers"))
    with server.peer() as silent, server.peer() as talking, server.peer() as keeping_alive:
        addresses = [server.introduce(peer) for peer in (silent, talking, keeping_alive)]
        last_heard = time.monotonic()

        def expired() -> bool:
            talking.send(a_segment())
            keeping_alive.send(b"")
            server.tap.send(Ipv4(SERVER_TUNNEL, addresses[0], a_segment()).to_bytes())
            return went(server.tunnel, silent)

        lab.wait_until(expired, 3 * timeout + EXPIRY_SLACK, "no expiry")
        elapsed = time.monotonic() - last_heard
        assert timeout - LATENCY < elapsed < timeout + EXPIRY_SLACK + LATENCY
        silent.receive()  # it was sent to meanwhile

        counters = server.tunnel.counters()
        assert counters["connections"] == 2
        assert counters["connections_expired"] == 1
        unknown = counters["discard_out_unknown_destination"]
        server.tap.send(Ipv4(SERVER_TUNNEL, addresses[0], a_segment()).to_bytes())
        lab.wait_until(
            lambda: server.tunnel.counters()["discard_out_unknown_destination"] > unknown
        )

        # Twice the time-out after their first datagram those that were heard are still there.
        def twice_the_time() -> bool:
            talking.send(a_segment())
            keeping_alive.send(b"")
            return time.monotonic() > last_heard + 2 * timeout

        lab.wait_until(twice_the_time, 3 * timeout)
        assert not went(server.tunnel, talking) and not went(server.tunnel, keeping_alive)

        assert server.introduce(silent) == addresses[0]
        assert server.tunnel.counters()["quarantine_cut_short"] == 0, "it is its own address"
        segment = a_segment()
        server.tap.send(Ipv4(SERVER_TUNNEL, addresses[0], segment).to_bytes())
        while silent.receive()[4:8] != segment[4:8]:
            pass  # what was sent before it expired


def test_log_of_a_peer(bare_server: Callable[..., BareServer]) -> None:
    """What an abuse desk needs: who, when, which address, how much."""
    server = bare_server(options=("--log-peers", "--connection-timeout", 1))
    with server.peer() as peer:
        address = server.introduce(peer)
        peer.send(a_segment(data=b"i" * 980))
        server.tap.send(Ipv4(SERVER_TUNNEL, address, a_segment(data=b"o" * 480)).to_bytes())
        peer.receive()
        await_expiry(server.tunnel, peer)
        name = peer.name
    log, own = server.tunnel.errors(), server.scene.server_address
    assert f"udp-encap-tun: info: peer {name} came, tunnel address {address}, to {own}\n" in log
    gone = re.search(
        r"info: peer ([\d.:]+) went after (\d+) s, tunnel address ([\d.]+), "
        r"(\d+) bytes in, (\d+) bytes out, to ([\d.]+)\n",
        log,
    )
    assert gone, log
    assert gone[1] == name and gone[3] == address and gone[6] == own
    assert int(gone[2]) <= 1 + EXPIRY_SLACK
    # Of two segments in and one out, whichever headers are counted with them.
    assert 1020 <= int(gone[4]) <= 1020 + 2 * 28
    assert 500 <= int(gone[5]) <= 500 + 28


def test_no_log_of_peers_unless_asked(bare_server: Callable[..., BareServer]) -> None:
    server = bare_server()
    with server.peer() as peer:
        server.introduce(peer)
        assert peer.name not in server.tunnel.errors()


def test_quarantined_addresses_are_given_last(bare_server: Callable[..., BareServer]) -> None:
    """Only when no other is free, and then the one that was freed longest ago."""
    server = bare_server(options=(*SMALL_POOL, "--connection-timeout", 2, "--log-peers"))
    with ExitStack() as stack:
        first, second, *others = (
            stack.enter_context(server.peer()) for _ in range(2 + SMALL_POOL_SIZE)
        )
        old = server.introduce_proven(first)
        newer = server.introduce_proven(second)

        def first_expired() -> bool:
            second.send(b"")
            return went(server.tunnel, first)

        lab.wait_until(first_expired)
        await_expiry(server.tunnel, second)
        *fresh, before_last, last = (server.introduce_proven(peer) for peer in others)
        assert not {old, newer} & set(fresh)
        assert (before_last, last) == (old, newer)
    assert server.tunnel.counters()["quarantine_cut_short"] == 2


def test_quarantine_ends(bare_server: Callable[..., BareServer]) -> None:
    """A pool of one address passes it on; after the quarantine that is nothing to count."""
    quarantine = 2  # times are whole seconds: one of them may be over at once
    server = bare_server(
        options=(
            "--peer-pool", "10.64.0.0/30",
            "--connection-timeout", 1,
            "--address-quarantine", quarantine,
            "--log-peers",
        )
    )
    with server.peer() as first, server.peer() as second, server.peer() as third:
        address = server.introduce_proven(first)
        await_expiry(server.tunnel, first)
        assert server.introduce_proven(second) == address
        assert server.tunnel.counters()["quarantine_cut_short"] == 1
        await_expiry(server.tunnel, second)
        time.sleep(quarantine + LATENCY)  # the time itself is what is tested
        assert server.introduce_proven(third) == address
    assert server.tunnel.counters()["quarantine_cut_short"] == 1


def test_peer_pool_outside_the_interfaces_subnet(
    bare_server: Callable[..., BareServer],
) -> None:
    """It gets a route to the interface, and its peers are reached."""
    server = bare_server(options=("--peer-pool", "172.30.4.0/22"))
    assert "172.30.4.0/22" in server.scene.server.ip("route", "show", "dev", "tun0")
    with server.peer() as peer:
        address = server.introduce(peer)
        assert address.startswith("172.30.")
        segment = a_segment()
        server.tap.send(Ipv4(SERVER_TUNNEL, address, segment).to_bytes())
        assert peer.receive()[4:8] == segment[4:8]
