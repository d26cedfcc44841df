"""The laboratory and its hosts: network namespaces, the cables between them, and their end.

A laboratory removes exactly what it made, on every way out: the end of the `with` block, an
exception, SIGINT, SIGTERM and SIGHUP. All its names carry its tag, so that two do not meet.
"""

import atexit
import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .process import Place, Process

CLONE_NEWNET = 0x40000000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(subprocess.CalledProcessError):
    """A command that ended with a status other than 0; says what it wrote."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stdout or ''}{self.stderr or ''}".rstrip()


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end. A KeyboardInterrupt, because test runners stop at that one."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def _run(command: list[str], check: bool = True, timeout: float | None = 60,
         input: str | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, check=False, timeout=timeout, input=input, text=True,
                          capture_output=True, errors="replace",
                          **({"stdin": subprocess.DEVNULL} if input is None else {}))
    if check and done.returncode:
        raise CommandFailed(done.returncode, command, done.stdout, done.stderr)
    return done


class Host:
    """A network namespace with the loopback device up, and ways to act inside it."""

    def __init__(self, laboratory: "Laboratory", name: str, netns: str):
        self.laboratory = laboratory
        self.name = name
        self.netns = netns

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    def run(self, *args: object, check: bool = True, timeout: float | None = 60,
            input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its output is captured as text."""
        return _run(self.command(args), check, timeout, input)

    def start(self, *args: object, name: str | None = None,
              env: dict[str, str] | None = None) -> Process:
        """Start a command in the background; env is added to this program's own environment."""
        return Process(self.command(args), self.place(name or Path(str(args[0])).name), env)

    def place(self, name: str) -> Place:
        """For a program that runs here; the laboratory ends it."""
        name = f"{self.name}-{name}"
        return Place(name, self.laboratory.new_file(name), self.laboratory.processes.append)

    def command(self, args: Sequence[object]) -> list[str]:
        """The same command, to be started outside and to run inside."""
        return ["ip", "netns", "exec", self.netns, *map(str, args)]

    def ip(self, *args: object) -> str:
        """Run `ip ARGS` for this host and return what it says."""
        return _run(["ip", "-netns", self.netns, *map(str, args)]).stdout

    def address(self, device: str, cidr: str) -> None:
        self.ip("address", "add", cidr, "dev", device)

    def route(self, *args: object) -> None:
        self.ip("route", "add", *args)

    def rule(self, *args: object) -> None:
        self.ip("rule", "add", *args)

    def mtu(self, device: str, mtu: int) -> None:
        self.ip("link", "set", device, "mtu", mtu)

    def tbf(self, device: str, rate: str, burst: str = "32kb", latency: str = "50ms") -> None:
        """Limit what the device sends; calling it again changes the rate."""
        _run(["tc", "-netns", self.netns, "qdisc", "replace", "dev", device, "root",
              "tbf", "rate", rate, "burst", burst, "latency", latency])

    def nft(self, ruleset: str) -> None:
        """Add to the firewall what the text says in the language of nft(8)."""
        self.run("nft", "--file", "-", input=ruleset)

    def sysctl(self, key: str, value: object) -> None:
        with self.inside():
            Path("/proc/sys", *key.split(".")).write_text(str(value))

    def counter(self, name: str) -> int:
        """A counter of this host's kernel, named as nstat(8) does: TcpRetransSegs."""
        with self.inside():
            # not /proc/net, which is that of the main thread
            for file in ("snmp", "netstat"):
                lines = Path("/proc/thread-self/net", file).read_text().splitlines()
                for names, values in zip(lines[::2], lines[1::2]):
                    prefix = names.partition(":")[0]
                    for key, value in zip(names.split()[1:], values.split()[1:]):
                        if prefix + key == name:
                            return int(value)
        raise KeyError(f"the kernel has no counter {name}")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in this host's namespace: sockets made meanwhile belong to it."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(f"/run/netns/{self.netns}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._enter(there)
                yield
            finally:
                self._enter(before)
                os.close(there)
        finally:
            os.close(before)

    @staticmethod
    def _enter(namespace: int) -> None:
        if _libc.setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter the network namespace")


class Laboratory:
    """A context manager; everything that it makes is gone when it ends."""

    def __init__(self, tag: str | None = None):
        self.tag = tag or secrets.token_hex(3)
        self.processes: list[Process] = []
        self.directory = Path()
        self._hosts: list[Host] = []
        self._files = 0
        self._open = False
        self._closing = False
        self._late_signal: int | None = None
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> "Laboratory":
        if os.geteuid() != 0:
            raise PermissionError("the laboratory makes network namespaces: run it as root")
        # Where a signal falls between two lines of this method, the end of Python still cleans up.
        atexit.register(self.close)
        self._take_signals()
        self._open = True
        self.directory = Path(tempfile.mkdtemp(prefix=f"udp-encap-tun-lab-{self.tag}-"))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def host(self, name: str, ipv6: bool = False) -> Host:
        """A new host: a network namespace that no device leads out of."""
        host = Host(self, name, f"uet-{self.tag}-{name}")
        if Path("/run/netns", host.netns).exists():
            raise FileExistsError(f"there is a network namespace {host.netns} already")
        self._hosts.append(host)  # first: a signal while it is made must not leave it behind
        _run(["ip", "netns", "add", host.netns])
        if not ipv6:
            host.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
            host.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        host.ip("link", "set", "lo", "up")
        return host

    def link(self, a: Host, a_device: str, b: Host, b_device: str, mtu: int = 1500) -> None:
        """A cable: a veth pair between two hosts, both ends up."""
        a.ip("link", "add", a_device, "mtu", mtu, "type", "veth",
             "peer", "name", b_device, "mtu", mtu, "netns", b.netns)
        a.ip("link", "set", a_device, "up")
        b.ip("link", "set", b_device, "up")

    def new_file(self, name: str) -> Path:
        """A path in the directory that nothing else has."""
        self._files += 1
        return self.directory / f"{self._files:03}-{name}"

    def close(self) -> None:
        """Remove everything. Signals that come meanwhile wait until it is done."""
        if not self._open:
            return
        self._closing = True
        self._open = False
        try:
            self._end_processes()
            for host in self._hosts:
                _run(["ip", "netns", "delete", host.netns], check=False)
            if self.directory.is_absolute():
                shutil.rmtree(self.directory, ignore_errors=True)
        finally:
            self._give_signals_back()
            atexit.unregister(self.close)
        if self._late_signal is not None:
            raise Interrupted(self._late_signal)

    def _end_processes(self) -> None:
        """Ask the programs to end, then kill what still lives in the namespaces, their children
        among them."""
        for process in self.processes:
            if process.alive:
                process.signal(signal.SIGTERM)
        for patience, sig in ((3, signal.SIGKILL), (10, None)):
            deadline = time.monotonic() + patience
            while self._inhabitants() and time.monotonic() < deadline:
                time.sleep(0.02)
            for pid in self._inhabitants() if sig else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, sig)

    def _inhabitants(self) -> set[int]:
        """The processes that the laboratory started or that are in one of its namespaces."""
        pids = {process.pid for process in self.processes if process.alive}
        namespaces = set()
        for host in self._hosts:
            with suppress(FileNotFoundError):
                namespaces.add(os.stat(f"/run/netns/{host.netns}").st_ino)
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.stat(entry / "ns/net").st_ino in namespaces:
                    pids.add(int(entry.name))
        return pids - {os.getpid()}

    def _take_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in SIGNALS:
            if signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN:
                continue  # nohup
            self._handlers[signum] = signal.signal(signum, self._on_signal)

    def _give_signals_back(self) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        self._handlers.clear()

    def _on_signal(self, signum: int, _frame: object) -> None:
        if self._closing:
            self._late_signal = signum
        else:
            raise Interrupted(signum)
