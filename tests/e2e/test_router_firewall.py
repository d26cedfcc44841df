"""doc/router.md's rules for what comes out of the tunnel: what was asked for passes, and nothing else
reaches TCP, which would answer whoever was forged."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

import lab
from datagrams import BarePeer, a_segment, wait_until_accounted
from paths import shrink_path
from reference.packets import ACK, FIN, PSH, RST, SYN, Tcp
from streams import Payload, round_trip, transfer
from test_documentation import ROUTER_MD, fences
from tunnels import ENDPOINT_PORT, SERVER_PORT, TunnelledPair, start_endpoint, start_server

LISTED, UNLISTED = 5201, 5202
# What belongs to no connection, and what TCP answers where it is let: with a RST, all but the last.
STRAYS = (SYN | ACK, ACK, PSH | ACK, FIN | ACK, FIN, SYN | FIN, 0, RST)


def apply_firewall(host: lab.Host, room: str) -> None:
    """The rules that doc/router.md has a person type on the server or the router."""
    rules = [found[1] for fence in fences(ROUTER_MD) if fence.startswith(f"# on the {room}\n")
             and (found := re.search(r"^nft -f - <<'END'\n(.*? from_tunnel .*?)^END\n", fence,
                                     re.MULTILINE | re.DOTALL))]
    assert len(rules) == 1
    host.nft(rules[0])


def listen(host: lab.Host, port: int) -> socket.socket:
    with host.inside():
        return socket.create_server(("", port))


def test_strays_on_the_server(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """The first that a stranger hears of it is the answer to a SYN for a port that is listed."""
    scene = lab.pair(laboratory)
    apply_firewall(scene.server, "server")
    tunnel = start_server(start_tunnel, scene.server)
    with ExitStack() as stack:
        for port in (LISTED, UNLISTED):
            stack.enter_context(listen(scene.server, port))
        peer = stack.enter_context(
            BarePeer(scene.client, (scene.server_address, SERVER_PORT), 7000))
        sent = [a_segment(flags=flags, source_port=40000 + n, destination_port=port)
                for port in (LISTED, UNLISTED) for n, flags in enumerate(STRAYS)]
        sent += [a_segment(flags=SYN, destination_port=UNLISTED, acknowledgement=0)]
        for segment in sent:
            peer.send(segment)
        wait_until_accounted(tunnel, len(sent))
        peer.send(a_segment(flags=SYN, destination_port=LISTED, acknowledgement=0))
        answer = Tcp.parse(peer.receive())
        assert (answer.source_port, answer.flags) == (LISTED, SYN | ACK)
    assert scene.server.counter("TcpOutRsts") == 0


def test_strays_on_the_router(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """The first that a stranger hears of it is what the router sends by itself."""
    scene = lab.pair(laboratory)
    apply_firewall(scene.client, "router")
    tunnel = start_endpoint(start_tunnel, scene.client, scene.server_address)
    with listen(scene.client, LISTED), BarePeer(
        scene.server, (scene.client_address, ENDPOINT_PORT), SERVER_PORT, scene.server_address
    ) as peer:
        sent = [a_segment(flags=flags, source_port=80, destination_port=port + n)
                for port in (LISTED, 40000) for n, flags in enumerate((*STRAYS, SYN))]
        for segment in sent:
            peer.send(segment)
        wait_until_accounted(tunnel, len(sent))
        with scene.client.inside():
            near = socket.socket()
        with near:
            near.setblocking(False)
            near.connect_ex((scene.server_address, LISTED))
            assert Tcp.parse(peer.receive()).flags & (SYN | ACK | RST) == SYN
    assert scene.client.counter("TcpOutRsts") == 0


def test_paths_that_shrink(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """What the program itself says to TCP passes: a packet is too large for the path."""
    scene = lab.pair_routed(laboratory)
    apply_firewall(scene.server, "server")
    apply_firewall(scene.client, "router")
    pair: TunnelledPair = tunnelled_pair(scene=scene)
    with listen(scene.server, LISTED) as listener:
        with scene.client.inside():
            near = socket.create_connection((pair.target, LISTED), 10)
        far, _ = listener.accept()
    with near, far:
        for end in (near, far):
            end.settimeout(10)
        round_trip(near, far)
        shrink_path(scene)
        transfer(near, far, payload, 1 << 20)
        transfer(far, near, payload, 1 << 20)
    assert pair.endpoint.counters()["discard_out_too_big"] > 0
    assert pair.listener.counters()["discard_out_too_big"] > 0


@pytest.mark.parametrize("direction", [[], ["--reverse"]])
def test_multipath_transfers(laboratory: lab.Laboratory, direction: list[str]) -> None:
    """iperf3 uses both tunnels."""
    scene = lab.multiwan(laboratory, same_subnet=True)
    scene.strip_mptcp()
    apply_firewall(scene.server, "server")
    apply_firewall(scene.router, "router")
    tunnels = lab.TunnelledMultipath(scene)
    command = ["mptcpize", "run", "iperf3"]
    server = scene.server.start(*command, "--server", "--one-off", "--forceflush")
    server.expect("Server listening", stream="output")
    done = scene.router.run(*command, "--client", scene.server_address, "--bytes", "16M", "--json",
                            *direction)
    assert json.loads(done.stdout)["end"]["sum_received"]["bytes"] > 0
    assert scene.router.counter("MPTcpExtMPJoinSynAckRx") > 0
    for tunnel in tunnels.router_tunnels:
        counters = tunnel.counters()
        assert min(counters["in_bytes"], counters["out_bytes"]) > 0
        assert max(counters["in_bytes"], counters["out_bytes"]) > 2 << 20
