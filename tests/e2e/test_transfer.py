"""Much data, compared by its hash: large files both ways, many connections at once."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable

import pytest

from streams import Payload, transfer
from tunnels import TunnelledPair

CONNECTIONS = 200


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("offload", ["on", "off"])
def test_large_file_both_ways(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload, offload: str, threads: int
) -> None:
    pair: TunnelledPair = tunnelled_pair(options=("--offload", offload, "--threads", threads))
    near, far = pair.connect()
    with near, far:
        transfer(near, far, payload)
        transfer(far, near, payload)
    for tunnel in (pair.endpoint, pair.listener):
        counters = tunnel.counters()
        assert min(counters["in_bytes"], counters["out_bytes"]) > payload.size
        assert bool(counters["out_gso_messages"]) == (offload == "on")
        assert bool(counters["in_super_packets"]) == (offload == "on")
        assert counters["gso_fallbacks"] == 0


@pytest.mark.parametrize("off", ["tun-offload", "udp-segmentation", "udp-gro"])
def test_without_one_offload(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload, off: str
) -> None:
    """The two others stay in use, and the log says which one is not."""
    pair: TunnelledPair = tunnelled_pair(options=(f"--{off}", "off"))
    near, far = pair.connect()
    with near, far:
        transfer(near, far, payload, 16 << 20)
        transfer(far, near, payload, 16 << 20)
    for tunnel in (pair.endpoint, pair.listener):
        assert re.search(f"ready: .* offload on without {off}$", tunnel.errors(), re.MULTILINE)
        counters = tunnel.counters()
        assert bool(counters["out_super_packets"]) == (off != "tun-offload")
        assert bool(counters["in_super_packets"]) == (off != "tun-offload")
        assert counters["gso_fallbacks"] == 0
        if off == "udp-segmentation":
            assert counters["out_gso_messages"] == 0
        elif off == "udp-gro":
            assert counters["out_gso_messages"] > 0
            assert counters["in_gro_messages"] == 0
        else:
            assert counters["in_gro_messages"] > 0


def test_devices_that_offload_nothing(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """The kernel has to do all that a device usually does; older ones then refuse GSO (EIO)."""
    pair: TunnelledPair = tunnelled_pair()
    for host in (pair.client, pair.server):
        for feature in ("gro", "gso", "tso", "tx", "rx", "sg"):
            host.run("ethtool", "-K", "eth0", feature, "off")
    near, far = pair.connect()
    with near, far:
        transfer(near, far, payload, 32 << 20)
        transfer(far, near, payload, 32 << 20)


async def exchange(near: socket.socket, far: socket.socket, data: bytes) -> None:
    """Send the same both ways at the same time and compare."""
    loop = asyncio.get_running_loop()

    async def receive(receiver: socket.socket) -> bytes:
        received = bytearray()
        while len(received) < len(data):
            piece = await loop.sock_recv(receiver, 1 << 16)
            assert piece, f"connection ended after {len(received)} bytes"
            received += piece
        return bytes(received)

    *_, at_far, at_near = await asyncio.gather(
        loop.sock_sendall(near, data), loop.sock_sendall(far, data), receive(far), receive(near)
    )
    assert at_far == data and at_near == data


@pytest.mark.parametrize("threads", [1, 4])
def test_many_connections_at_once(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload, threads: int
) -> None:
    pair: TunnelledPair = tunnelled_pair(options=("--threads", threads))
    size = 100_000
    pairs = [pair.connect() for _ in range(CONNECTIONS)]

    async def all_at_once() -> None:
        everything = payload.head(size + len(pairs))
        async with asyncio.timeout(60):
            await asyncio.gather(*(
                exchange(near, far, everything[index:index + size])
                for index, (near, far) in enumerate(pairs)
            ))

    for each in (end for ends in pairs for end in ends):
        each.setblocking(False)
    asyncio.run(all_at_once())
    for each in (end for ends in pairs for end in ends):
        each.close()
    assert pair.listener.counters()["connections_made"] == 1, "all of them have one UDP peer"
