"""What the kernel drops because the program does not take it in time is counted too."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack

import lab
from datagrams import BareServer
from tunnels import SERVER_CIDR, UDP_MEM, halt, instead_of, start_server

QUEUE = 10  # packets
BURST = 30


def send_into_tunnel(host: lab.Host, packets: int) -> None:
    """Not TCP, so that nobody repeats anything."""
    with host.inside():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for _ in range(packets):
            sender.sendto(b"", ("10.64.0.9", 9))


def overflow_queue(host: lab.Host, tunnel: lab.Tunnel) -> None:
    """A burst while the program stands still; all but a queue's length of it gets lost."""
    host.ip("link", "set", "tun0", "txqueuelen", QUEUE)
    halt(tunnel)
    send_into_tunnel(host, BURST)
    tunnel.signal(signal.SIGCONT)


def test_queue_of_the_tunnel(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """Those of this run alone, on an interface that outlives it; what cannot be read for a moment
    is there later."""
    host, fault = lab.pair(laboratory).server, laboratory.new_file("fault")
    host.ip("tuntap", "add", "dev", "tun0", "mode", "tun", "multi_queue")
    for _ in range(2):
        tunnel = start_server(start_tunnel, host, address=SERVER_CIDR, options=("--threads", 1),
                              interpose=("netlink",), env={"NETLINK_FAULT": fault})
        assert tunnel.counters()["out_queue_drops"] == 0

        def counted(packets: int) -> dict[str, int]:
            def counters() -> dict[str, int] | None:
                now = tunnel.counters()
                return now if now["discard_out_not_tcp"] >= packets else None
            return lab.wait_until(counters, what=str(tunnel.counters()))

        overflow_queue(host, tunnel)
        assert counted(QUEUE)["out_queue_drops"] == BURST - QUEUE
        fault.write_text("recvmsg")
        overflow_queue(host, tunnel)
        assert counted(2 * QUEUE)["out_queue_drops"] == BURST - QUEUE
        fault.unlink()
        assert counted(2 * QUEUE)["out_queue_drops"] == 2 * (BURST - QUEUE)
        assert tunnel.stop() == 0


def test_receive_buffers(
    laboratory: lab.Laboratory, bare_server: Callable[..., BareServer]
) -> None:
    """Of every worker's socket, and of those that were replaced when the device came back."""
    udp_mem = laboratory.new_file("udp-mem")
    udp_mem.write_text("64 64 64\n")  # pages: small buffers overflow soon
    server = bare_server(address="10.64.0.1/16", options=("--threads", 2),
                         interpose=("other_file",), env=instead_of(UDP_MEM, udp_mem))
    scene, tunnel = server.scene, server.tunnel
    with ExitStack() as stack:
        peers = [stack.enter_context(server.peer()) for _ in range(16)]

        def drops_of_a_burst() -> int:
            """How many of a burst are counted as lost, when all of it is accounted for."""
            burst = [peer for peer in peers for _ in range(50)]
            before = tunnel.counters()
            halt(tunnel)
            for peer in burst:
                peer.send(b"")
            tunnel.signal(signal.SIGCONT)

            def grown() -> dict[str, int] | None:
                now = tunnel.counters()
                grown = {name: now[name] - before[name] for name in now}
                both = grown["in_keepalives"] + grown["in_socket_drops"]
                return grown if both == len(burst) else None

            return lab.wait_until(grown, what=str(tunnel.counters()))["in_socket_drops"]

        assert tunnel.counters()["in_socket_drops"] == 0
        lost = drops_of_a_burst()
        assert lost > 0
        halt(tunnel)
        for peer in 50 * peers:  # what is lost of these nobody asks for before the device goes
            peer.send(b"")
        scene.client.ip("link", "delete", "eth0")
        laboratory.link(scene.client, "eth0", scene.server, "eth0")
        scene.client.address("eth0", f"{scene.client_address}/24")
        scene.server.address("eth0", f"{scene.server_address}/24")
        tunnel.signal(signal.SIGCONT)
        tunnel.expect("sockets bound to it again")
        kept = tunnel.counters()["in_socket_drops"]
        assert kept > lost
        assert drops_of_a_burst() > 0
        assert tunnel.counters()["in_socket_drops"] > kept
