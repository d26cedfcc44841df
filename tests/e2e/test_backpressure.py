"""A slow WAN: the program waits for it without spinning, holds little, keeps the queue short."""

from __future__ import annotations

import socket
import statistics
import struct
import time
from collections.abc import Callable

import pytest

from streams import Payload, Stream
from tunnels import TunnelledPair

RATE = "20mbit"
SIZE = 8 << 20
SAMPLE_SECONDS = 0.02
# What a person at this end of a slow link puts up with, in seconds.
LONGEST_DELAY = 0.5
# One who fills every queue until something is lost is told late, but is told.
LONGEST_DELAY_OF_THE_GREEDY = 2.0
_TCPI_RTT = 68


def delay(end: socket.socket) -> float:
    """The round trip that the kernel measures on a connection, in seconds: all of it is queueing
    here."""
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCPI_RTT + 4)
    return struct.unpack_from("=I", info, _TCPI_RTT)[0] / 1e6


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize(
    "latency, congestion_control, size",
    [("50ms", "cubic", SIZE), ("1s", "cubic", SIZE), ("1s", "reno", 3 * SIZE)],
)
def test_slow_link(
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
    sanitized: bool,
    record_property: Callable[[str, object], None],
    direction: str,
    latency: str,
    congestion_control: str,
    size: int,
) -> None:
    """The link drops what waits longer than `latency`; where that is long, the socket fills."""
    pair: TunnelledPair = tunnelled_pair(options=("--threads", 2))
    for host in (pair.client, pair.server):
        host.tbf("eth0", RATE, latency=latency)
    tunnels = (pair.endpoint, pair.listener)
    near, far = pair.connect()
    with near, far:
        sender, receiver = (near, far) if direction == "up" else (far, near)
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion_control.encode())
        resident = [tunnel.rss() for tunnel in tunnels]
        worked = [sum(tunnel.cpu_seconds()) for tunnel in tunnels]
        started = time.monotonic()
        stream = Stream(sender, receiver, payload, size)
        delays: list[float] = []
        growth = 0
        while not stream.done:
            delays.append(delay(sender))
            growth = max(growth, *(t.rss() - before for t, before in zip(tunnels, resident)))
            time.sleep(SAMPLE_SECONDS)
        stream.finish()
        wall = time.monotonic() - started
        share = max(sum(t.cpu_seconds()) - before for t, before in zip(tunnels, worked)) / wall
    settled = delays[len(delays) * 2 // 3:]
    measured = {
        "median_delay": statistics.median(delays),
        "longest_delay": max(delays),
        "longest_when_settled": max(settled),
        "cpu_share": share,
        "memory_growth": growth,
    }
    record_property("measured", measured)
    print(direction, latency, congestion_control, measured)

    assert share < (0.5 if sanitized else 0.2), measured
    assert growth < (32 << 20 if sanitized else 8 << 20), measured
    assert max(settled) < LONGEST_DELAY, measured
    longest = LONGEST_DELAY_OF_THE_GREEDY if congestion_control == "reno" else LONGEST_DELAY
    assert max(delays) < longest, measured
    if latency == "1s":
        slow_end = pair.endpoint if direction == "up" else pair.listener
        assert slow_end.counters()["backpressure_udp"] > 0, "the socket was never full"
