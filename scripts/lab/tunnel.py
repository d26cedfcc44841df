"""udp-encap-tun itself, running on a host of the laboratory."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from .laboratory import Host
from .process import Process
from .waiting import wait_until

BUILT_HERE = Path(__file__).resolve().parents[2] / "build" / "udp-encap-tun"


class Tunnel(Process):
    """The running program: Tunnel(host, ...) returns when it forwards. $UDP_ENCAP_TUN names
    another program than the one built in this tree."""

    def __init__(self, host: Host, interface: str = "tun0", listen_port: int = 12345,
                 device: str = "eth0", endpoint_port: int | None = None,
                 address: str | None = None, options: Sequence[object] = (),
                 program: str | Path | None = None):
        self.interface = interface
        program = program or os.environ.get("UDP_ENCAP_TUN") or BUILT_HERE
        command: list[object] = [program, "--interface", interface, "--listen-port", listen_port,
                                 "--bind-to-interface", device]
        if endpoint_port is not None:
            command += ["--endpoint-port", endpoint_port]
        if address is not None:
            command += ["--address", address]
        super().__init__(host.command([*command, *options]),
                         host.place(f"udp-encap-tun-{interface}"))
        self.expect("ready:")

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
