"""A remote peer reduced to a UDP socket, for tests that look at single datagrams, and the program
with such peers around it."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import lab
from reference.packets import ACK, RST, SYN, Ipv4, Tcp
from tunnels import ENDPOINT_PORT, SERVER_PORT, SERVER_TUNNEL, start_endpoint, start_server
from wiretap import Frame, Wiretap, enlarge_buffers, written_to_tunnel

_SOL_UDP = 17
_UDP_SEGMENT = 103

_sequence = itertools.count(1000, 100000)


def a_segment(**fields: object) -> bytes:
    """A TCP segment that can be told from others; fields as in reference.packets.Tcp."""
    usual = {"source_port": 40000, "destination_port": 80, "sequence": next(_sequence) % 2**32,
             "acknowledgement": 1}
    return Tcp(**{**usual, **fields}).to_bytes(checksum=0)


def same_sequence(segment: bytes) -> Callable[[Frame], bool]:
    """For Wiretap.receive: the frame that begins with this segment, going to the tunnel."""
    return lambda frame: (
        written_to_tunnel(frame) and frame.packet.payload[4:8] == segment[4:8]
    )


class BarePeer:
    """A UDP socket on a host, connected to the program's address and port."""

    def __init__(
        self, host: lab.Host, target: tuple[str, int], port: int = 0, address: str = ""
    ) -> None:
        with host.inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        enlarge_buffers(self.socket)
        self.socket.settimeout(5)
        self.socket.bind((address, port))
        self.socket.connect(target)

    def __enter__(self) -> BarePeer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    @property
    def name(self) -> str:
        """Address and port as the log writes them."""
        return "{}:{}".format(*self.socket.getsockname())

    def send(self, payload: bytes, tos: int = 0) -> None:
        """One datagram."""
        self.socket.sendmsg([payload], [(socket.IPPROTO_IP, socket.IP_TOS, struct.pack("i", tos))])

    def send_run(self, payloads: Iterable[bytes]) -> None:
        """Datagrams of one size (the last may be shorter) that stay together on the way."""
        payloads = list(payloads)
        size = struct.pack("H", len(payloads[0]))
        self.socket.sendmsg(payloads, [(_SOL_UDP, _UDP_SEGMENT, size)])

    def receive(self, timeout: float = 5) -> bytes:
        """The next datagram."""
        self.socket.settimeout(timeout)
        return self.socket.recv(1 << 16)

    def receives_nothing(self, within: float) -> bool:
        """Whether no datagram comes within so many seconds."""
        try:
            self.receive(within)
        except TimeoutError:
            return True
        return False


@dataclass(frozen=True)
class BareServer:
    """The program in server mode with a wiretap on its interface; the server's kernel does not
    answer what comes out of the tunnel, so that peers hear only what a test makes."""

    scene: lab.Pair | lab.PairRouted
    tunnel: lab.Tunnel
    tap: Wiretap

    def peer(self, port: int = 0) -> BarePeer:
        """A new peer on the client."""
        return BarePeer(
            self.scene.client,
            (self.scene.server_address, SERVER_PORT),
            port,
            self.scene.client_address,
        )

    def retapped(self, tunnel: lab.Tunnel) -> BareServer:
        """The same with another run of the program, whose interface is a new one."""
        self.tap.close()
        return BareServer(self.scene, tunnel, Wiretap(self.scene.server, tunnel.interface))

    def introduce(self, peer: BarePeer) -> str:
        """Send a segment and return the tunnel address that the peer has."""
        segment = a_segment()
        peer.send(segment)
        return self.tap.receive(same_sequence(segment)).packet.source

    def introduce_proven(self, peer: BarePeer) -> str:
        """The same with a peer that shows that it receives: it refuses a connection to it."""
        address = self.introduce(peer)
        self.tap.send(Ipv4(SERVER_TUNNEL, address, a_segment(flags=SYN)).to_bytes())
        opening = peer.receive()
        end = (int.from_bytes(opening[4:8]) + 1) % 2**32
        refusal = a_segment(flags=RST | ACK, acknowledgement=end)
        peer.send(refusal)
        self.tap.receive(same_sequence(refusal))
        return address


@dataclass(frozen=True)
class BareEndpoint:
    """The program in endpoint mode on the client, a wiretap on its interface, and a remote peer
    reduced to a socket on the server. The client's kernel does not answer either."""

    scene: lab.Pair | lab.PairRouted
    tunnel: lab.Tunnel
    tap: Wiretap
    remote: BarePeer


def _silence(host: lab.Host) -> None:
    """Keep the host's own TCP from answering what comes out of the tunnel."""
    host.nft("""
        table ip silence {
            chain input {
                type filter hook input priority filter
                iifname tun0 drop
            }
        }""")


def make_bare_server(
    scene: lab.Pair | lab.PairRouted, start: Callable[..., lab.Tunnel], **arguments: object
) -> BareServer:
    """The program on the scene's server."""
    _silence(scene.server)
    tunnel = start_server(start, scene.server, **arguments)
    return BareServer(scene, tunnel, Wiretap(scene.server, tunnel.interface))


def make_bare_endpoint(
    scene: lab.Pair | lab.PairRouted, start: Callable[..., lab.Tunnel], **arguments: object
) -> BareEndpoint:
    """The program on the scene's client."""
    _silence(scene.client)
    tunnel = start_endpoint(start, scene.client, **arguments)
    remote = BarePeer(
        scene.server, (scene.client_address, ENDPOINT_PORT), SERVER_PORT, scene.server_address
    )
    return BareEndpoint(scene, tunnel, Wiretap(scene.client, tunnel.interface), remote)


def accounted_in(counters: dict[str, int]) -> int:
    """Datagrams received of which the counters say what became of them."""
    return (
        counters["in_segments"]
        + counters["in_keepalives"]
        + sum(value for name, value in counters.items() if name.startswith("discard_in_"))
    )


def wait_until_accounted(tunnel: lab.Tunnel, datagrams: int) -> dict[str, int]:
    """Wait until so many datagrams are accounted for; the counters then."""
    def counters() -> dict[str, int] | None:
        now = tunnel.counters()
        return now if accounted_in(now) >= datagrams else None

    return lab.wait_until(
        counters, what=f"{datagrams} datagrams were sent, counted: {tunnel.counters()}"
    )


def waiting_in_sockets(host: lab.Host, port: int) -> list[int]:
    """Bytes that wait in each UDP socket at this port of a host."""
    with host.inside():
        lines = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
    return [
        int(fields[4].split(":")[1], 16)
        for fields in map(str.split, lines)
        if int(fields[1].split(":")[1], 16) == port
    ]
