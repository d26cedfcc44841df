"""Tunnel interfaces that refuse packets which others take, as some vendors' kernels do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import lab
from datagrams import BareServer, a_segment
from reference.packets import ACK, FIN, PSH, without_checksum
from streams import Payload, transfer
from tunnels import TunnelledPair
from wiretap import written_to_tunnel

SIZE = 32 << 20
MSS = 1000
SEGMENTS = 20
# Refused in a row; the next one ends the trying.
PATIENCE = 3
GIVEN_UP = "the kernel refuses coalesced packets on tun0 (Invalid argument)"


def refusing(*words: str, **more: object) -> dict[str, object]:
    """Arguments for lab.Tunnel: what its interface refuses."""
    return {"interpose": ("tun_refuse",), "env": {"TUN_REFUSE": " ".join(words), **more}}


def a_run(first: int, segments: int = SEGMENTS) -> list[bytes]:
    """Segments of one connection that are coalesced: only the last is short, and has flags."""
    return [
        a_segment(
            sequence=first + n * MSS,
            flags=ACK | (PSH | FIN if n == segments - 1 else 0),
            data=bytes([n]) * (MSS if n < segments - 1 else 7),
        )
        for n in range(segments)
    ]


def assert_arrives_singly(server: BareServer, run: list[bytes], needs_checksum: bool) -> None:
    """Each segment is a packet, once, in order and as it was sent."""
    for expected in run:
        frame = server.tap.receive(written_to_tunnel)
        assert without_checksum(frame.packet.payload) == without_checksum(expected)
        assert frame.gso_size == 0
        assert frame.needs_checksum == needs_checksum
        assert frame.checksum_is_right()


@pytest.mark.parametrize(
    "words", [("coalesced",), ("coalesced", "full"), ("coalesced", "prepared", "full")]
)
def test_each_segment_goes_in_once_and_as_it_came(
    bare_server: Callable[..., BareServer], words: tuple[str, ...]
) -> None:
    """Refused as a whole, it comes apart; after more than three, it is not even put together."""
    server = bare_server(options=("--threads", 1), **refusing(*words))
    with server.peer() as peer:
        for number in range(1, PATIENCE + 4):
            run = a_run(1_000_000 * number)
            peer.send_run(run)
            assert_arrives_singly(server, run, needs_checksum="prepared" not in words)
            # the worker counts behind its writes
            lab.wait_until(lambda: server.tunnel.counters()["in_packets"] == number * SEGMENTS)
            lab.wait_until(lambda: server.tunnel.counters()["tun_fallbacks"]
                           == min(number, PATIENCE + 1))
            lab.wait_until(lambda: (GIVEN_UP in server.tunnel.everything())
                           == (number > PATIENCE))
        counters = server.tunnel.counters()
        assert counters["in_super_packets"] == 0
        assert counters["discard_in_write_error"] == 0
        assert (counters["backpressure_tun"] > 0) == ("full" in words)
        assert server.tunnel.everything().count(GIVEN_UP) == 1


def test_one_that_is_taken_is_patience_regained(
    bare_server: Callable[..., BareServer], tmp_path: Path
) -> None:
    """A kernel that refuses for a moment costs nothing in the long run."""
    refuses = tmp_path / "refuses"
    server = bare_server(
        options=("--threads", 1), **refusing("coalesced", TUN_REFUSE_WHILE=refuses)
    )
    number = 0
    with server.peer() as peer:
        for _ in range(2):
            refuses.touch()
            for _ in range(PATIENCE):
                number += 1
                run = a_run(1_000_000 * number)
                peer.send_run(run)
                assert_arrives_singly(server, run, needs_checksum=True)
            refuses.unlink()
            number += 1
            run = a_run(1_000_000 * number)
            peer.send_run(run)
            frame = server.tap.receive(written_to_tunnel)
            assert frame.segments() == run
    counters = server.tunnel.counters()
    assert counters["tun_fallbacks"] == 2 * PATIENCE
    assert counters["in_super_packets"] == 2
    assert GIVEN_UP not in server.tunnel.everything()


def test_a_single_is_refused_its_prepared_checksum(
    bare_server: Callable[..., BareServer],
) -> None:
    """What was never coalesced gets its whole checksum too, an acknowledgment as well."""
    server = bare_server(**refusing("prepared"))
    with server.peer() as peer:
        for data in (b"", b"odd"):
            segment = a_segment(data=data)
            peer.send(segment)
            assert_arrives_singly(server, [segment], needs_checksum=False)
    counters = server.tunnel.counters()
    assert counters["tun_fallbacks"] == counters["discard_in_write_error"] == 0


@pytest.mark.parametrize(
    "words, threads",
    [(("coalesced",), 1), (("coalesced", "full"), 4), (("coalesced", "prepared", "full"), 1)],
)
def test_transfers_are_intact(
    tunnelled_pair: Callable[..., TunnelledPair],
    payload: Payload,
    tmp_path: Path,
    words: tuple[str, ...],
    threads: int,
) -> None:
    """Both ways; nothing is lost, doubled or overtaken, and the end of the refusals either."""
    refuses = tmp_path / "refuses"
    refuses.touch()
    pair: TunnelledPair = tunnelled_pair(
        options=("--threads", threads), both=refusing(*words, TUN_REFUSE_WHILE=refuses)
    )
    near, far = pair.connect()
    with near, far:
        transfer(near, far, payload, SIZE)
        transfer(far, near, payload, SIZE)
        for tunnel in (pair.endpoint, pair.listener):
            counters = tunnel.counters()
            assert counters["tun_fallbacks"] > PATIENCE
            assert counters["discard_in_write_error"] == 0
            assert tunnel.everything().count(GIVEN_UP) == 1
        refuses.unlink()
        transfer(near, far, payload, SIZE)
    for host in (pair.client, pair.server):
        assert host.counter("TcpExtTCPDSACKOldSent") == 0, "segments came twice"
        assert host.counter("TcpExtTCPOFOQueue") == 0, "segments came out of order"
        assert host.counter("TcpInCsumErrors") == 0
