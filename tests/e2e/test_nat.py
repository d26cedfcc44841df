"""Clients behind NATs: several behind one, several with the same source port behind different ones,
and NATs that forget quickly. A server with several addresses: test_server_addresses.py."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import lab
from streams import Payload, Stream, round_trip
from tunnels import (
    ENDPOINT_PORT,
    connect_through_tunnel,
    start_endpoint,
    start_server,
)


def test_clients_behind_one_nat_and_behind_several(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    scene = lab.nated(laboratory)
    target = scene.server_addresses[0]
    listener = start_server(start_tunnel, scene.server, options=("--log-peers",))
    for client in scene.all_clients:
        start_endpoint(start_tunnel, client, target)
    ends = [connect_through_tunnel(client, scene.server, target) for client in scene.all_clients]
    sizes = [(4 << 20) + 1000 * index for index, _ in enumerate(ends)]
    streams = [
        Stream(*direction, payload, size)
        for (near, far), size in zip(ends, sizes)
        for direction in ((near, far), (far, near))
    ]
    for stream in streams:
        stream.finish()
    assert len({far.getpeername()[0] for _, far in ends}) == len(ends), "an address for each"
    for end in (end for pair in ends for end in pair):
        end.close()
    peers = re.findall(r"peer ([\d.]+):(\d+) came", listener.errors())
    assert len(peers) == len(ends)
    for n in range(len(scene.nats)):
        assert (scene.nat_address(n), str(ENDPOINT_PORT)) in peers, "same port, other address"


def test_idle_connection_outlives_a_forgetful_nat(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """After ten of the NAT's time-outs the server speaks first, and is heard.

    It is heard thanks to the keepalives: a neighbour who sends none is lost by then.
    """
    nat_timeout = 2
    scene = lab.nated(laboratory, clients_per_nat=(2,))
    scene.udp_timeout(0, nat_timeout)
    target = scene.server_addresses[0]
    # The entry too outlives its time-out by nothing but keepalives.
    listener = start_server(
        start_tunnel, scene.server, options=("--connection-timeout", 2 * nat_timeout)
    )
    ends = []
    for client, keepalive in zip(scene.all_clients, (1, 0)):
        start_endpoint(start_tunnel, client, target, options=("--keepalive", keepalive))
        ends.append(connect_through_tunnel(client, scene.server, target))
        round_trip(*ends[-1])
    (kept, to_kept), (lost, to_lost) = ends
    time.sleep(10 * nat_timeout)  # the time itself is what is tested
    to_kept.sendall(b"still there?")
    assert kept.recv(100) == b"still there?"
    to_lost.sendall(b"still there?")
    lost.settimeout(1)
    try:
        heard = lost.recv(100)
    except TimeoutError:
        heard = b""
    assert not heard, "this NAT forgets nothing: the test shows nothing"
    counters = listener.counters()
    assert counters["connections"] == 1
    assert counters["in_keepalives"] >= 10
    for end in (kept, to_kept, lost, to_lost):
        end.close()
