"""The end of the session in which the program was started: README.md's commands survive it."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import lab
from streams import connect, round_trip
from test_documentation import FENCES
from tunnels import route_tcp_into_tunnel

SERVER = "198.51.100.1"
ROUTER = "198.51.100.2"


def readme_commands(room: str) -> str:
    """What a step of README.md has a person type, from the first interface on."""
    fence = next(fence for fence in FENCES if f"# on the {room}\n" in fence
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


class Site:
    """README.md's server and router, with their first WAN plugged in, each set up from a shell."""

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
        self.terminals = [shells(host, change(readme_commands(host.name)), self.directory)
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
            lab.wait_until(lambda: not self.pids(host, "bash"), what="the shell lives on")

    def pids(self, host: lab.Host, name: str) -> list[int]:
        """Of the programs with this name on a host."""
        pids = host.ip("netns", "pids", host.netns).split()
        found = []
        for pid in map(int, pids):
            with suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    found.append(pid)
        return found

    def programs(self) -> list[int]:
        return [pid for host in (self.server, self.router)
                for pid in self.pids(host, "udp-encap-tun")]


def test_readme_survives_the_session(
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
