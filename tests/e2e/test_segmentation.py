"""Segmentation that does not work: given up for a peer, for the device only when several fail, and
nothing is lost."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import lab
from datagrams import BarePeer, BareServer, a_segment
from reference.packets import Ipv4
from tunnels import SERVER_TUNNEL

MSS = 1000
SEGMENTS = 8
GIVEN_UP = "segmentation offload does not work on eth0"


class Peers:
    """Four peers of a server whose kernel refuses to cut what is for those in a file."""

    def __init__(self, server: BareServer, refused: Path, stack: ExitStack) -> None:
        self.server = server
        self._refused = refused
        self.all = [stack.enter_context(server.peer()) for _ in range(4)]
        self._addresses = {peer: server.introduce(peer) for peer in self.all}

    def refuse(self, *peers: BarePeer) -> None:
        """From now on, and no others."""
        self._refused.write_text("".join(f"{peer.name}\n" for peer in peers))

    def whole_messages(self, *peers: BarePeer, source_port: int = 40000) -> int:
        """Send each a super-packet, which must arrive whole; how many messages were cut for it."""
        before = self.server.tunnel.counters()
        for peer in peers:
            data = b"".join(struct.pack("!I", n) * (MSS // 4) for n in range(SEGMENTS))
            segment = a_segment(data=data, source_port=source_port)
            packet = Ipv4(SERVER_TUNNEL, self._addresses[peer], segment)
            self.server.tap.send(packet.to_bytes(), gso_size=MSS)
            assert b"".join(peer.receive()[20:] for _ in range(SEGMENTS)) == data

        def counted() -> dict[str, int] | None:
            """A worker counts behind the call that sends, so a peer may have it before."""
            now = self.server.tunnel.counters()
            sent = now["out_segments"] - before["out_segments"]
            return now if sent == SEGMENTS * len(peers) else None

        return lab.wait_until(counted)["out_gso_messages"] - before["out_gso_messages"]


def make_peers(
    laboratory: lab.Laboratory,
    bare_server: Callable[..., BareServer],
    stack: ExitStack,
    threads: int = 1,
) -> Peers:
    """A server with such a kernel, which refuses nobody yet."""
    refused = laboratory.new_file("refused")
    server = bare_server(
        options=("--threads", threads),
        interpose=("refuse_segmentation",),
        env={"REFUSE_SEGMENTATION_TO": refused},
    )
    return Peers(server, refused, stack)


def test_one_peer(
    laboratory: lab.Laboratory, bare_server: Callable[..., BareServer]
) -> None:
    """However often it fails for one, the others' messages stay as they are; and what one worker
    finds out about a peer the others know."""
    with ExitStack() as stack:
        peers = make_peers(laboratory, bare_server, stack, threads=4)
        tunnel = peers.server.tunnel
        bad, *others = peers.all
        assert peers.whole_messages(*peers.all) == 4
        peers.refuse(bad)
        for port in range(40000, 40012):
            assert peers.whole_messages(bad, *others, source_port=port) == 3
        # It was tried once, and not again within the minute, although it would work.
        assert tunnel.counters()["gso_fallbacks"] == 1
        peers.refuse()
        assert peers.whole_messages(bad) == 0
        assert GIVEN_UP not in tunnel.errors()


def test_three_peers(
    laboratory: lab.Laboratory, bare_server: Callable[..., BareServer]
) -> None:
    """Then it is the device: given up for all, and told once."""
    with ExitStack() as stack:
        peers = make_peers(laboratory, bare_server, stack)
        tunnel = peers.server.tunnel
        *bad, other = peers.all
        peers.refuse(*bad)
        assert peers.whole_messages(*bad[:2], other) == 1
        assert GIVEN_UP not in tunnel.errors()
        assert peers.whole_messages(bad[2], other) == 0
        tunnel.expect("tried again every minute")
        for _ in range(3):
            assert peers.whole_messages(*peers.all) == 0
        assert tunnel.counters()["gso_fallbacks"] == 3
        assert tunnel.errors().count(GIVEN_UP) == 1
