"""--port-per-worker: each worker of an endpoint sends from a port of its own, and a connection keeps
its port for life; --cpus: workers stay on the CPUs that they are given."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import lab
from datagrams import BareEndpoint, a_segment, same_sequence
from reference.packets import Ipv4
from streams import Payload, Stream
from tunnels import (
    CLIENT_CIDR,
    CLIENT_TUNNEL,
    ENDPOINT_PORT,
    SERVER_PORT,
    connect_through_tunnel,
    route_tcp_into_tunnel,
    start_endpoint,
    start_server,
)

THREADS, FLOWS = 4, 64
OPTIONS = ("--port-per-worker", "--threads", THREADS)
PORTS = {ENDPOINT_PORT + n for n in range(THREADS)}


def ports_by_tunnel_address(listener: lab.Tunnel) -> dict[str, int]:
    """From the log of a server with --log-peers."""
    lines = re.findall(r"peer [\d.]+:(\d+) came, tunnel address ([\d.]+)", listener.errors())
    return {address: int(port) for port, address in lines}


def test_connections_keep_their_port(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """They spread over the ports, each is a peer of its own, and none moves: not while data flows
    both ways, nor when the program starts again while all of them are sending."""
    scene = lab.pair(laboratory)
    listener = start_server(start_tunnel, scene.server, options=("--log-peers",))
    scene.client.ip("tuntap", "add", "mode", "tun", "multi_queue", "name", "tun0")
    scene.client.address("tun0", CLIENT_CIDR)
    scene.client.ip("link", "set", "tun0", "up")
    route_tcp_into_tunnel(scene.client, scene.server_address)

    def start() -> lab.Tunnel:
        return start_endpoint(start_tunnel, scene.client, address=None, options=OPTIONS)

    def exchange(ends: list[tuple[socket.socket, socket.socket]]) -> None:
        for sender, receiver in (*ends, *(pair[::-1] for pair in ends)):
            Stream(sender, receiver, payload, 256 << 10).finish()

    endpoint = start()
    ends = [
        connect_through_tunnel(scene.client, scene.server, scene.server_address)
        for _ in range(FLOWS)
    ]
    exchange(ends)
    known = ports_by_tunnel_address(listener)
    flows = Counter(known[far.getpeername()[0]] for _, far in ends)
    print("connections on each port:", dict(flows))
    assert set(flows) == set(known.values()) == PORTS
    streams = [Stream(*pair, payload, 2 << 20) for pair in ends]
    assert endpoint.stop() == 0
    start()
    for stream in streams:
        stream.finish()
    assert ports_by_tunnel_address(listener) == known, "a new peer after the restart"
    assert scene.server.counter("TcpOutRsts") == scene.client.counter("TcpOutRsts") == 0


def test_answers_and_keepalives(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    """A far end is kept alive and let in on the port that it was spoken to from, and no other."""
    endpoint = bare_endpoint(options=(*OPTIONS, "--keepalive", 1, "--solicited-only"))
    scene = endpoint.scene
    endpoint.remote.socket.close()
    with scene.server.inside():
        remote = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with remote:
        remote.settimeout(5)
        remote.bind((scene.server_address, SERVER_PORT))
        out, back, stray = a_segment(), a_segment(), a_segment()
        endpoint.tap.send(Ipv4(CLIENT_TUNNEL, scene.server_address, out).to_bytes())
        received, (_, port) = remote.recvfrom(1 << 16)
        assert received[4:8] == out[4:8] and port in PORTS
        remote.sendto(stray, (scene.client_address, min(PORTS - {port})))
        remote.sendto(back, (scene.client_address, port))
        endpoint.tap.receive(same_sequence(back))
        # another worker's matter than what has come
        lab.wait_until(lambda: endpoint.tunnel.counters()["discard_in_unsolicited"] == 1)
        assert [remote.recvfrom(1 << 16) for _ in range(3)] == [
            (b"", (scene.client_address, port))
        ] * 3


def test_port_taken(laboratory: lab.Laboratory, program: Path) -> None:
    """The message names the port that is taken, which need not be --listen-port."""
    host = lab.pair(laboratory).client
    with host.inside():
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with other:
        other.bind(("", ENDPOINT_PORT + 2))
        done = host.run(
            program, "-i", "tun0", "-l", ENDPOINT_PORT, "-b", "eth0", "-e", SERVER_PORT, *OPTIONS,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and str(ENDPOINT_PORT + 2) in done.stderr


def test_workers_stay_on_their_cpus(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    tunnel = start_server(
        start_tunnel, lab.pair(laboratory).server, options=("--threads", 3, "--cpus", "0")
    )
    lists = [
        re.search(r"^Cpus_allowed_list:\s*(\S+)$", status.read_text(), re.MULTILINE)[1]
        for status in Path(f"/proc/{tunnel.pid}/task").glob("*/status")
    ]
    assert lists.count("0") >= 3 and len(lists) == 4, lists


def test_cpu_that_is_not_there(laboratory: lab.Laboratory, program: Path) -> None:
    done = lab.pair(laboratory).server.run(
        program, "-i", "tun0", "-l", SERVER_PORT, "-b", "eth0", "--cpus", "1000", check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "CPU 1000" in done.stderr, done.stderr
