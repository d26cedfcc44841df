"""A peer that is gone, and says so in one of several ways, does the others no harm."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import lab
from datagrams import BarePeer, BareServer, a_segment
from reference.packets import Ipv4
from streams import Payload, Stream
from tunnels import (
    CLIENT_TUNNEL,
    SERVER_PORT,
    SERVER_TUNNEL,
    TunnelledPair,
    make_tunnelled_pair,
)
from wiretap import Wiretap

SIZE = 32 << 20
# A flood would be a test of something else.
BETWEEN_PACKETS = 0.0005
GONE_ADDRESS = "192.0.2.99"


def close_port(scene: lab.PairRouted, peer: BarePeer) -> None:
    """The peer's host answers ICMP port unreachable."""
    peer.socket.close()


def lose_route(scene: lab.PairRouted, peer: BarePeer) -> None:
    """A router answers ICMP host unreachable."""
    scene.middle.route("unreachable", f"{GONE_ADDRESS}/32")


def lose_host(scene: lab.PairRouted, peer: BarePeer) -> None:
    """A router finds nobody at the address, and says so when it has tried for a while."""
    scene.middle.sysctl("net.ipv4.neigh.eth0.retrans_time_ms", 10)
    scene.client.ip("address", "delete", f"{GONE_ADDRESS}/24", "dev", "eth0")
    scene.middle.ip("neighbour", "flush", "to", GONE_ADDRESS)


def transfer_while_sending_to(
    pair: TunnelledPair, payload: Payload, tap: Wiretap, source: str, gone: str
) -> None:
    """Transfers both ways on a healthy connection amid packets for a dead peer."""
    near, far = pair.connect()
    with near, far:
        for direction in ((near, far), (far, near)):
            stream = Stream(*direction, payload, SIZE)
            while not stream.done:
                tap.send(Ipv4(source, gone, a_segment(data=b"?" * 1000)).to_bytes())
                time.sleep(BETWEEN_PACKETS)
            stream.finish()


@pytest.mark.parametrize("go_away", [close_port, lose_route, lose_host])
def test_dead_peer_of_a_server(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
    go_away: Callable[[lab.PairRouted, BarePeer], None],
) -> None:
    scene = lab.pair_routed(laboratory)
    scene.client.address("eth0", f"{GONE_ADDRESS}/24")
    pair = make_tunnelled_pair(scene, start_tunnel)
    server = (scene.server_address, SERVER_PORT)
    with (
        Wiretap(scene.server, "tun0") as tap,
        BarePeer(scene.client, server, address=GONE_ADDRESS) as peer,
    ):
        gone = BareServer(scene, pair.listener, tap).introduce(peer)
        go_away(scene, peer)
        transfer_while_sending_to(pair, payload, tap, SERVER_TUNNEL, gone)
    told = sum(host.counter("IcmpOutDestUnreachs") for host in (scene.client, scene.middle))
    assert told > 0, "the server's host was never told: the test shows nothing"
    assert pair.listener.counters()["discard_out_send_error"] == 0


def test_dead_destinations_of_an_endpoint(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """One has no program at the port, the other does not exist."""
    pair: TunnelledPair = tunnelled_pair()
    closed, missing = "192.0.2.98", "192.0.2.99"
    # The server's own program hears at every address of the device: it is to hear nothing there.
    pair.server.address("eth0", f"{closed}/24")
    pair.server.nft(f"""
        table ip closed {{
            chain input {{
                type filter hook input priority filter
                ip daddr {closed} reject with icmp port-unreachable
            }}
        }}""")
    with Wiretap(pair.client, "tun0") as tap:
        for gone in (closed, missing):
            transfer_while_sending_to(pair, payload, tap, CLIENT_TUNNEL, gone)
    assert pair.client.counter("IcmpInDestUnreachs") > 0
    assert pair.endpoint.counters()["discard_out_send_error"] == 0
