"""Segments of a connection arrive in the order in which they were sent, with any number of
threads: most of all when connections that have been idle burst at the same time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import lab
from streams import Payload, Stream
from tunnels import TunnelledPair

# Small enough that no buffer overflows: what is lost makes others come out of order too.
FLOWS, BURST = 16, 256 << 10
GROUPS = 16  # of flows that burst together, one group after the other
# After 3 s without a write the tun driver forgets to which queue a flow belongs.
IDLE_SECONDS = 6
OUT_OF_ORDER = "TcpExtTCPOFOQueue"

Ends = list[tuple[socket.socket, socket.socket]]


def burst(ends: Ends, payload: Payload) -> None:
    """Send on all connections at once."""
    streams = [Stream(sender, receiver, payload, BURST) for sender, receiver in ends]
    for stream in streams:
        stream.finish()


def out_of_order(pair: TunnelledPair, groups: list[Ends], payload: Payload) -> int:
    """Segments that arrived out of order while each group burst, first one way, then back."""
    hosts = (pair.client, pair.server)
    before = sum(host.counter(OUT_OF_ORDER) for host in hosts)
    for ends in groups:
        burst(ends, payload)
        burst([(far, near) for near, far in ends], payload)
    return sum(host.counter(OUT_OF_ORDER) for host in hosts) - before


def another_pair(laboratory: lab.Laboratory) -> lab.Pair:
    """A second scene like lab.pair, not connected to it."""
    scene = lab.Pair(laboratory.host("client2"), laboratory.host("server2"))
    laboratory.link(scene.client, "eth0", scene.server, "eth0")
    scene.client.address("eth0", f"{scene.client_address}/24")
    scene.server.address("eth0", f"{scene.server_address}/24")
    return scene


def test_bursts_after_idling(
    laboratory: lab.Laboratory,
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
) -> None:
    """With four threads no more segments come out of order than with one; both idle together."""
    pairs = []
    for threads, scene in ((1, lab.pair(laboratory)), (4, another_pair(laboratory))):
        pair = tunnelled_pair(scene=scene, options=("--threads", threads))
        for host in (pair.client, pair.server):
            host.sysctl("net.ipv4.tcp_slow_start_after_idle", 0)
        pairs.append((pair, [[pair.connect() for _ in range(FLOWS)] for _ in range(GROUPS)]))
    for pair, groups in pairs:
        out_of_order(pair, groups, payload)
    time.sleep(IDLE_SECONDS)  # the time itself is what is tested
    with_one, with_four = (out_of_order(pair, groups, payload) for pair, groups in pairs)
    print("out of order:", with_one, "with one thread,", with_four, "with four")
    assert with_four <= with_one
