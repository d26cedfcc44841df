"""What the documents have a person type into a shell, and the end of the session in which that was:
doc/router.md's commands survive it."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import lab
from streams import connect, round_trip
from test_documentation import README_MD, ROUTER_MD, fences
from tunnels import route_tcp_into_tunnel

SERVER = "198.51.100.1"
ROUTER = "198.51.100.2"


def router_commands(room: str) -> str:
    """What a step of doc/router.md has a person type, from the first interface on."""
    fence = next(fence for fence in fences(ROUTER_MD) if f"# on the {room}\n" in fence
                 and re.search(r"^ *(\w+ )?udp-encap-tun --interface", fence, re.MULTILINE))
    return fence.rpartition("END\n")[2]


@pytest.fixture
def shells() -> Iterator[Callable[..., int]]:
    """Type commands into a root's interactive shell on a terminal of its own; what is returned is
    the terminal's other end, whose closing is the end of the ssh session."""
    opened: list[tuple[subprocess.Popen, int]] = []

    def shell(host: lab.Host, commands: str, directory: Path) -> int:
        terminal, own = os.openpty()
        bash = host.command(["bash", "--norc", "--noprofile", "-i"])
        popen = subprocess.Popen(
            # who runs the tests may ignore the signal
            ["setsid", "--ctty", "env", "--default-signal=HUP", *bash],
            stdin=own, stdout=own, stderr=own,
            env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"})
        os.close(own)
        opened.append((popen, terminal))
        os.write(terminal, commands.replace("/var/log", str(directory)).encode())
        return terminal

    yield shell
    for popen, terminal in opened:
        with suppress(OSError):
            os.close(terminal)
        with suppress(subprocess.TimeoutExpired):
            popen.wait(3)  # it passes the hang-up on to its jobs
        popen.kill()
        popen.wait()


def pids_of(host: lab.Host, name: str) -> list[int]:
    """Of the programs with this name on a host."""
    found = []
    for pid in map(int, host.ip("netns", "pids", host.netns).split()):
        with suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(pid)
    return found


class Site:
    """doc/router.md's server and router, with their first WAN plugged in, each set up from a shell."""

    def __init__(self, laboratory: lab.Laboratory, program: Path, shells: Callable[..., int],
                 change: Callable[[str], str]) -> None:
        self.directory = laboratory.new_file("root")
        self.directory.mkdir()
        (self.directory / "udp-encap-tun").symlink_to(program.resolve())
        self.server, self.router = laboratory.host("server"), laboratory.host("router")
        laboratory.link(self.router, "wan0", self.server, "eth0")
        laboratory.link(self.router, "wan1", self.server, "eth1")
        self.server.address("eth0", f"{SERVER}/24")
        self.router.address("wan0", f"{ROUTER}/24")
        self.terminals = [shells(host, change(router_commands(host.name)), self.directory)
                          for host in (self.server, self.router)]
        self.logs = [self.directory / f"udp-encap-tun{wan}.log" for wan in ("", "-wan0", "-wan1")]
        for log in self.logs:
            lab.wait_until(lambda: log.exists() and "ready:" in log.read_text(),
                           what=f"{log} has no ready")
        route_tcp_into_tunnel(self.router, SERVER)

    def hang_up(self) -> None:
        """The sessions end, and their shells with them."""
        for terminal in self.terminals:
            os.close(terminal)
        for host in (self.server, self.router):
            lab.wait_until(lambda: not pids_of(host, "bash"), what="the shell lives on")

    def programs(self) -> list[int]:
        return [pid for host in (self.server, self.router)
                for pid in pids_of(host, "udp-encap-tun")]


def test_first_setup_of_readme(
    laboratory: lab.Laboratory, program: Path, shells: Callable[..., int]
) -> None:
    """With iperf3: its connection and the next one come out of the tunnel, those before stay."""
    directory = laboratory.new_file("root")
    directory.mkdir()
    (directory / "udp-encap-tun").symlink_to(program.resolve())
    server, client = laboratory.host("server"), laboratory.host("client")
    laboratory.link(client, "wan0", server, "eth0")
    server.address("eth0", f"{SERVER}/24")
    client.address("wan0", "192.0.2.7/24")
    server.route("default", "dev", "eth0")
    client.route("default", "dev", "wan0")
    before = connect(client, server, SERVER)
    server_commands, client_commands = (
        next(fence for fence in fences(README_MD) if fence.startswith(f"# on the {name}\n"))
        for name in ("server", "client"))
    shells(server, server_commands, directory)
    log = directory / "udp-encap-tun.log"
    lab.wait_until(lambda: log.exists() and "ready:" in log.read_text())
    log.unlink()
    terminal = shells(client, client_commands + "echo it is $((6 * 7))\n", directory)
    said = ""
    while "it is 42" not in said:
        assert select.select([terminal], [], [], 20)[0], f"nothing more is said after {said}"
        said += os.read(terminal, 4096).decode()
    assert re.search(r"Mbits/sec +receiver|Gbits/sec +receiver", said), said
    with server.inside():
        listener = socket.create_server(("", 22))
    with listener, client.inside():
        near = socket.create_connection((SERVER, 22), timeout=10)
        far, (address, _) = listener.accept()
    with near, far:
        assert address.startswith("10.80.")
        round_trip(near, far)
    near, far = before
    with near, far:
        round_trip(near, far)
    for host in (server, client):
        for name in ("iperf3", "udp-encap-tun"):
            for pid in pids_of(host, name):
                os.kill(pid, signal.SIGTERM)


def test_router_survives_the_session(
    laboratory: lab.Laboratory, program: Path, shells: Callable[..., int]
) -> None:
    """A connection that was there goes on, a new one can be made; the end is clean."""
    site = Site(laboratory, program, shells, change=lambda commands: commands)
    near, far = connect(site.router, site.server, SERVER)
    with near, far:
        site.hang_up()
        assert far.getpeername()[0].startswith("10.80.")
        round_trip(near, far)
        near, far = connect(site.router, site.server, SERVER)
        with near, far:
            round_trip(near, far)
    programs = site.programs()
    assert len(programs) == 3
    for pid in programs:
        os.kill(pid, signal.SIGUSR1)  # as "kill -USR1 $(pidof udp-encap-tun)" does
    for log in site.logs:
        lab.wait_until(lambda: "counters:\n" in log.read_text())
    for pid in programs:
        os.kill(pid, signal.SIGTERM)
    lab.wait_until(lambda: not site.programs())


def test_without_nohup_the_session_ends_it(
    laboratory: lab.Laboratory, program: Path, shells: Callable[..., int]
) -> None:
    """Cleanly: nothing but the recipe's word has it live on."""
    site = Site(laboratory, program, shells,
                change=lambda commands: commands.replace("nohup ", ""))
    site.hang_up()
    lab.wait_until(lambda: not site.programs(), what="it lives on")
    assert all("counters:\n" in log.read_text() for log in site.logs)


def test_a_background_job_is_not_stopped_by_its_terminal(
    laboratory: lab.Laboratory, program: Path, shells: Callable[..., int]
) -> None:
    """Where that has stty's tostop, writing to it stops a background job that does not mind it."""
    scene = lab.pair(laboratory)
    terminal = shells(
        scene.server,
        f"stty tostop; '{program}' --interface tun0 --listen-port 5000 --bind-to-interface eth0 &\n",
        laboratory.directory)
    said = b""
    while b"ready:" not in said:
        assert select.select([terminal], [], [], 10)[0], said
        said += os.read(terminal, 4096)
