"""How throughput and memory change while the server's store fills with peers.

A server of its own for each number of threads, on two hosts of their own; it is filled with empty
datagrams (keepalives) from forged sources, and between the fillings one flow is measured.
"""

import socket
import struct
import time
from functools import partial

import lab

from .bed import SYSCTLS
from .jobs import Job, Measured
from .load import IPERF_PORT, transfer
from .results import Figures
from .settings import Settings
from .ways import OWN, PORT

GROUP = "growth"
POOL = "10.64.0.0/14"
SERVER_INNER = "10.64.0.1/14"
TARGET = "192.0.2.20"
FORGED = int.from_bytes(socket.inet_aton("198.18.0.0"), "big")  # a /15, for benchmarks (RFC 2544)
PORTS_OF_ONE = 1000  # source ports of a forged address
FIRST_PORT = 20000
AT_ONCE, PAUSE = 500, 0.005  # datagrams, and seconds for the server to take them in
SECONDS_TO_FILL = 2


def case(peers: int, threads: int) -> str:
    return f"{peers:,} peer{'s' if peers > 1 else ''}, {threads} thread{'s' if threads > 1 else ''}"


def jobs(settings: Settings) -> list[Job]:
    rounds, seconds = settings.fewer_rounds, settings.fewer_seconds
    expected = 1 + len(settings.peers) * (seconds + 0.4) + SECONDS_TO_FILL
    return [Job(GROUP, f"{settings.peers[0]:,} to {settings.peers[-1]:,} peers, threads {threads}",
                OWN, n, rounds, expected, partial(grow, threads, settings.peers, seconds))
            for n in range(1, rounds + 1)
            for threads in settings.growth_threads]


def grow(threads: int, peer_counts: tuple[int, ...], seconds: float) -> Measured:
    with lab.Laboratory() as laboratory:
        scene = lab.pair(laboratory)
        server, _ = make_tunnel(scene, threads)
        scene.server.start("iperf3", "--server", "--forceflush", "--port", IPERF_PORT).expect(
            "listening", stream="output")
        measured: Measured = []
        for peers in peer_counts:
            fill(scene.client, server, peers)
            done = transfer(scene.client, TARGET, seconds)
            figures: Figures = {"gbit_per_s": done.gbit_per_s,
                                "resident_octets": server.rss()}
            measured.append((case(peers, threads), figures))
        return measured


def make_tunnel(scene: lab.Pair, threads: int) -> tuple[lab.Tunnel, lab.Tunnel]:
    for host in scene.client, scene.server:
        for key, value in SYSCTLS.items():
            host.sysctl(key, value)
    scene.server.address("eth0", f"{TARGET}/24")
    scene.server.route("198.18.0.0/15", "dev", "eth0")
    server = lab.Tunnel(
        scene.server, "tun0", PORT, address=SERVER_INNER,
        options=["--threads", threads, "--peer-pool", POOL, "--max-connections", 200_000,
                 "--connection-timeout", 3600])
    client = lab.Tunnel(scene.client, "tun0", PORT, endpoint_port=PORT, address="10.100.0.1/24")
    scene.client.route(f"{TARGET}/32", "dev", "tun0")
    return server, client


def fill(client: lab.Host, server: lab.Tunnel, peers: int) -> None:
    """Until the server counts that many; the client's own tunnel is one of them."""
    for _ in range(3):
        if peers > 1:
            send_keepalives(client, peers - 1)
        else:
            with client.inside(), socket.create_connection((TARGET, IPERF_PORT), timeout=5):
                pass
        count = server.counters()["connections"]
        if count == peers:
            return
    raise RuntimeError(f"the server counts {count} peers instead of {peers}")


def send_keepalives(client: lab.Host, count: int) -> None:
    """An empty datagram from each of so many sources, through a raw socket: the kernel makes the
    IPv4 header's length and checksum, and UDP's checksum may be absent."""
    target = socket.inet_aton(TARGET)
    with client.inside(), socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                        socket.IPPROTO_RAW) as raw:
        # The datagrams go on the cable; the way to the same address is the tunnel otherwise.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        for n in range(count):
            address, port = divmod(n, PORTS_OF_ONE)
            header = struct.pack("!BBHHHBBHI4s", 0x45, 0, 28, 0, 0, 64, socket.IPPROTO_UDP, 0,
                                 FORGED + 1 + address, target)
            raw.sendto(header + struct.pack("!HHHH", FIRST_PORT + port, PORT, 8, 0), (TARGET, 0))
            if n % AT_ONCE == AT_ONCE - 1:
                time.sleep(PAUSE)
    time.sleep(10 * PAUSE)
