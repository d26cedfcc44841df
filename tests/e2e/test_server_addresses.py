"""A server with several addresses: whoever talks to two of them is two peers, each answered from the
address that it talks to and from no other (R2)."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

import lab
from streams import Payload, Stream, receive_exactly, round_trip
from tunnels import SERVER_PORT, connect_through_tunnel, start_endpoint, start_server
from wiretap import Frame, Wiretap

LO_ADDRESS = "198.51.100.9"
# of lab.pair's server: the address that it has anyway, two beside it, and one on another device
ADDRESSES = {"192.0.2.2": "eth0", "192.0.2.3": "eth0", "192.0.2.4": "eth0", LO_ADDRESS: "lo"}

Ends = tuple[socket.socket, socket.socket]


def cidr(address: str) -> str:
    return f"{address}/{32 if address == LO_ADDRESS else 24}"


def pair_with_addresses(laboratory: lab.Laboratory) -> lab.Pair:
    scene = lab.pair(laboratory)
    for address, device in ADDRESSES.items():
        if address != scene.server_address:
            scene.server.address(device, cidr(address))
    scene.client.route(LO_ADDRESS, "via", scene.server_address)
    return scene


@contextmanager
def connections(client: lab.Host, server: lab.Host, targets: Sequence[str]) -> Iterator[list[Ends]]:
    """One to each address, made one after the other: all but the last are idle meanwhile."""
    with ExitStack() as stack:
        ends = []
        for target in targets:
            ends.append(connect_through_tunnel(client, server, target))
            for end in ends[-1]:
                stack.enter_context(end)
            round_trip(*ends[-1])
        yield ends


def server_speaks_first(ends: Sequence[Ends]) -> None:
    """On each connection in turn, the one that was idle for longest first."""
    for index, (near, far) in enumerate(ends):
        words = f"still there, {index}?".encode()
        far.sendall(words)
        assert receive_exactly(near, len(words)) == words


def stream_both_ways(ends: Sequence[Ends], payload: Payload, size: int) -> None:
    streams = [
        Stream(*direction, payload, size + 1000 * index)
        for index, (near, far) in enumerate(ends)
        for direction in ((near, far), (far, near))
    ]
    for stream in streams:
        stream.finish()


def assert_nothing_was_discarded(tunnel: lab.Tunnel) -> dict[str, int]:
    counters = tunnel.counters()
    discarded = {name: value for name, value in counters.items()
                 if name.startswith("discard_") and value and name != "discard_out_standing_queue"}
    assert not discarded
    return counters


@pytest.mark.parametrize(
    "options",
    [("--threads", 1), ("--threads", 4), ("--threads", 1, "--offload", "off")],
    ids=["1 thread", "4 threads", "no offload"],
)
def test_each_connection_stays_at_its_address(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
    options: Sequence[object],
) -> None:
    scene = pair_with_addresses(laboratory)
    listener = start_server(start_tunnel, scene.server, options=(*options, "--log-peers"))
    start_endpoint(start_tunnel, scene.client, *ADDRESSES, options=options)
    with connections(scene.client, scene.server, list(ADDRESSES)) as ends:
        server_speaks_first(ends)
        stream_both_ways(ends, payload, 4 << 20)
        server_speaks_first(ends)
        given = [far.getpeername()[0] for _, far in ends]
    assert len(set(given)) == len(ADDRESSES), "a tunnel address for each"
    counters = assert_nothing_was_discarded(listener)
    assert counters["connections_made"] == len(ADDRESSES)
    assert (counters["out_gso_messages"] > 0) == ("off" not in options)
    came = re.findall(r"came, tunnel address ([\d.]+), to ([\d.]+)\n", listener.errors())
    assert came == list(zip(given, ADDRESSES))


def test_clients_behind_nats(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """A NAT lets nothing through but answers from where its client sent to."""
    scene = lab.nated(laboratory)
    scene.server.address("eth0", "198.51.100.3/24")
    targets = (*scene.server_addresses, "198.51.100.3")
    listener = start_server(start_tunnel, scene.server)
    with ExitStack() as stack:
        ends = []
        for client in scene.all_clients:
            start_endpoint(start_tunnel, client, *targets)
            ends += stack.enter_context(connections(client, scene.server, targets))
        server_speaks_first(ends)
        stream_both_ways(ends, payload, 1 << 20)
        assert len({far.getpeername()[0] for _, far in ends}) == len(ends)
    assert_nothing_was_discarded(listener)


def sent_by_server(frame: Frame) -> bool:
    return (frame.outgoing and frame.packet.protocol == socket.IPPROTO_UDP
            and frame.packet.payload[:2] == SERVER_PORT.to_bytes(2, "big"))


def sources_until(tap: Wiretap, marker: bytes) -> dict[int, set[str]]:
    """The outer sources of what the server sent before the marker, by the inner source port."""
    sources: dict[int, set[str]] = {}
    while True:
        packet = tap.receive(sent_by_server).packet
        inner_port = int.from_bytes(packet.payload[8:10], "big")
        sources.setdefault(inner_port, set()).add(packet.source)
        if marker in packet.payload:
            return sources


@pytest.mark.parametrize(
    ("lost", "options"),
    [
        ("192.0.2.3", ("--threads", 1)),
        (LO_ADDRESS, ("--threads", 4)),
        ("192.0.2.4", ("--threads", 4, "--offload", "off")),
    ],
    ids=["1 thread", "on lo, 4 threads", "no offload"],
)
def test_an_address_that_goes_and_comes_back(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
    lost: str,
    options: Sequence[object],
) -> None:
    """Nothing leaves from another one meanwhile, and then the connection goes on."""
    scene = pair_with_addresses(laboratory)
    device = ADDRESSES[lost]
    scene.server.tbf("eth0", "200mbit")
    listener = start_server(start_tunnel, scene.server, options=options)
    start_endpoint(start_tunnel, scene.client, *ADDRESSES, options=options)
    with connections(scene.client, scene.server, [lost, scene.server_address]) as ends:
        (near, far), others = ends
        stream = Stream(far, near, payload, 16 << 20)
        stream.wait_for(2 << 20)
        scene.server.ip("address", "delete", cidr(lost), "dev", device)
        lab.wait_until(lambda: listener.counters()["discard_out_no_source"] > 0)
        with Wiretap(scene.server, "eth0") as tap:
            before = listener.counters()["discard_out_no_source"]
            lab.wait_until(lambda: listener.counters()["discard_out_no_source"] > before,
                           what="nothing was sent again to the peer")
            others[1].sendall(b"a marker on the wire")
            assert receive_exactly(others[0], 20) == b"a marker on the wire"
            sources = sources_until(tap, b"a marker on the wire")
        # what was sent before may still wait for its turn on the cable
        assert sources.get(far.getsockname()[1], set()) <= {lost}, "sent from another address"
        assert sources[others[1].getsockname()[1]] == {scene.server_address}
        assert not stream.done
        scene.server.address(device, cidr(lost))
        stream.finish()
        server_speaks_first(ends)
    counters = listener.counters()
    assert counters["connections_made"] == 2
    assert counters["gso_fallbacks"] == 0, "the offload is not to blame"
    for name in ("discard_out_unreachable", "discard_out_send_error", "discard_out_too_big"):
        assert counters[name] == 0, name
