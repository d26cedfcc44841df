"""The program's life: signals, counters, the log, and how little it does when there is nothing to
do."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import lab
from datagrams import BarePeer, BareServer, a_segment, wait_until_accounted, waiting_in_sockets
from streams import round_trip
from tunnels import SERVER_PORT, TunnelledPair

NAMES = Path(__file__).resolve().parents[1] / "counter-names.txt"
PROMISED = [name for name in NAMES.read_text().splitlines() if not name.startswith("#")]


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_clean_end(bare_server: Callable[..., BareServer], sig: signal.Signals) -> None:
    """Status 0, the counters, and no interface left."""
    server = bare_server(options=("--threads", 4))
    with server.peer() as peer:
        server.introduce(peer)
    assert server.tunnel.stop(sig) == 0
    heading, *lines, end = server.tunnel.output().splitlines()
    assert (heading, end) == ("counters:", "")
    counters = dict(line.split() for line in lines)
    assert set(counters) == set(PROMISED)
    assert counters["in_segments"] == counters["connections_made"] == "1"
    assert "tun0" not in server.scene.server.ip("link")
    assert "error" not in server.tunnel.errors()


def test_counters_are_printed_whenever_asked(bare_server: Callable[..., BareServer]) -> None:
    server = bare_server()
    with server.peer() as peer:
        for sent in range(1, 4):
            peer.send(a_segment())
            counters = wait_until_accounted(server.tunnel, sent)
            assert counters["in_segments"] == counters["in_packets"] == sent
            assert counters["in_bytes"] == sent * 20
            assert counters["connections"] == 1
    assert set(counters) == set(PROMISED)


def test_counters_of_a_connection(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """What one end sent the other received."""
    pair: TunnelledPair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        round_trip(near, far, bytes(100000))
    pairs = (("out_segments", "in_segments"), ("out_bytes", "in_bytes"))

    def agree() -> bool:
        endpoint, listener = pair.endpoint.counters(), pair.listener.counters()
        return all(
            endpoint[sent] == listener[received] and listener[sent] == endpoint[received]
            for sent, received in pairs
        )

    lab.wait_until(agree, what="the counters of the two ends do not agree")
    counters = pair.endpoint.counters()
    assert not any(counters[name] for name in counters if name.startswith("discard_"))


LEVELS = ["error", "warning", "info", "debug"]


@pytest.mark.parametrize("level", LEVELS)
def test_log_level(laboratory: lab.Laboratory, program: Path, level: str) -> None:
    """Nothing less grave than asked for; every line says how grave it is."""
    scene = lab.pair(laboratory)
    tunnel = scene.server.start(
        program, "--interface", "tun0", "--listen-port", SERVER_PORT, "--bind-to-interface", "eth0",
        "--address", "10.64.0.1/30", "--log-level", level,
    )

    lab.wait_until(lambda: waiting_in_sockets(scene.server, SERVER_PORT))
    # More peers than there are addresses: a warning.
    for _ in range(2):
        with BarePeer(scene.client, (scene.server_address, SERVER_PORT)) as peer:
            peer.send(b"")
    lab.wait_until(lambda: not any(waiting_in_sockets(scene.server, SERVER_PORT)))
    allowed = LEVELS[:LEVELS.index(level) + 1]
    if "warning" in allowed:
        tunnel.expect(": warning: ")
    assert tunnel.stop() == 0
    assert "discard_in_refused 1\n" in tunnel.output()
    lines = tunnel.errors().splitlines()
    found = [re.fullmatch(rf"{lab.LOG_TIME} udp-encap-tun: (\w+): .+", line) for line in lines]
    assert all(found), lines
    assert {match[1] for match in found if match} <= set(allowed)
    assert ("warning" in tunnel.errors()) == ("warning" in allowed)
    assert ("ready:" in tunnel.errors()) == ("info" in allowed)


def test_idle(tunnelled_pair: Callable[..., TunnelledPair]) -> None:
    """Connected but silent, neither end wakes more than twice a second, nor polls on after a run of
    small messages."""
    seconds = 5
    pair: TunnelledPair = tunnelled_pair(options=("--threads", 4))
    near, far = pair.connect()
    with near, far:
        for _ in range(1000):
            round_trip(near, far)
        tunnels = (pair.endpoint, pair.listener)
        time.sleep(0.5)  # delayed acknowledgements
        before = [tunnel.times_slept() for tunnel in tunnels]
        spent = [sum(tunnel.cpu_seconds()) for tunnel in tunnels]
        time.sleep(seconds)  # the time itself is what is tested
        woken = [t.times_slept() - count for t, count in zip(tunnels, before)]
        assert max(woken) <= 2 * seconds, woken
        busy = [sum(t.cpu_seconds()) - seconds for t, seconds in zip(tunnels, spent)]
        assert max(busy) <= 0.02, "more than two ticks of the clock"
        round_trip(near, far)


@pytest.mark.parametrize("ignored", (signal.SIGHUP, signal.SIGINT))
def test_a_signal_that_was_ignored_stays_ignored(
    laboratory: lab.Laboratory, program: Path, ignored: signal.Signals
) -> None:
    """As nohup and shells' background jobs want it."""
    host = laboratory.host("alone")
    laboratory.link(host, "eth0", host, "eth1")
    name = ignored.name.removeprefix("SIG")
    wrapper = laboratory.new_file("ignoring")
    wrapper.write_text(f"#!/bin/sh\ntrap '' {name}\nexec '{program}' \"$@\"\n")
    wrapper.chmod(0o755)
    tunnel = lab.Tunnel(host, address="10.64.0.1/24", program=wrapper)
    tunnel.signal(ignored)
    assert tunnel.counters()["connections"] == 0, "it still answers"
    assert tunnel.stop(signal.SIGTERM) == 0


def test_whichever_signal_was_ignored_stays_ignored(
    laboratory: lab.Laboratory, program: Path
) -> None:
    """Those that it would answer, and those that it knows nothing of."""
    host = laboratory.host("alone")
    laboratory.link(host, "eth0", host, "eth1")
    faults = {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE,
              signal.SIGSEGV}  # are the sanitizers'
    # 32 and 33 are the C library's own
    ignored = {*range(1, 32), *range(34, 65)} - faults - {
        signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
    wrapper = laboratory.new_file("ignoring")
    wrapper.write_text(f"#!/bin/bash\ntrap '' {' '.join(str(int(sig)) for sig in sorted(ignored))}\n"
                       f"exec '{program}' \"$@\"\n")
    wrapper.chmod(0o755)
    tunnel = lab.Tunnel(host, address="10.64.0.1/24", program=wrapper)
    status = Path(f"/proc/{tunnel.pid}/status").read_text()
    mask = {name: int(re.search(rf"^{name}:\t(\w+)$", status, re.MULTILINE)[1], 16)
            for name in ("SigIgn", "SigBlk")}
    assert [sig for sig in ignored if not mask["SigIgn"] >> (sig - 1) & 1] == []
    assert [sig for sig in ignored if mask["SigBlk"] >> (sig - 1) & 1] == []
    for sig in ignored:
        tunnel.signal(sig)
    assert tunnel.alive and tunnel.output() == ""
    assert tunnel.stop(signal.SIGKILL) == -signal.SIGKILL
