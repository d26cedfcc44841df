"""The host around the program: packets that it forwards on, marks that it routes by, its firewall,
ECN on the way."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable

import pytest

import lab
from reference.packets import tcp_checksum_is_right
from paths import shrink_path
from streams import Payload, connect, transfer
from test_documentation import ROUTER_MD, fences
from tunnels import ENDPOINT_PORT, POOL, SERVER_PORT, TunnelledPair, masquerade
from wiretap import Wiretap

SIZE = 8 << 20
BEHIND = "172.31.0.2"


def count_packets(host: lab.Host, hook: str, **matches: str) -> None:
    """Count packets that match, under the names of the matches (see counted)."""
    rules = "\n".join(f"{match} counter name {name}" for name, match in matches.items())
    counters = "\n".join(f"counter {name} {{}}" for name in matches)
    host.nft(f"""
        table inet count {{
            {counters}
            chain packets {{
                type filter hook {hook} priority filter
                {rules}
            }}
        }}""")


def counted(host: lab.Host, name: str) -> int:
    """Packets that matched under this name."""
    listed = json.loads(host.run("nft", "--json", "list", "counter", "inet", "count", name).stdout)
    return next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)


def host_behind(server: lab.Host) -> lab.Host:
    """A host that is reached through the server only, over a cable on which nothing is offloaded:
    what the server's kernel did not finish arrives unfinished."""
    behind = lab.behind(server)
    for host, device in ((server, "lan0"), (behind, "eth0")):
        host.run("ethtool", "-K", device, "tx", "off", "rx", "off", "tso", "off", "gso", "off")
    return behind


@pytest.mark.parametrize("offload", ["on", "off"])
def test_forwarded_to_another_host(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload, offload: str
) -> None:
    """R5: behind the server too every TCP checksum is right, with and without address translation.

    The client reaches the other host at the server's address, which is translated.
    """
    pair: TunnelledPair = tunnelled_pair(options=("--offload", offload))
    behind = host_behind(pair.server)
    translate(pair.server)
    with Wiretap(behind, "eth0") as tap:
        near, far = connect(pair.client, behind, pair.target)
        with near, far:
            assert far.getpeername()[0] in map(str, POOL.hosts())
            transfer(near, far, payload, SIZE)
            transfer(far, near, payload, SIZE)
        for _ in range(1000):
            frame = tap.receive(lambda frame: not frame.outgoing)
            assert tcp_checksum_is_right(frame.packet)
    for host in (pair.client, pair.server, behind):
        assert host.counter("TcpInCsumErrors") == 0


def clamp(host: lab.Host) -> None:
    """The rules of doc/router.md with which what is forwarded fits into the tunnel."""
    fence = next(fence for fence in fences(ROUTER_MD) if "maxseg" in fence)
    host.nft(fence.partition("'END'\n")[2].partition("\nEND")[0])


def translate(server: lab.Host) -> None:
    """Who connects to the server through the tunnel reaches the host behind it."""
    server.nft(f"""
        table ip nat {{
            chain prerouting {{
                type nat hook prerouting priority dstnat
                iifname tun0 ip protocol tcp dnat to {BEHIND}
            }}
        }}""")


def data_a_read(tunnel: lab.Tunnel, ends: tuple[socket.socket, socket.socket], payload: Payload,
                ) -> float:
    """Bytes that the program takes from the tunnel interface at once, in the best of some transfers
    from the first end: in a slow one TCP makes smaller packets. Closes both."""
    def one_transfer() -> float:
        before = tunnel.counters()
        transfer(*ends, payload, 4 * SIZE)
        after = tunnel.counters()
        return (after["out_bytes"] - before["out_bytes"]) / (after["out_packets"]
                                                             - before["out_packets"])

    with ends[0], ends[1]:
        return max(one_transfer() for _ in range(4))


def test_a_lan_keeps_its_super_packets(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """What a router forwards into the tunnel comes in as few packets as what it sends itself."""
    pair = tunnelled_pair()
    inside = lab.behind(pair.client, "inside")
    clamp(pair.client)
    masquerade(pair.client)
    own = data_a_read(pair.endpoint, pair.connect(), payload)
    ends = connect(inside, pair.server, pair.target)
    assert data_a_read(pair.endpoint, ends, payload) > 0.9 * own


def test_a_container_keeps_its_super_packets(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """The same behind the server, which translates its address."""
    pair = tunnelled_pair()
    container = lab.behind(pair.server, "container")
    clamp(pair.server)
    near, far = pair.connect()
    own = data_a_read(pair.listener, (far, near), payload)
    translate(pair.server)
    near, far = connect(pair.client, container, pair.target)
    assert data_a_read(pair.listener, (far, near), payload) > 0.9 * own


def test_a_clamp_lets_those_pass_that_send_without_df(
    tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """Between a LAN and a container: what is cut on its way into the tunnel is lost, as
    doc/router.md says."""
    pair = tunnelled_pair()
    inside = lab.behind(pair.client, "inside", "172.31.1")
    masquerade(pair.client)
    container = lab.behind(pair.server, "container")
    container.sysctl("net.ipv4.ip_no_pmtu_disc", 1)
    translate(pair.server)
    near, far = connect(inside, container, pair.target)
    with near, far:
        far.sendall(bytes(SIZE // 256))
        lab.wait_until(lambda: pair.listener.counters()["discard_out_fragment"] > 0)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    clamp(pair.server)
    lost = pair.listener.counters()["discard_out_fragment"]
    near, far = connect(inside, container, pair.target)
    with near, far:
        transfer(far, near, payload, SIZE)
    assert pair.listener.counters()["discard_out_fragment"] == lost


def test_fwmark(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """Every outer packet has the mark, a keepalive too; without the option none has."""
    pair: TunnelledPair = tunnelled_pair(
        endpoint_options=("--fwmark", "0x2a", "--keepalive", 1)
    )
    for host, port in ((pair.client, ENDPOINT_PORT), (pair.server, SERVER_PORT)):
        count_packets(
            host, "output",
            marked=f"udp sport {port} meta mark 0x2a",
            other=f"udp sport {port} meta mark != 0x2a",
        )
    near, far = pair.connect()
    with near, far:
        lab.wait_until(lambda: pair.endpoint.counters()["keepalives_sent"])
    assert counted(pair.client, "marked") > 3
    assert counted(pair.client, "other") == 0
    assert counted(pair.server, "marked") == 0
    assert counted(pair.server, "other") > 0


def test_routed_by_mark(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """What the mark is for: another route than the rest, whose path MTU is the one that counts."""
    scene = lab.pair_routed(laboratory)
    scene.client.ip("route", "replace", "default", "via", "192.0.2.253")  # nobody is there
    scene.client.route("default", "via", "192.0.2.254", "table", 300)
    scene.client.rule("fwmark", 7, "lookup", 300)
    pair: TunnelledPair = tunnelled_pair(scene=scene, endpoint_options=("--fwmark", 7))
    shrink_path(scene)
    near, far = pair.connect()
    with near, far:
        transfer(near, far, payload, SIZE)
        transfer(far, near, payload, SIZE)


def test_firewall_refuses(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """A local firewall that forbids the datagrams is counted as such, and may change its mind."""
    pair: TunnelledPair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        pair.client.nft(f"""
            table inet forbid {{
                chain output {{
                    type filter hook output priority filter
                    udp dport {SERVER_PORT} drop
                }}
            }}""")
        near.sendall(b"later")
        lab.wait_until(lambda: pair.endpoint.counters()["discard_out_refused_locally"])
        pair.client.nft("delete table inet forbid")
        assert far.recv(100) == b"later"


def test_congestion_is_felt_through_the_tunnel(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    """A router on the way marks datagrams CE; the inner TCP hears of it, and nothing is lost."""
    scene = lab.pair_routed(laboratory)
    pair: TunnelledPair = tunnelled_pair(scene=scene)
    for host in (scene.client, scene.server):
        host.sysctl("net.ipv4.tcp_ecn", 1)
    scene.middle.nft("""
        table ip congestion {
            chain forward {
                type filter hook forward priority mangle
                ip ecn ect0 numgen random mod 20 < 1 ip ecn set ce
            }
        }""")
    count_packets(scene.server, "input", ce="iifname tun0 ip ecn ce")
    near, far = pair.connect()
    with near, far:
        transfer(near, far, payload, SIZE)
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & 8, "no ECN"
    assert counted(scene.server, "ce") > 0
    assert scene.client.counter("TcpExtTCPDeliveredCE") > 0
