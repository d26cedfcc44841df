"""Segments that were damaged before they came to the tunnel: the far end makes their checksum anew,
so they must not get there (T7)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest

import lab
from datagrams import BarePeer
from reference.packets import SYN, Ipv4, Tcp
from streams import Payload, connect, transfer
from tunnels import ENDPOINT_PORT, SERVER_PORT, masquerade, start_endpoint, start_server

LAN_HOST = "172.31.0.2"
SIZE = 8 << 20
# Enough connections for each of a few queues to get some.
CONNECTIONS = 8


def host_behind(router: lab.Host) -> lab.Host:
    """A host, or a container, whose TCP the router masquerades into its tunnel without a look at
    checksums, as OpenWrt has it."""
    behind = lab.behind(router)
    masquerade(router)
    router.sysctl("net.netfilter.nf_conntrack_checksum", 0)
    return behind


@dataclass(frozen=True)
class RawSender:
    """Sends TCP past its host's own TCP, damaged on its way where that is wanted."""

    host: lab.Host
    destination: str

    def send(self, port: int, data: bytes, damaged: bool) -> None:
        """One segment, whose first byte of data another one took the place of after its checksum
        was made."""
        segment = Tcp(port, 80, sequence=1, flags=SYN, data=data).to_bytes(
            LAN_HOST, self.destination
        )
        if damaged:
            at = len(segment) - len(data)
            segment = segment[:at] + bytes([segment[at] ^ 0x20]) + segment[at + 1:]
        with self.host.inside():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            raw.sendto(Ipv4(LAN_HOST, self.destination, segment).to_bytes(), (self.destination, 0))


def assert_only_right_ones_come_out(tunnel: lab.Tunnel, sender: RawSender, peer: BarePeer) -> None:
    """Of several connections' segments, each after one that was damaged."""
    assert tunnel.counters()["discard_out_bad_checksum"] == 0
    for number in range(CONNECTIONS):
        port = 41000 + number
        sender.send(port, b"wrong" * 20, damaged=True)
        lab.wait_until(
            lambda: tunnel.counters()["discard_out_bad_checksum"] == number + 1,
            what="nothing was discarded",
        )
        sender.send(port, b"right" * 20, damaged=False)
        assert Tcp.parse(peer.receive()).data == b"right" * 20
    counters = tunnel.counters()
    assert counters["discard_out_bad_checksum"] == CONNECTIONS
    assert counters["out_segments"] == CONNECTIONS


OPTIONS = [("on", 1), ("off", 1), ("on", 4)]


@pytest.mark.parametrize("offload, threads", OPTIONS)
def test_damaged_in_the_lan(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    offload: str,
    threads: int,
) -> None:
    scene = lab.pair(laboratory)
    behind = host_behind(scene.client)
    options = ("--offload", offload, "--threads", threads)
    tunnel = start_endpoint(start_tunnel, scene.client, scene.server_address, options=options)
    with BarePeer(
        scene.server, (scene.client_address, ENDPOINT_PORT), SERVER_PORT, scene.server_address
    ) as peer:
        sender = RawSender(behind, scene.server_address)
        assert_only_right_ones_come_out(tunnel, sender, peer)


@pytest.mark.parametrize("offload, threads", OPTIONS)
def test_damaged_in_a_container_of_the_server(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    offload: str,
    threads: int,
) -> None:
    scene = lab.pair(laboratory)
    behind = host_behind(scene.server)
    options = ("--offload", offload, "--threads", threads, "--log-peers")
    tunnel = start_server(start_tunnel, scene.server, options=options)
    with BarePeer(
        scene.client, (scene.server_address, SERVER_PORT), address=scene.client_address
    ) as peer:
        peer.send(b"")
        tunnel.expect(f"peer {peer.name} came, tunnel address ")
        address = tunnel.everything().partition(f"peer {peer.name} came, tunnel address ")[2]
        sender = RawSender(behind, address.split(",")[0])
        assert_only_right_ones_come_out(tunnel, sender, peer)


@pytest.mark.parametrize("offload", ["on", "off"])
@pytest.mark.parametrize("lan", ["on", "off"])
def test_what_is_right_is_never_discarded(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    payload: Payload,
    offload: str,
    lan: str,
) -> None:
    """Forwarded transfers, with checksums that the LAN's devices leave to others or make."""
    scene = lab.pair(laboratory)
    behind = host_behind(scene.client)
    for host, device in ((scene.client, "lan0"), (behind, "eth0")):
        host.run("ethtool", "-K", device, "tx", lan, "rx", lan, "tso", lan, "gso", lan)
    options = ("--offload", offload)
    tunnels = (
        start_server(start_tunnel, scene.server, options=options),
        start_endpoint(start_tunnel, scene.client, scene.server_address, options=options),
    )
    near, far = connect(behind, scene.server, scene.server_address)
    with near, far:
        transfer(near, far, payload, SIZE)
        transfer(far, near, payload, SIZE)
    for tunnel in tunnels:
        counters = tunnel.counters()
        assert counters["discard_out_bad_checksum"] == 0
        assert counters["out_bytes"] > SIZE
