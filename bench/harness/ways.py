"""The ways that are compared, and how each is set up: all at once between two hosts, each with an
address of its own to which the client connects.

A way whose program is missing or does not carry a connection stays in the list, with the reason.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lab

from .jobs import ERRORS, one_line
from .load import ECHO_PORT
from .settings import (BUILD, FIRST_LIMIT, LIMIT, NO_TUNNEL, OWN, PLAIN_LOOP, TREE, VXLAN,
                       WIREGUARD, Settings)

PORT = 51820 + 25  # and the following ones: two for each way
VXLAN_ID = 42

# The program with different options: of both ends, and of the client's alone. The first one is what
# the targets are about.
OWN_WAYS: list[tuple[str, list[object], list[object]]] = [
    (OWN, ["--threads", 1], []),
    (f"{OWN} 2 threads", ["--threads", 2], []),
    (f"{OWN} 2 threads, a port each", ["--threads", 2], ["--port-per-worker"]),
    (f"{OWN} --busy-poll 0", ["--threads", 1, "--busy-poll", 0], []),
]
OWN_PLAIN_WAYS: list[tuple[str, list[object], list[object]]] = [
    (f"{OWN} --offload off", ["--threads", 1, "--offload", "off"], []),
]


@dataclass
class Way:
    """The ends are the tunnel's processes; there are none where the kernel does it all."""

    name: str
    target: str = ""
    client_end: lab.Process | None = None
    server_end: lab.Process | None = None
    missing: str = ""
    port: int = 0  # the server's, of a tunnel that has this program's command line

    def check(self) -> None:
        """A tunnel that died is a failure, not a slow one."""
        for end in self.client_end, self.server_end:
            if end and not end.alive:
                raise RuntimeError(f"{end.name} has ended: {end.errors().strip()}")


@dataclass(frozen=True)
class Place:
    """Where the n-th way is set up."""

    scene: lab.Pair
    n: int
    settings: Settings

    @property
    def port(self) -> int:
        return PORT + 2 * self.n

    @property
    def outer(self) -> str:
        """A server's address of its own on the cable."""
        return f"192.0.2.{20 + self.n}"

    @property
    def client(self) -> lab.Host:
        return self.scene.client

    @property
    def server(self) -> lab.Host:
        return self.scene.server


Maker = Callable[[Place], Way]


def all_ways(settings: Settings) -> list[tuple[str, Maker]]:
    """By name, in the order of the tables."""
    ways: list[tuple[str, Maker]] = [(NO_TUNNEL, no_tunnel)]
    ways += [(name, own_way(name, options, client_options))
             for name, options, client_options in OWN_WAYS + OWN_PLAIN_WAYS]
    ways += [(VXLAN, vxlan), (WIREGUARD, wireguard),
             (LIMIT, other_program(LIMIT, BUILD / "bench" / "limit"))]
    if settings.first_limit:
        ways.append((FIRST_LIMIT, other_program(FIRST_LIMIT, settings.first_limit)))
    ways.append((PLAIN_LOOP, plain_loop))
    for path, name in zip(settings.others, settings.names_of_others):
        ways.append((name, other_program(name, path)))
    return ways


def set_up(scene: lab.Pair, settings: Settings) -> list[Way]:
    """Those that were chosen; each has been tried before it is called ready."""
    made = []
    for n, (name, make) in enumerate(all_ways(settings)):
        if settings.ways and name not in settings.ways:
            continue
        try:
            way = make(Place(scene, n, settings))
            try_out(scene.client, way)
        except ERRORS as error:
            way = Way(name, missing=one_line(error))
        made.append(way)
    return made


def try_out(client: lab.Host, way: Way) -> None:
    def connects() -> bool:
        with client.inside(), socket.socket() as tcp:
            tcp.settimeout(1)
            return tcp.connect_ex((way.target, ECHO_PORT)) == 0

    lab.wait_until(connects, 5, "no TCP connection gets through")


def need(program: Path) -> Path:
    if not os.access(program, os.X_OK):
        inside = program.is_relative_to(TREE)
        raise FileNotFoundError(
            f"there is no program {program.relative_to(TREE) if inside else program.name}")
    return program


def no_tunnel(place: Place) -> Way:
    return Way(NO_TUNNEL, place.scene.server_address)


def own_way(name: str, options: Sequence[object], client_options: Sequence[object]) -> Maker:
    return lambda place: tunnel(place, name, None, options, client_options)


def other_program(name: str, program: Path) -> Maker:
    """One with this program's command line."""
    return lambda place: tunnel(place, name, program, ["--threads", 1])


def tunnel(place: Place, name: str, program: Path | None, options: Sequence[object],
           client_options: Sequence[object] = ()) -> Way:
    need(program or lab.BUILT_HERE)
    device = f"tun{place.n}"
    place.server.address("eth0", f"{place.outer}/24")
    server = lab.Tunnel(place.server, device, place.port, address=f"10.{place.n}.0.1/16",
                        options=options, program=program)
    client = lab.Tunnel(place.client, device, place.port, endpoint_port=place.port,
                        address=f"10.{100 + place.n}.0.1/24", options=[*options, *client_options],
                        program=program)
    for host in place.client, place.server:
        host.sysctl(f"net.ipv4.conf.{device}.rp_filter", 2)
    place.client.route(f"{place.outer}/32", "dev", device)
    return Way(name, place.outer, client, server, port=place.port)


def vxlan(place: Place) -> Way:
    place.server.address("eth0", f"{place.outer}/24")
    for host, own, far, inner in (
            (place.client, place.scene.client_address, place.outer, f"10.{place.n}.0.2"),
            (place.server, place.outer, place.scene.client_address, f"10.{place.n}.0.1")):
        host.ip("link", "add", "vxlan0", "type", "vxlan", "id", VXLAN_ID, "local", own,
                "remote", far, "dstport", place.port, "dev", "eth0")
        host.address("vxlan0", f"{inner}/24")
        host.ip("link", "set", "vxlan0", "up")
    return Way(VXLAN, f"10.{place.n}.0.1")


def wireguard(place: Place) -> Way:
    program = need(place.settings.wireguard_go)
    tag = place.scene.client.laboratory.tag
    place.server.address("eth0", f"{place.outer}/24")
    ends = []
    keys = {host: make_keys(host) for host in (place.client, place.server)}
    # The client comes last: its first handshake must not be lost, the next one is 5 s later.
    for host, far, inner in ((place.server, place.client, f"10.{place.n}.0.1"),
                             (place.client, place.server, f"10.{place.n}.0.2")):
        device = f"wg{tag[:8]}{host.name[0]}"  # /run/wireguard holds the names of both hosts
        process = host.start(program, "--foreground", device, env={"LOG_LEVEL": "error"})
        control = Path("/run/wireguard", f"{device}.sock")
        lab.wait_until(lambda: control.exists() or not process.alive, 10,
                       "wireguard-go made no control socket")
        peer = ["peer", keys[far][1], "allowed-ips", f"10.{place.n}.0.0/24"]
        if host is place.client:
            peer += ["endpoint", f"{place.outer}:{place.port}", "persistent-keepalive", "20"]
        host.run("wg", "set", device, "listen-port", place.port, "private-key", keys[host][0],
                 *peer)
        host.address(device, f"{inner}/24")
        host.ip("link", "set", device, "mtu", 1420, "up")
        ends.append(process)
    server_end, client_end = ends
    return Way(WIREGUARD, f"10.{place.n}.0.1", client_end, server_end)


def make_keys(host: lab.Host) -> tuple[Path, str]:
    """The file of a private key, and the public one."""
    private = host.run("wg", "genkey").stdout
    file = host.laboratory.new_file("private-key")
    file.touch(0o600)
    file.write_text(private)
    return file, host.run("wg", "pubkey", input=private).stdout.strip()


def plain_loop(place: Place) -> Way:
    """It has no addresses of its own: both ends are on the cable too."""
    program = need(BUILD / "minimal-loop")
    inner_client = f"192.0.2.{120 + place.n}"
    place.server.address("eth0", f"{place.outer}/24")
    place.client.address("eth0", f"{inner_client}/24")
    ends = []
    for host, own, far in ((place.client, inner_client, place.outer),
                           (place.server, place.outer, inner_client)):
        process = host.start(program, "loop0", own, "eth0", place.port)
        process.expect("ready:")
        ends.append(process)
        host.ip("link", "set", "loop0", "mtu", 1492, "up")
        host.sysctl("net.ipv4.conf.loop0.rp_filter", 2)
        host.route(f"{far}/32", "dev", "loop0", "src", own)
    return Way(PLAIN_LOOP, place.outer, *ends)
