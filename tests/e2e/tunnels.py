"""How the tests connect hosts through the program: names and numbers that all of them share, and
the usual pair of an endpoint and a server."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lab
from streams import connect

SERVER_PORT = 5000
# Another one than the server's, so that a mix-up shows.
ENDPOINT_PORT = 5001

SERVER_TUNNEL = "10.64.0.1"
SERVER_CIDR = f"{SERVER_TUNNEL}/24"
POOL = ipaddress.ip_network("10.64.0.0/24")

CLIENT_TUNNEL = "10.65.0.1"
CLIENT_CIDR = f"{CLIENT_TUNNEL}/24"


UDP_MEM = "/proc/sys/net/ipv4/udp_mem"


def instead_of(name: str, file: Path) -> dict[str, object]:
    """The environment in which a program with the interposer `other_file` opens another file."""
    return {"OPENED": name, "OPENED_INSTEAD": file}


def route_tcp_into_tunnel(
    host: lab.Host, destination: str, interface: str = "tun0", table: int = 100
) -> None:
    """Send TCP to this destination into the tunnel; ping and UDP to it keep the direct way."""
    host.route(destination, "dev", interface, "table", table)
    host.rule("ipproto", "tcp", "to", destination, "lookup", table)


def masquerade(host: lab.Host) -> None:
    """What goes into a tunnel leaves with the tunnel's own address, as doc/router.md has it."""
    host.nft("""
        table inet udp_encap_tun {
            chain into_tunnel {
                type nat hook postrouting priority srcnat
                oifname { "tun0", "tun1" } masquerade
            }
        }""")


def start_server(
    start: Callable[..., lab.Tunnel], host: lab.Host, **arguments: object
) -> lab.Tunnel:
    """The program in server mode, with the usual names and numbers."""
    usual = {"interface": "tun0", "listen_port": SERVER_PORT, "device": "eth0",
             "address": SERVER_CIDR}
    return start(host, **{**usual, **arguments})


def start_endpoint(
    start: Callable[..., lab.Tunnel], host: lab.Host, *destinations: str, **arguments: object
) -> lab.Tunnel:
    """The program in endpoint mode, with TCP to the destinations routed into it."""
    usual = {"interface": "tun0", "listen_port": ENDPOINT_PORT, "endpoint_port": SERVER_PORT,
             "device": "eth0", "address": CLIENT_CIDR}
    tunnel = start(host, **{**usual, **arguments})
    for destination in destinations:
        route_tcp_into_tunnel(host, destination, tunnel.interface)
    return tunnel


def halt(tunnel: lab.Tunnel) -> None:
    """Stop all of its threads: SIGSTOP alone returns while they still run."""
    tunnel.signal(signal.SIGSTOP)

    def states() -> set[str]:
        return {stat.read_text().rpartition(")")[2].split()[0]
                for stat in Path(f"/proc/{tunnel.pid}/task").glob("*/stat")}

    lab.wait_until(lambda: states() == {"T"}, what="it did not stop")


@dataclass(frozen=True)
class TunnelledPair:
    """A client and a server with the program on both; `scene` has what else is there."""

    scene: lab.Pair | lab.PairRouted
    endpoint: lab.Tunnel
    listener: lab.Tunnel

    @property
    def client(self) -> lab.Host:
        return self.scene.client

    @property
    def server(self) -> lab.Host:
        return self.scene.server

    @property
    def target(self) -> str:
        """Where a program on the client connects to, to reach the server through the tunnel."""
        return self.scene.server_address

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """A TCP connection through the tunnel: the client's socket and the server's."""
        return connect_through_tunnel(self.client, self.server, self.target)


def connect_through_tunnel(
    client: lab.Host, server: lab.Host, target: str, source: str = ""
) -> tuple[socket.socket, socket.socket]:
    """A TCP connection that surely went through the tunnel."""
    near, far = connect(client, server, target, source)
    assert ipaddress.ip_address(far.getpeername()[0]) in POOL, "not through the tunnel"
    return near, far


def make_tunnelled_pair(
    scene: lab.Pair | lab.PairRouted,
    start: Callable[..., lab.Tunnel],
    options: Sequence[object] = (),
    endpoint_options: Sequence[object] = (),
    server_options: Sequence[object] = (),
    both: dict[str, object] | None = None,
) -> TunnelledPair:
    """The program on both hosts of a scene; `options` are for both ends, and so is `both`, other
    arguments of lab.Tunnel."""
    listener = start_server(
        start, scene.server, options=(*options, *server_options), **(both or {})
    )
    endpoint = start_endpoint(
        start, scene.client, scene.server_address, options=(*options, *endpoint_options),
        **(both or {}),
    )
    return TunnelledPair(scene, endpoint, listener)
