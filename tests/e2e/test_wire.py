"""Malformed and hostile datagrams (rules W1 to W4): each is counted for what it is, none makes the
program stumble, and only W1 and W2 make an entry."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

import pytest

import lab
from datagrams import BareEndpoint, BareServer, a_segment, wait_until_accounted
from reference.packets import LARGEST_UDP_PAYLOAD, Ipv4, Kind, Udp, kind_of
from streams import Payload, round_trip, transfer
from tunnels import POOL, SERVER_PORT, SERVER_TUNNEL, TunnelledPair

COUNTER = {
    Kind.SEGMENT: "in_segments",
    Kind.KEEPALIVE: "in_keepalives",
    Kind.CONTROL: "discard_in_control",
    Kind.MALFORMED: "discard_in_malformed",
}


def with_data_offset(words: int, length: int) -> bytes:
    """A payload of this length whose data offset field says so many words."""
    payload = bytearray(length)
    payload[12] = words << 4
    return bytes(payload)


PAYLOADS = {
    "empty": (b"", Kind.KEEPALIVE),
    **{f"{length} bytes": (b"\x50" * length, Kind.MALFORMED) for length in range(1, 20)},
    **{
        f"data offset {words}, {length} bytes": (with_data_offset(words, length), Kind.CONTROL)
        for words in range(5)
        for length in (20, 60, 1472)
    },
    "shortest segment": (with_data_offset(5, 20), Kind.SEGMENT),
    "longest header": (with_data_offset(15, 60), Kind.SEGMENT),
    **{
        f"data offset {words}, one byte short": (
            with_data_offset(words, words * 4 - 1), Kind.MALFORMED
        )
        for words in range(6, 16)
    },
    "control, as large as UDP can": (with_data_offset(0, LARGEST_UDP_PAYLOAD), Kind.CONTROL),
    "segment, as large as UDP can": (with_data_offset(5, LARGEST_UDP_PAYLOAD), Kind.SEGMENT),
}


@pytest.mark.parametrize("offload", ["on", "off"])
def test_each_payload_is_counted_for_what_it_is(
    bare_server: Callable[..., BareServer], offload: str
) -> None:
    """Each from a peer of its own, so that the number of entries shows which of them made one."""
    server = bare_server(options=("--offload", offload))
    before = server.tunnel.counters()
    for name, (payload, kind) in PAYLOADS.items():
        assert kind_of(payload) is kind, name
        with server.peer() as peer:
            peer.send(payload)
        entries = kind in (Kind.SEGMENT, Kind.KEEPALIVE)

        def counted() -> dict[str, int] | None:
            after = server.tunnel.counters()
            right = (
                after[COUNTER[kind]] == before[COUNTER[kind]] + 1
                and after["connections_made"] == before["connections_made"] + entries
            )
            return after if right else None

        before = lab.wait_until(counted, what=f"{name} was not counted as {kind}")


def test_endpoint_counts_them_too(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    endpoint = bare_endpoint()
    kinds = [kind for _, kind in PAYLOADS.values()]
    for payload, _ in PAYLOADS.values():
        endpoint.remote.send(payload)
    counters = wait_until_accounted(endpoint.tunnel, len(PAYLOADS))
    assert {name: counters[name] for name in COUNTER.values()} == {
        name: kinds.count(kind) for kind, name in COUNTER.items()
    }


@pytest.mark.parametrize("size", [1, 19, 20, 40, 1472])
def test_floods_that_arrive_as_one_buffer(
    bare_server: Callable[..., BareServer], size: int
) -> None:
    """Good and bad ones of one size in the same buffer are told apart."""
    server = bare_server()
    generator = random.Random(size)
    kinds = {kind: 0 for kind in Kind}
    sent = 0
    with server.peer() as peer:
        for _ in range(50):
            run = []
            for _ in range(min(60, LARGEST_UDP_PAYLOAD // size)):
                payload = bytearray(generator.randbytes(size))
                if size > 12:
                    payload[12] = generator.randrange(256)
                run.append(bytes(payload))
                kinds[kind_of(run[-1])] += 1
            peer.send_run(run)
            sent += len(run)
            counters = wait_until_accounted(server.tunnel, sent)
    assert {name: counters[name] for name in COUNTER.values()} == {
        name: kinds[kind] for kind, name in COUNTER.items()
    }
    assert counters["connections_made"] == bool(kinds[Kind.SEGMENT])


def spoofing_socket(host: lab.Host) -> socket.socket:
    """A raw socket whose packets carry whatever header they are given."""
    with host.inside():
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def test_a_stranger_sends_anything_from_anywhere(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """Spoofed sources fill the pool; the connection that was there goes on, the program lives."""
    pair = tunnelled_pair()
    pair.server.sysctl("net.ipv4.conf.all.rp_filter", 0)
    pair.server.sysctl("net.ipv4.conf.eth0.rp_filter", 0)
    near, far = pair.connect()
    with near, far, lab.HostileSender(pair.scene, SERVER_PORT) as stranger:
        for _ in range(20):
            stranger.send(1000)
            round_trip(near, far)
        transfer(near, far, payload, 4 << 20)
        transfer(far, near, payload, 4 << 20)
    counters = pair.listener.counters()
    assert counters["connections_refused"] > 0
    assert counters["discard_in_malformed"] > 0
    assert counters["discard_in_control"] > 0


def test_a_peer_at_port_zero(bare_server: Callable[..., BareServer]) -> None:
    """Nothing can be sent to port 0; trying to must hurt nobody else."""
    server = bare_server()
    scene = server.scene
    segment = a_segment()
    datagram = Udp(0, SERVER_PORT, segment).to_bytes(scene.client_address, scene.server_address)
    packet = Ipv4(
        scene.client_address, scene.server_address, datagram, protocol=socket.IPPROTO_UDP
    )
    with spoofing_socket(scene.client) as raw, server.peer() as peer:
        raw.sendto(packet.to_bytes(), (scene.server_address, 0))
        wait_until_accounted(server.tunnel, 1)
        good = server.introduce(peer)
        last = a_segment()
        for destination in (*map(str, POOL.hosts()), good):
            server.tap.send(Ipv4(SERVER_TUNNEL, destination, last).to_bytes())
        assert peer.receive()[4:8] == last[4:8]
