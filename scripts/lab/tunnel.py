"""udp-encap-tun itself, running on a host of the laboratory."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from .laboratory import Host
from .process import Process
from .waiting import wait_until

# what its lines begin with where the journal does not take them; a regular expression
LOG_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

BUILT_HERE = Path(__file__).resolve().parents[2] / "build" / "udp-encap-tun"


def _with_libraries(libraries: Sequence[Path], env: dict[str, object]) -> list[object]:
    """What to put before the program: only it may have them, not what starts it."""
    settings = [f"{name}={value}" for name, value in env.items()]
    if libraries:
        # a program with AddressSanitizer wants to come first otherwise
        asan = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0")))
        settings += [f"LD_PRELOAD={':'.join(map(str, libraries))}", f"ASAN_OPTIONS={asan}"]
    return ["env", *settings] if settings else []


class Tunnel(Process):
    """The running program: Tunnel(host, ...) returns when it forwards, or said `says`.
    $UDP_ENCAP_TUN names another program than the one built in this tree. `interpose` has libraries of tests/interpose,
    by name, that make system calls of the program fail; `env` is what they read, added to the
    program's environment."""

    def __init__(self, host: Host, interface: str = "tun0", listen_port: int = 12345,
                 device: str = "eth0", endpoint_port: int | None = None,
                 address: str | None = None, options: Sequence[object] = (),
                 program: str | Path | None = None, interpose: Sequence[str] = (),
                 env: dict[str, object] | None = None, says: str = "ready:"):
        self.interface = interface
        program = program or os.environ.get("UDP_ENCAP_TUN") or BUILT_HERE
        libraries = [Path(program).parent / "interpose" / f"{name}.so" for name in interpose]
        for missing in (library for library in libraries if not library.exists()):
            raise FileNotFoundError(f"{missing} is not there: run make interposers")
        command = [*_with_libraries(libraries, env or {}), program, "--interface", interface,
                   "--listen-port", listen_port, "--bind-to-interface", device]
        if endpoint_port is not None:
            command += ["--endpoint-port", endpoint_port]
        if address is not None:
            command += ["--address", address]
        super().__init__(host.command([*command, *options]),
                         host.place(f"udp-encap-tun-{interface}"))
        self.expect(says)

    def counters(self) -> dict[str, int]:
        """Ask for the counters, and read the block that comes."""
        seen = len(self.output())
        self.signal(signal.SIGUSR1)

        def block() -> str | None:
            _, found, rest = self.output()[seen:].partition("counters:\n")
            lines, complete, _ = rest.partition("\n\n")
            if not self.alive:
                raise RuntimeError(f"{self.name} ended instead of printing its counters\n"
                                   + self.everything())
            return lines if found and complete else None

        lines = wait_until(block, what=f"{self.name} printed no counters")
        return {name: int(value) for name, value in map(str.split, str(lines).splitlines())}
