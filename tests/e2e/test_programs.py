"""Programs that people run, through the tunnel: a web server, ssh, iperf3."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import lab
from streams import Payload
from tunnels import TunnelledPair

SIZE = 16 << 20


def test_curl(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    pair: TunnelledPair = tunnelled_pair()
    directory = laboratory.directory / "www"
    directory.mkdir()
    (directory / "file").write_bytes(payload.head(SIZE))
    server = pair.server.start(
        sys.executable, "-u", "-m", "http.server", "--directory", directory, "8080"
    )
    server.expect("Serving HTTP", stream="output")
    fetched = laboratory.directory / "fetched"
    pair.client.run(
        "curl", "--silent", "--show-error", "--fail", "--output", fetched,
        f"http://{pair.target}:8080/file",
    )
    assert hashlib.sha256(fetched.read_bytes()).digest() == payload.digest(SIZE)


def start_sshd(pair: TunnelledPair, directory: Path) -> list[object]:
    """An ssh server with keys of its own; the client's command to log in there."""
    directory.mkdir()
    for key in ("host_key", "user_key"):
        pair.server.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key)
    configuration = directory / "sshd_config"
    configuration.write_text(
        f"Port 2222\nHostKey {directory}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {directory}/user_key.pub\nPermitRootLogin prohibit-password\n"
    )
    # It insists on a directory in /run: it gets a /run of its own.
    server = pair.server.start(
        "unshare", "--mount", "sh", "-ec",
        'mount -t tmpfs tmpfs /run; mkdir /run/sshd; exec /usr/sbin/sshd -D -e -f "$0"',
        configuration,
    )
    server.expect("Server listening")
    return [
        "ssh", "-F", "none", "-p", "2222", "-i", directory / "user_key", "-o", "BatchMode=yes",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", f"root@{pair.target}",
    ]


def test_ssh(
    laboratory: lab.Laboratory, tunnelled_pair: Callable[..., TunnelledPair], payload: Payload
) -> None:
    pair: TunnelledPair = tunnelled_pair()
    ssh = start_sshd(pair, laboratory.directory / "ssh")
    greeting = pair.client.run(*ssh, "cat; echo $SSH_CONNECTION", input="good day\n").stdout
    assert greeting.startswith("good day\n10.64.0."), greeting
    (laboratory.directory / "file").write_bytes(payload.head(SIZE))
    fetched = laboratory.directory / "fetched"
    pair.client.run(
        "sh", "-ec", '"$@" > "$0"', fetched, *ssh, f"cat {laboratory.directory}/file"
    )
    assert hashlib.sha256(fetched.read_bytes()).digest() == payload.digest(SIZE)


@pytest.mark.parametrize("direction", [[], ["--reverse"], ["--bidir"]])
def test_iperf3(tunnelled_pair: Callable[..., TunnelledPair], direction: list[str]) -> None:
    pair: TunnelledPair = tunnelled_pair(options=("--threads", 4))
    server = pair.server.start("iperf3", "--server", "--one-off", "--forceflush")
    server.expect("Server listening", stream="output")
    done = pair.client.run(
        "iperf3", "--client", pair.target, "--parallel", 8, "--bytes", "8M", "--json", *direction
    )
    result = json.loads(done.stdout)
    assert "error" not in result
    assert result["end"]["sum_received"]["bytes"] > 0
    assert server.wait() == 0
