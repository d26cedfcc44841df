"""A NAT on the way gives the tunnel another address: doc/router.md's tunnel-watch has connections
join again."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import lab
from streams import connected_by_mptcp
from test_documentation import ROUTER_MD, fences

BLOCK = bytes(10000)
STILL = 3.0  # seconds without data after which it hangs


def install(directory: Path) -> dict[str, str]:
    """The scripts that doc/router.md has a person make, and the environment that finds them."""
    directory.mkdir()
    for path, script in re.findall(r"^cat >(\S+) <<'END'\n(.*?)^END\n", "".join(fences(ROUTER_MD)),
                                   re.MULTILINE | re.DOTALL):
        file = directory / Path(path).name
        file.write_text(script)
        file.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def rebind(scene: lab.MultiWan, last: int) -> None:
    """Both operators forget their mappings, and have another public address, which ends so."""
    for n, operator in enumerate(scene.operators):
        operator.ip("link", "set", "net", "down")
        operator.ip("address", "flush", "dev", "net")
        operator.ip("link", "set", "net", "up")
        operator.address("net", f"198.18.{n}.{last}/24")
        operator.route("default", "via", f"198.18.{n}.1")


def is_watching(host: lab.Host) -> bool:
    for pid in host.ip("netns", "pids", host.netns).split():
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"mptcp\0monitor" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
    return False


class Upload:
    """Data of which some leaves all the time, until one end closes."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.received = 0
        self._near, self._far = near, far
        for run in (self._send, self._receive):
            threading.Thread(target=run, daemon=True).start()

    def _send(self) -> None:
        try:
            while True:
                self._near.sendall(BLOCK)
                time.sleep(0.01)
        except OSError:
            pass

    def _receive(self) -> None:
        try:
            while data := self._far.recv(1 << 16):
                self.received += len(data)
        except OSError:
            pass

    def grows(self, timeout: float) -> bool:
        before = self.received
        try:
            # more than was on its way
            lab.wait_until(lambda: self.received > before + 20 * len(BLOCK), timeout)
        except TimeoutError:
            return False
        return True


def test_connections_join_again(laboratory: lab.Laboratory) -> None:
    """Over both WANs at once; without the script the connection hangs."""
    scene = lab.multiwan(laboratory)
    lab.TunnelledMultipath(scene)
    environment = install(laboratory.new_file("sbin"))
    with connected_by_mptcp(scene.router, scene.server, scene.server_address) as (near, far):
        upload = Upload(near, far)
        assert upload.grows(STILL)
        watch = scene.router.start("tunnel-watch", env=environment)
        lab.wait_until(lambda: is_watching(scene.router))
        rebind(scene, 77)
        assert upload.grows(STILL)
        watch.stop()
        rebind(scene, 78)
        assert not upload.grows(STILL)
        near.close()
