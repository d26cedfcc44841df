"""What fails at start: one line that says what and what to do about it, and status 1. And what
must not fail: two programs side by side."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import lab
from queues import MULTI_QUEUE, NO_PI, TAP, TUN, VNET_HEADER, held_queue
from reference.peer import open_tun
from streams import Payload, Stream
from tunnels import (
    SERVER_CIDR,
    SERVER_PORT,
    UDP_MEM,
    connect_through_tunnel,
    instead_of,
    start_endpoint,
    start_server,
)


def assert_refused(host: lab.Host, program: Path, *arguments: object, says: str) -> None:
    """The program ends with status 1 and one line in which this word stands."""
    done = host.run(program, *arguments, check=False, timeout=10)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    assert re.match(rf"{lab.LOG_TIME} udp-encap-tun: error: ", done.stderr), done.stderr
    assert says in done.stderr


def arguments(
    interface: str = "tun0", port: int = SERVER_PORT, device: str = "eth0"
) -> list[object]:
    """The required options."""
    return ["--interface", interface, "--listen-port", port, "--bind-to-interface", device]


def test_no_such_device(laboratory: lab.Laboratory, program: Path) -> None:
    host = lab.pair(laboratory).server
    assert_refused(host, program, *arguments(device="wwan7"), says="wwan7")
    assert "tun0" not in host.ip("link"), "it left an interface behind"


@pytest.mark.parametrize("reuseport", [0, 1])
@pytest.mark.parametrize("bound_to", ["any device", "the device"])
def test_port_is_taken(
    laboratory: lab.Laboratory, program: Path, bound_to: str, reuseport: int
) -> None:
    """Also by one who would share it."""
    host = lab.pair(laboratory).server
    with host.inside():
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuseport)
        if bound_to == "the device":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        taken.bind(("", SERVER_PORT))
        assert_refused(host, program, *arguments(), says=str(SERVER_PORT))
    assert "tun0" not in host.ip("link"), "it left an interface behind"


def test_second_instance_on_the_port(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], program: Path
) -> None:
    host = lab.pair(laboratory).server
    first = start_server(start_tunnel, host, options=("--threads", 4))
    for threads in (1, 4):
        assert_refused(
            host, program, *arguments("tun1"), "--threads", threads, says=str(SERVER_PORT)
        )
    assert first.alive


@pytest.mark.parametrize("persistent", [False, True])
def test_second_instance_on_the_interface(
    laboratory: lab.Laboratory,
    start_tunnel: Callable[..., lab.Tunnel],
    program: Path,
    persistent: bool,
) -> None:
    host = lab.pair(laboratory).server
    if persistent:
        host.ip("tuntap", "add", "mode", "tun", "multi_queue", "name", "tun0")
    start_server(start_tunnel, host)
    assert_refused(host, program, *arguments(port=SERVER_PORT + 1), says="tun0")


@pytest.mark.parametrize(
    "made, says",
    [
        (("tuntap", "add", "mode", "tun", "name", "tun0"), "multi_queue"),
        (("tuntap", "add", "mode", "tap", "name", "tun0"), "tun0"),
        (("tuntap", "add", "mode", "tap", "multi_queue", "name", "tun0"), "tun0"),
        (("link", "add", "tun0", "type", "veth", "peer", "name", "tun1"), "tun0"),
    ],
)
def test_interface_of_another_kind(
    laboratory: lab.Laboratory, program: Path, made: tuple[str, ...], says: str
) -> None:
    host = lab.pair(laboratory).server
    host.ip(*made)
    before = host.ip("link", "show", "tun0")
    assert_refused(host, program, *arguments(), "--address", SERVER_CIDR, says=says)
    assert host.ip("link", "show", "tun0") == before, "it changed what is not its own"


def test_interface_of_another_program(laboratory: lab.Laboratory, program: Path) -> None:
    host = lab.pair(laboratory).server
    with host.inside():
        queue = open_tun("tun0")
    with open(queue, "rb", buffering=0):
        assert_refused(host, program, *arguments(), says="tun0")


@pytest.mark.parametrize(
    "kind, persistent, is_detached",
    [
        (TUN, True, False),
        (TUN | MULTI_QUEUE, True, False),
        (TUN | MULTI_QUEUE, False, True),
        (TAP, True, False),
        (TAP, False, False),
        (TAP | MULTI_QUEUE, True, False),
    ],
)
def test_interface_of_another_vpn(
    laboratory: lab.Laboratory, program: Path, kind: int, persistent: bool, is_detached: bool
) -> None:
    """Of whatever kind it is: that it is in use is said, and nobody is told to delete it."""
    host = lab.pair(laboratory).server
    with held_queue(host, kind=kind, persistent=persistent) as queue:
        if is_detached:
            queue.detach()
        done = host.run(program, *arguments(), check=False, timeout=10)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done
        assert "tun0 is in use by another process" in done.stderr
        assert "delete" not in done.stderr and "tuntap" not in done.stderr
        assert "tun0" in host.ip("link")


@pytest.mark.parametrize(
    "flags, options", [(0, ()), (NO_PI | VNET_HEADER, ("--tun-offload", "off"))]
)
def test_interface_with_other_headers(
    laboratory: lab.Laboratory, program: Path, flags: int, options: tuple[str, ...]
) -> None:
    """A network manager holds it with headers that cannot be changed then."""
    host = lab.pair(laboratory).server
    with held_queue(host, kind=TUN | MULTI_QUEUE | flags) as queue:
        queue.detach()
        assert_refused(host, program, *arguments(), *options, says="PacketInfo=no")


def test_no_permission(laboratory: lab.Laboratory, program: Path) -> None:
    host = lab.pair(laboratory).server
    without_any = Path("setpriv"), "--bounding-set=-all", "--inh-caps=-all"
    assert_refused(host, *without_any, program, *arguments(), says="root")


def test_buffers_that_the_system_limits(
    laboratory: lab.Laboratory, program: Path
) -> None:
    """Without CAP_NET_ADMIN the program starts on an interface made for it, and says what it lacks."""
    host = lab.pair(laboratory).server
    host.ip("tuntap", "add", "mode", "tun", "multi_queue", "user", "root", "name", "tun0")
    largest = int(Path("/proc/sys/net/core/rmem_max").read_text())
    tunnel = host.start("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", program,
                        *arguments())
    tunnel.expect("ready:")
    lines = [line for line in tunnel.errors().splitlines() if "receive buffer" in line]
    assert len(lines) == (largest < 8 << 20), tunnel.errors()
    assert all(str(largest) in line and "net.core.rmem_max" in line for line in lines)
    assert tunnel.stop() == 0


def receive_buffers(host: lab.Host, port: int) -> list[int]:
    """Bytes that the kernel lets wait in each UDP socket at this port."""
    lines = host.run("ss", "-uanmHO", f"sport = :{port}").stdout.splitlines()
    return [int(re.search(r"skmem:\(r\d+,rb(\d+),", line)[1]) for line in lines]


@pytest.mark.parametrize("threads", [1, 4])
def test_buffers_follow_the_machine(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], threads: int
) -> None:
    """On a router of 128 MB they take an eighth of what UDP may have, also on a device that comes
    later; where that cannot be read, and on a large machine, what is good for a burst."""
    scene = lab.pair(laboratory)
    udp_mem = laboratory.new_file("udp-mem")
    wish, pages, eighth = 2 * (8 << 20), 5280, 5280 * os.sysconf("SC_PAGE_SIZE") // 8
    port = SERVER_PORT

    def start() -> lab.Tunnel:
        return start_server(start_tunnel, scene.server, options=("--threads", threads),
                            interpose=("other_file",), env=instead_of(UDP_MEM, udp_mem))

    def assert_an_eighth() -> None:
        granted = receive_buffers(scene.server, port)
        assert len(granted) == threads
        assert 0.9 * eighth < sum(granted) <= eighth, granted

    tunnel = start()  # without the file
    assert receive_buffers(scene.server, port) == threads * [wish]
    assert "udp_mem" not in tunnel.errors()
    assert tunnel.stop() == 0
    udp_mem.write_text(f"2640\t3520\t{pages}\n")
    tunnel = start()
    assert_an_eighth()
    scene.client.ip("link", "delete", "eth0")
    laboratory.link(scene.client, "eth0", scene.server, "eth0")
    tunnel.expect("sockets bound to it again")
    lab.wait_until(lambda: len(receive_buffers(scene.server, port)) == threads)
    assert_an_eighth()
    assert tunnel.errors().count("udp_mem") == 1, tunnel.errors()


def test_one_port_on_two_devices(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel], payload: Payload
) -> None:
    """A router runs a program for each WAN: the port may be the same, and so may be the subnet
    and the address that both modems hand out."""
    scene = lab.multiwan(laboratory, same_subnet=True)
    start_server(start_tunnel, scene.server)
    streams = []
    for n in range(2):
        tunnel_address = f"10.65.{n}.1"
        start_endpoint(
            start_tunnel, scene.router, interface=f"tun{n}", device=f"wan{n}",
            address=f"{tunnel_address}/24",
        )
        scene.router.route("default", "dev", f"tun{n}", "table", 200 + n)
        scene.router.rule("from", tunnel_address, "lookup", 200 + n)
        near, far = connect_through_tunnel(
            scene.router, scene.server, scene.server_address, source=tunnel_address
        )
        streams += [Stream(*ends, payload, 2 << 20) for ends in ((near, far), (far, near))]
    for stream in streams:
        stream.finish()
