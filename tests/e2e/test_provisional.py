"""Entries of peers that have yet to show that they receive (R7): how each kind of peer shows it,
and what floods of forged sources cannot do."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

import lab
from datagrams import BarePeer, BareServer, a_segment
from reference.packets import ACK, RST, SYN, Ipv4
from streams import Payload, Stream, connect, connected_by_mptcp, round_trip, transfer
from test_interop import reference_endpoint
from tunnels import (
    SERVER_PORT,
    SERVER_TUNNEL,
    TunnelledPair,
    connect_through_tunnel,
    start_endpoint,
    start_server,
)

SECONDS = float(os.environ.get("E2E_FLOOD_SECONDS", "3"))  # newcomers come in each flood
MOST_GUESTS = 60  # a /24 has no more addresses to spare
DISTANCE = 0.05  # of a newcomer, seconds there and back
MIB = 1 << 20


def provisional(tunnel: lab.Tunnel) -> int:
    """How many of a server's entries are."""
    return tunnel.counters()["connections_provisional"]


def await_proof(tunnel: lab.Tunnel, connections: int = 1) -> None:
    """Wait until all these entries are proven."""
    def is_proven() -> bool:
        counters = tunnel.counters()
        return (counters["connections"], counters["connections_provisional"]) == (connections, 0)

    lab.wait_until(is_proven, what=f"not proven: {tunnel.counters()}")


def restarted(pair: TunnelledPair, start: Callable[..., lab.Tunnel]) -> lab.Tunnel:
    """Another run of the server, which knows nobody."""
    assert pair.listener.stop() == 0
    lab.wait_until(lambda: "tun0" not in pair.server.ip("link"))
    return start_server(start, pair.server)


def test_a_client_that_connects(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    pair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        await_proof(pair.listener)


def test_a_client_that_only_sends_after_a_restart(
    tunnelled_pair: Callable[..., TunnelledPair], start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
) -> None:
    pair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        again = restarted(pair, start_tunnel)
        transfer(near, far, payload, MIB)
        await_proof(again)


def test_a_client_that_only_receives_after_a_restart(
    tunnelled_pair: Callable[..., TunnelledPair], start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
) -> None:
    """It is known by its keepalives first, and they prove nothing."""
    pair = tunnelled_pair(endpoint_options=("--keepalive", 1))
    near, far = pair.connect()
    with near, far:
        again = restarted(pair, start_tunnel)
        lab.wait_until(lambda: again.counters()["in_keepalives"] > 2)
        assert provisional(again) == 1
        stream = Stream(far, near, payload, 8 * MIB)
        await_proof(again)
        stream.finish()


def test_a_client_that_is_called(
    tunnelled_pair: Callable[..., TunnelledPair], start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    pair = tunnelled_pair(endpoint_options=("--keepalive", 1))
    near, far = pair.connect()
    tunnel_address = far.getpeername()[0]
    near.close()
    assert far.recv(1) == b""
    far.close()
    # what is sent again would be a proof
    lab.wait_until(lambda: not pair.server.run("ss", "-Htn", "state", "last-ack").stdout)
    again = restarted(pair, start_tunnel)
    lab.wait_until(lambda: again.counters()["in_keepalives"] > 0)
    assert provisional(again) == 1
    caller, called = connect(pair.server, pair.client, tunnel_address)
    with caller, called:
        await_proof(again)


def test_a_client_that_refuses_a_call(bare_server: Callable[..., BareServer]) -> None:
    server = bare_server()
    with server.peer() as peer:
        server.introduce_proven(peer)
        assert provisional(server.tunnel) == 0


def test_clients_behind_a_nat(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    scene = lab.nated(laboratory, clients_per_nat=(2,))
    target = scene.server_addresses[0]
    listener = start_server(start_tunnel, scene.server)
    with ExitStack() as stack:
        for client in scene.all_clients:
            start_endpoint(start_tunnel, client, target)
            for end in connect_through_tunnel(client, scene.server, target):
                stack.enter_context(end)
        await_proof(listener, 2)


def test_a_client_that_joins_with_mptcp(laboratory: lab.Laboratory) -> None:
    """Over its second WAN it is another peer, whose first segment is the join."""
    scene = lab.multiwan(laboratory)
    tunnels = lab.TunnelledMultipath(scene)
    with connected_by_mptcp(scene.router, scene.server, scene.server_address) as (near, far):
        round_trip(near, far)
        await_proof(tunnels.server_tunnel, 2)


def test_the_reference_peer(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    scene = lab.pair(laboratory)
    listener = start_server(start_tunnel, scene.server)
    with reference_endpoint(scene):
        near, far = connect_through_tunnel(scene.client, scene.server, scene.server_address)
        with near, far:
            await_proof(listener)


def test_what_proves_nothing(bare_server: Callable[..., BareServer]) -> None:
    """Whoever does not receive knows what was refused, and what was sent before anything was."""
    server = bare_server()
    with server.peer() as peer:
        address = server.introduce(peer)

        def answer(**fields: object) -> None:
            segment = a_segment(**fields)
            server.tap.send(Ipv4(SERVER_TUNNEL, address, segment).to_bytes())
            assert peer.receive()[4:8] == segment[4:8]

        def claim(**fields: object) -> None:
            peer.send(a_segment(**fields))
            peer.send(a_segment(**fields))
            peer.send(b"")

        claim(acknowledgement=0)
        answer(flags=RST, sequence=77)
        claim(acknowledgement=77)
        answer(flags=SYN | ACK, sequence=100)
        claim(acknowledgement=100)
        claim(acknowledgement=102)
        claim(flags=SYN, acknowledgement=101)
        keepalives = 5
        lab.wait_until(lambda: server.tunnel.counters()["in_keepalives"] == keepalives)
        assert provisional(server.tunnel) == 1
        claim(acknowledgement=101)
        await_proof(server.tunnel)


class Newcomer:
    """TCP in a bare socket, at a distance: what comes is answered that much later."""

    def __init__(self, scene: lab.Pair, port: int) -> None:
        self.peer = BarePeer(scene.client, (scene.server_address, SERVER_PORT))
        self._fields = {"source_port": 40000, "destination_port": port}
        self._sequence = 5000
        self.acknowledgement = 0

    def __enter__(self) -> Newcomer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.peer.__exit__()

    def say(self, flags: int, acknowledgement: int, data: bytes = b"") -> None:
        """One segment, from where it stands."""
        self.peer.send(a_segment(**self._fields, flags=flags, sequence=self._sequence,
                                 acknowledgement=acknowledgement, data=data))

    def _next_answer(self, wait: float) -> bytes:
        """What comes for its own connection: who had its tunnel address before may be answered."""
        until = time.monotonic() + wait
        while True:
            answer = self.peer.receive(max(until - time.monotonic(), 0.001))
            if int.from_bytes(answer[:2], "big") == self._fields["destination_port"]:
                return answer

    def connect(self) -> float:
        """Open a connection, with TCP's own repetitions; how long it took to be answered."""
        begin = time.monotonic()
        for wait in (1, 2, 4):
            self.say(SYN, 0)
            try:
                answer = self._next_answer(wait)
            except TimeoutError:
                continue
            assert answer[13] & (SYN | ACK | RST) == SYN | ACK
            time.sleep(DISTANCE)
            self._sequence += 1
            self.acknowledgement = (int.from_bytes(answer[4:8], "big") + 1) % 2**32
            return time.monotonic() - begin
        raise TimeoutError("never answered")

    def talk(self, far: socket.socket, data: bytes) -> None:
        """Send something until it is there."""
        far.settimeout(0.2)
        for _ in range(15):
            self.say(ACK, self.acknowledgement, data)
            try:
                assert far.recv(len(data)) == data
                break
            except TimeoutError:
                continue
        else:
            raise TimeoutError("not heard")
        self._sequence += len(data)


def accept_from(listener: socket.socket, newcomer: Newcomer) -> socket.socket:
    """The server's end, once the newcomer's acknowledgment has come; it repeats that."""
    listener.settimeout(0.2)
    for _ in range(15):
        newcomer.say(ACK, newcomer.acknowledgement)
        try:
            return listener.accept()[0]
        except TimeoutError:
            continue
    raise TimeoutError("its acknowledgment did not come in time")


class Guests:
    """Newcomers that got in, each with the server's end of its connection."""

    def __init__(self, pair: TunnelledPair, stack: ExitStack) -> None:
        self._pair, self._stack = pair, stack
        with pair.server.inside():
            self._listener = stack.enter_context(socket.create_server(("", 0)))
        self._all: list[tuple[Newcomer, socket.socket]] = []
        self.slowest = 0.0  # to get in, seconds

    def __len__(self) -> int:
        return len(self._all)

    def let_one_in(self) -> None:
        """Another one connects, and says something."""
        port = self._listener.getsockname()[1]
        newcomer = self._stack.enter_context(Newcomer(self._pair.scene, port))
        self.slowest = max(self.slowest, newcomer.connect())
        guest = self._stack.enter_context(accept_from(self._listener, newcomer))
        newcomer.talk(guest, b"hello")
        self._all.append((newcomer, guest))

    def keep_alive(self) -> None:
        for newcomer, _ in self._all:
            newcomer.peer.send(b"")

    def talk(self) -> None:
        for newcomer, guest in self._all:
            newcomer.talk(guest, b"still here")


@pytest.mark.parametrize("kind", lab.FLOODS)
@pytest.mark.parametrize(("rate", "bits"), [(100000, 16), (220, 24)], ids=["dense", "thin"])
def test_a_flood_keeps_nobody_out(
    tunnelled_pair: Callable[..., TunnelledPair], sanitized: bool, kind: str, rate: int, bits: int
) -> None:
    """Newcomers get in within 3 s and stay, who was there is not disturbed."""
    pair = tunnelled_pair(
        server_options=("--peer-pool", f"10.64.0.0/{bits}", "--connection-timeout", 20),
    )
    rate = min(rate, 5000) if sanitized else rate
    with ExitStack() as stack:
        near, far = map(stack.enter_context, connect(pair.client, pair.server, pair.target))
        guests = Guests(pair, stack)
        with pair.server.inside():
            called = stack.enter_context(socket.create_server(("", 0)))
        payload = lab.FLOODS[kind](called.getsockname()[1])
        flood = lab.Flood(pair.scene, SERVER_PORT, payload, rate, times=2 if kind == "ack" else 1)
        with flood:
            lab.wait_until(lambda: pair.listener.counters()["connections_crowded_out"] > 0, 20)
            begin = time.monotonic()
            while (now := time.monotonic()) < begin + SECONDS:
                if now - begin >= len(guests) * SECONDS / MOST_GUESTS:
                    guests.let_one_in()
                guests.keep_alive()
                round_trip(near, far)
                time.sleep(0.3)
            guests.talk()
        counters = pair.listener.counters()
    print(f"{len(guests)} newcomers, the slowest after {guests.slowest:.2f} s; {flood.sent} forged "
          f"in {flood.lasted:.1f} s, {counters['connections_crowded_out']} made room, "
          f"{counters['connections_refused']} refused")
    assert len(guests) > 1 and guests.slowest < 3
    assert flood.sent > 0.5 * rate * flood.lasted, "this is no flood"
    assert counters["quarantine_cut_short"] == 0
    assert counters["connections_provisional"] <= 2 ** (32 - bits) // 4
    assert counters["connections"] == counters["connections_provisional"] + len(guests) + 1
