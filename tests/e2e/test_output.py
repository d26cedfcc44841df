"""What the program writes never holds it up, whoever reads."""

from __future__ import annotations

import datetime
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import lab
from datagrams import BarePeer, BareServer
from tunnels import SERVER_PORT

ARGUMENTS = ("--interface", "tun0", "--listen-port", SERVER_PORT, "--bind-to-interface", "eth0",
             "--address", "10.64.0.1/16", "--log-peers")


@contextmanager
def running(command: list[str], **streams: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program with streams of the test's own; killed if it is still there at the end."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **streams)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def serving(
    scene: lab.Pair, program: Path, errors: int = subprocess.STDOUT
) -> Iterator[subprocess.Popen[bytes]]:
    """The program on the scene's server, its output in a pipe, as soon as it is ready."""
    command = scene.server.command([program, *ARGUMENTS])
    with running(command, stdout=subprocess.PIPE, stderr=errors) as process:
        lab.wait_until(lambda: is_listening(scene.server))
        yield process


def is_listening(host: lab.Host) -> bool:
    return f":{SERVER_PORT} " in host.run("ss", "-uln").stdout


def send_as_many(host: lab.Host, target: str, peers: int) -> None:
    """A keepalive from each of so many source ports."""
    for first in range(0, peers, 250):
        with ExitStack() as stack:
            for _ in range(min(250, peers - first)):
                stack.enter_context(BarePeer(host, (target, SERVER_PORT))).send(b"")


def sent_and_heard(scene: lab.Pair, peers: int) -> None:
    before = scene.server.counter("UdpInDatagrams")
    send_as_many(scene.client, scene.server_address, peers)
    lab.wait_until(lambda: scene.server.counter("UdpInDatagrams") >= before + peers)


def ends_at_once(process: subprocess.Popen[bytes]) -> None:
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert time.monotonic() - start < 2


def fill_unread_pipe(scene: lab.Pair, process: subprocess.Popen[bytes]) -> None:
    """More lines than pipe and program hold: 64 KiB each, and counters many times."""
    sent_and_heard(scene, 2500)
    for _ in range(40):
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.01)  # each is to be answered by itself


def test_nobody_reads(laboratory: lab.Laboratory, program: Path) -> None:
    """SIGTERM ends it, and meanwhile it does its work."""
    scene = lab.pair(laboratory)
    with serving(scene, program, errors=subprocess.PIPE) as process:
        fill_unread_pipe(scene, process)
        assert process.poll() is None
        ends_at_once(process)


def test_late_reader(laboratory: lab.Laboratory, program: Path) -> None:
    """Who reads late gets the lines in their order, whole, and is told how many are lost."""
    scene = lab.pair(laboratory)
    with serving(scene, program) as process:
        fill_unread_pipe(scene, process)
        assert process.stdout
        text = b""
        while b"lines of output are lost" not in text:
            assert select.select([process.stdout], [], [], 5)[0], "nothing more comes"
            text += os.read(process.stdout.fileno(), 1 << 20)
        ends_at_once(process)
        text += process.stdout.read()
    lines = text.decode().splitlines()
    assert all(re.fullmatch(rf"{lab.LOG_TIME} udp-encap-tun: \w+: .+|counters:|\w+ \d+|", line)
               for line in lines)
    assert "udp-encap-tun: info: tunnel addresses come from" in lines[0]
    lost = re.search(r"(\d+) lines of output are lost", text.decode())
    counted = re.findall(r"^log_lines_lost (\d+)$", text.decode(), re.MULTILINE)
    assert lost and 0 < int(lost[1]) <= int(counted[-1])


Streams = tuple[int, int, dict[str, str]]  # the program's end, the reader's, its environment


def a_pipe() -> Streams:
    reader, writer = os.pipe()
    return writer, reader, {}


def a_terminal() -> Streams:
    master, terminal = pty.openpty()
    return terminal, master, {}


def a_stream_to_the_journal() -> Streams:
    """As systemd gives it to a service."""
    ours, theirs = (end.detach() for end in socket.socketpair())
    status = os.fstat(theirs)
    return theirs, ours, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def a_pipe_of_a_service() -> Streams:
    """The environment names the journal still, and the output goes elsewhere."""
    theirs, ours, env = a_stream_to_the_journal()
    os.close(theirs)
    os.close(ours)
    return *a_pipe()[:2], env


@pytest.mark.parametrize("make, has_time", [
    (a_pipe, True), (a_terminal, True), (a_pipe_of_a_service, True),
    (a_stream_to_the_journal, False),
])
def test_time_of_lines(
    laboratory: lab.Laboratory, program: Path, make: Callable[[], Streams], has_time: bool
) -> None:
    """Every line has the time, but for the journal, which has it anyway."""
    scene = lab.pair(laboratory)
    theirs, ours, env = make()
    start = time.time()
    command = scene.server.command([program, *ARGUMENTS])
    with running(command, stdout=subprocess.DEVNULL, stderr=theirs,
                 env={**os.environ, **env}) as process, os.fdopen(ours, "rb", 0) as reader:
        os.close(theirs)
        text = b""
        while b"ready: " not in text:
            assert select.select([reader], [], [], 5)[0], text
            text += reader.read(1 << 16)
        ends_at_once(process)
    before, _, line = text.decode().splitlines()[-1].partition("udp-encap-tun: info: ready: ")
    assert line
    assert bool(before) == has_time
    if has_time:
        told = datetime.datetime.strptime(before, "%Y-%m-%dT%H:%M:%SZ ")
        assert int(start) <= told.replace(tzinfo=datetime.timezone.utc).timestamp() <= time.time()


def test_wrong_usage_has_no_time(program: Path) -> None:
    """It is for who stands before the terminal; nothing has begun yet."""
    done = subprocess.run([program, "--listen-port", "x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("udp-encap-tun: error: ")


def test_slow_reader_gets_the_last_words(laboratory: lab.Laboratory, program: Path) -> None:
    """More of them than the pipe and the program hold: each peer's, and the counters."""
    scene = lab.pair(laboratory)
    peers = 1500
    text = bytearray()
    with serving(scene, program) as process:
        assert process.stdout
        reader = process.stdout.fileno()
        send_as_many(scene.client, scene.server_address, 100)
        while text.count(b" came, ") < 90:  # some had a port that another one had before
            text += os.read(reader, 1 << 16)
        send_as_many(scene.client, scene.server_address, peers)
        process.send_signal(signal.SIGTERM)
        while part := os.read(reader, 8192):
            text += part
            time.sleep(0.004)
        assert process.wait(10) == 0
    assert text.endswith(b"\n\n"), text[-300:]
    counters = dict(map(str.split, text.decode().rpartition("counters:\n")[2].splitlines()[:-1]))
    told = text.decode().count(" came, ") + text.decode().count(" went after ")
    assert int(counters["log_lines_lost"]) == 2 * int(counters["connections_made"]) - told


def test_reader_that_goes(laboratory: lab.Laboratory, program: Path) -> None:
    """`udp-encap-tun ... 2>&1 | head -1`: the program stays, without a reader."""
    scene = lab.pair(laboratory)
    with serving(scene, program) as process:
        assert process.stdout
        process.stdout.close()
        sent_and_heard(scene, 100)
        assert process.poll() is None
        ends_at_once(process)


def test_newcomers_in_a_flood_are_bounded(bare_server: Callable[..., BareServer]) -> None:
    """Those that come faster than the log shall grow are counted in a line of their own."""
    server = bare_server(address="10.64.0.1/16", options=("--log-peers",))
    sent = 3000
    send_as_many(server.scene.client, server.scene.server_address, sent)
    lab.wait_until(lambda: server.tunnel.counters()["in_keepalives"] == sent)
    # some had a port that another one had before
    made = server.tunnel.counters()["connections_made"]

    def told() -> tuple[int, int]:
        """With a line of their own, and in summaries."""
        log = server.tunnel.errors()
        summaries = re.findall(r"(\d+) peers came and 0 went that are not listed", log)
        return log.count(" came, tunnel address"), sum(map(int, summaries))

    lab.wait_until(lambda: sum(told()) == made)
    listed, summed = told()
    assert summed > 0 and listed < made
    assert server.tunnel.counters()["log_lines_lost"] == summed


@contextmanager
def terminal(host: lab.Host) -> Iterator[int]:
    """root's shell on a terminal, as ssh gives one; its end hangs the terminal up."""
    shell, master = pty.fork()
    if shell == 0:
        command = host.command(["bash", "--norc", "--noprofile", "-i"])
        os.execvp(command[0], command)
    ended = 0
    try:
        yield master
        os.close(master)
        # it tells its jobs first
        ended = lab.wait_until(lambda: os.waitpid(shell, os.WNOHANG)[0], what="the shell stays")
    finally:
        if not ended:
            os.kill(shell, signal.SIGKILL)
            os.waitpid(shell, 0)


def started_there(host: lab.Host, master: int, line: str) -> int:
    """Type a line into the terminal; the process id of the program that it starts."""
    os.write(master, line.encode() + b"\n")
    lab.wait_until(lambda: is_listening(host), what=f"it did not start: {line}")
    return int(re.findall(r"pid=(\d+)", host.run("ss", "-ulnp").stdout)[0])


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def test_output_is_a_terminal_that_went(laboratory: lab.Laboratory, program: Path) -> None:
    """Its lines are lost, and nothing else is: no spinning, no end."""
    scene = lab.pair(laboratory)
    with terminal(scene.server) as master:
        words = " ".join(map(str, (program, *ARGUMENTS)))
        pid = started_there(scene.server, master, f"trap '' HUP; {words} &")
    sent_and_heard(scene, 10)
    os.kill(pid, signal.SIGUSR1)
    stat = Path(f"/proc/{pid}/stat")
    before = sum(map(int, stat.read_text().split()[13:15]))
    time.sleep(0.5)  # the time in which it must not be busy
    assert sum(map(int, stat.read_text().split()[13:15])) - before <= 2
    os.kill(pid, signal.SIGTERM)
    lab.wait_until(lambda: not is_there(pid), 3)


def test_terminal_that_stands_still(laboratory: lab.Laboratory, program: Path) -> None:
    """Ctrl-S: nothing is written there until Ctrl-Q, and the program does not wait for that."""
    scene = lab.pair(laboratory)
    with terminal(scene.server) as master:
        words = " ".join(map(str, (program, *ARGUMENTS)))
        pid = started_there(scene.server, master, f"stty -echo; {words} &")
        os.write(master, b"\x13")
        sent_and_heard(scene, 100)
        os.kill(pid, signal.SIGTERM)
        lab.wait_until(lambda: not is_there(pid), 3)


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2)])
def test_closed_descriptors(
    laboratory: lab.Laboratory, program: Path, closed: tuple[int, ...]
) -> None:
    """Whoever closed them finds no socket there, and no line of the log in a socket."""
    scene = lab.pair(laboratory)
    shell = " ".join(f"{fd}>&-" for fd in closed)
    command = scene.server.command(["sh", "-c", f'exec "$0" "$@" {shell}', program, *ARGUMENTS])
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        lab.wait_until(lambda: is_listening(scene.server))
        for fd in closed:
            assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
        sent_and_heard(scene, 3)
        ends_at_once(process)
