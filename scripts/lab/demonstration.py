"""The demonstration: what two WANs give with Multipath TCP (MPTCP), when their operators strip its
options, and when udp-encap-tun hides it from them. scripts/demo runs it."""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .laboratory import Host, Interrupted, Laboratory
from .multipath import TunnelledMultipath, multipath
from .process import Process
from .scenes import MultiWan, multiwan
from .waiting import wait_until

RATE = 100  # Mbit/s of each WAN
MEASURE = 5  # seconds of each measurement
GOAL = 1.7  # times one WAN, what two tunnels have to reach

CUT_LENGTH = 18  # seconds of the transfer that loses a WAN ...
CUT_AT = 5  # ... here ...
BACK_AT = 10  # ... and has it again here
DRAWN = 0.1  # seconds between two points of the graph


@dataclass(frozen=True)
class Row:
    """A line of the table. Rates are in Mbit/s, here and below."""

    what: str
    download: float
    upload: float
    joined: str


@dataclass(frozen=True)
class Cut:
    """The transfer that lost a WAN for a while. Times are in seconds from its start."""

    samples: list["Sample"]
    cut_at: float
    back_at: float
    joined_at: float

    def mean(self, start: float, end: float) -> float:
        """What the application received in that time."""
        first, *_, last = (s for s in self.samples if start <= s.at < end)
        return megabits(last.application - first.application) / (last.at - first.at)

    @property
    def stall(self) -> float:
        """The longest time in which the application received nothing."""
        longest, since = 0.0, self.samples[0]
        for sample in self.samples:
            longest = max(longest, sample.at - since.at)
            if sample.application > since.application:
                since = sample
        return longest


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo")
    parser.add_argument("--svg", type=Path, required=True)
    svg = parser.parse_args().svg.absolute()
    if not svg.parent.is_dir():
        parser.error(f"--svg: there is no directory {svg.parent}")
    began = time.monotonic()
    try:
        rows = [one_wan(), untouched(), stripped(), tunnelled()]
        cut = cut_and_back()
        draw(cut, svg)
    except KeyboardInterrupt as interrupt:
        print("\ndemo: interrupted, and everything removed", file=sys.stderr)
        return 128 + (interrupt.signum if isinstance(interrupt, Interrupted) else 2)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    return report(rows, cut, svg, time.monotonic() - began)


def one_wan() -> Row:
    heading("One WAN alone, plain TCP.")
    with Laboratory() as laboratory:
        scene = multiwan(laboratory, f"{RATE}mbit")
        return measure(scene, "one WAN", mptcp=False)


def untouched() -> Row:
    heading("Both WANs with MPTCP, were the operators to leave it alone.")
    with Laboratory() as laboratory:
        scene = multiwan(laboratory, f"{RATE}mbit")
        multipath(scene)
        return measure(scene, "two WANs, MPTCP left alone")


def stripped() -> Row:
    heading("Both WANs with MPTCP, and both operators strip its options.")
    with Laboratory() as laboratory:
        scene = multiwan(laboratory, f"{RATE}mbit")
        scene.strip_mptcp()
        multipath(scene)
        return measure(scene, "two WANs, MPTCP stripped")


def tunnelled() -> Row:
    heading("The same operators, and MPTCP through udp-encap-tun, a tunnel on each WAN.")
    with Laboratory() as laboratory:
        scene = multiwan(laboratory, f"{RATE}mbit")
        scene.strip_mptcp()
        TunnelledMultipath(scene)
        return measure(scene, "two WANs, MPTCP in udp-encap-tun")


def cut_and_back() -> Cut:
    heading("A download through the tunnels loses a WAN in the middle, and has it back.")
    with Laboratory() as laboratory:
        scene = multiwan(laboratory, f"{RATE}mbit")
        scene.strip_mptcp()
        tunnels = TunnelledMultipath(scene)
        client, server = start_iperf3(scene, "--reverse", "--time", CUT_LENGTH)
        sampler = Sampler(scene.router, client)
        start = sampler.wait_for_traffic()
        say(f"{CUT_LENGTH} s of download on one connection begin.")

        sleep_until(start + CUT_AT)
        say("The modem of wan1 is unplugged: the device vanishes from the router.")
        cut_at = time.monotonic() - start
        scene.unplug(1)

        sleep_until(start + BACK_AT)
        say("It is plugged in again. Its operator gives it another public address.")
        back_at = time.monotonic() - start
        scene.plug(1)
        say("The router renews the endpoint, for open connections to join over wan1 again:")
        say("    ip mptcp endpoint delete id 2")
        say(f"    ip mptcp endpoint add {tunnels.address(1)} dev tun1 id 2 subflow")
        joins = scene.router.counter("MPTcpExtMPJoinSynAckRx")
        tunnels.wan_is_up(1)
        wait_until(lambda: scene.router.counter("MPTcpExtMPJoinSynAckRx") > joins, 5,
                   "no connection joined over wan1 again")
        joined_at = time.monotonic() - start
        say(f"They have joined, {joined_at - back_at:.1f} s after it came back.")

        result(client, server)
        say("The download ran to its end, on the connection that it began with.")
        return Cut(sampler.stop(start), cut_at, back_at, joined_at)


def measure(scene: MultiWan, what: str, mptcp: bool = True) -> Row:
    rates = []
    for direction, options in ("download", ["--reverse"]), ("upload", []):
        done = result(*start_iperf3(scene, "--time", MEASURE, *options, mptcp=mptcp))
        rates.append(done["end"]["sum_received"]["bits_per_second"] / 1e6)
        say(f"{direction}: {rates[-1]:.0f} Mbit/s")
    if not mptcp:
        return Row(what, *rates, "")
    joined = scene.router.counter("MPTcpExtMPJoinSynAckRx") > 0
    say("The connections joined over the second link." if joined else
        "The connections fell back to plain TCP, on one link.")
    return Row(what, *rates, "yes" if joined else "no")


def start_iperf3(scene: MultiWan, *options: object, mptcp: bool = True) -> tuple[Process, Process]:
    """A transfer between router and server: (client, server)."""
    command = ["mptcpize", "run", "iperf3"] if mptcp else ["iperf3"]
    server = scene.server.start(*command, "--server", "--one-off", "--forceflush")
    server.expect("Server listening", stream="output")
    # Cubic is Linux's own default; this machine's may be another.
    client = scene.router.start(*command, "--client", scene.server_address, "--json",
                                "--congestion", "cubic", *options)
    return client, server


def result(client: Process, server: Process) -> dict:
    status = client.wait()
    said = json.loads(client.output() or "{}")
    if status or "error" in said:
        raise RuntimeError(f"the transfer broke: {said.get('error', client.everything())}")
    server.wait()
    return said


@dataclass(frozen=True)
class Sample:
    """How many bytes the application and the router's two tunnels had received at a time."""

    at: float
    application: int
    tunnels: tuple[int, ...]


class Sampler:
    """Takes samples of a download by a client on the router, all the time until it ends."""

    EVERY = 0.02

    def __init__(self, router: Host, client: Process):
        self._router = router
        self._client = client
        self._samples: list[Sample] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def wait_for_traffic(self) -> float:
        """Wait for the first half megabyte, and return when it was there."""
        wait_until(lambda: self._samples and sum(self._samples[-1].tunnels) > 500_000,
                   what="nothing goes through the tunnels")
        return self._samples[-1].at

    def stop(self, start: float) -> list[Sample]:
        """The samples since the start, with times from then on."""
        self._end.set()
        self._thread.join()
        return [replace(s, at=s.at - start) for s in self._samples if s.at >= start]

    def _sample(self) -> None:
        with self._router.inside():
            # The files of a process that has ended cannot be read.
            with suppress(FileNotFoundError, ProcessLookupError):
                while not self._end.wait(self.EVERY):
                    io = Path(f"/proc/{self._client.pid}/io").read_text().split()
                    devices = Path("/proc/thread-self/net/dev").read_text().splitlines()
                    received = {name.strip(): int(numbers.split()[0]) for name, _, numbers
                                in (line.partition(":") for line in devices[2:])}
                    self._samples.append(Sample(time.monotonic(), int(io[io.index("rchar:") + 1]),
                                                (received["tun0"], received["tun1"])))


def draw(cut: Cut, svg: Path) -> None:
    """Throughput over time, by gnuplot."""
    points = cut.samples[::round(DRAWN / Sampler.EVERY)]
    rates = "\n".join(
        " ".join(f"{number:.2f}" for number in [
            (before.at + after.at) / 2,
            *(megabits(b - a) / (after.at - before.at)
              for a, b in zip([before.application, *before.tunnels],
                              [after.application, *after.tunnels]))])
        for before, after in zip(points, points[1:]))
    script = f"""
        set terminal svg size 960,480 font "sans-serif,14" background "white"
        set title "A download through udp-encap-tun on two WANs of {RATE} Mbit/s"
        set xlabel "seconds"
        set ylabel "Mbit/s"
        set xrange [0:{CUT_LENGTH}]
        set yrange [0:{RATE * 2.6}]
        set grid ytics linecolor "#dddddd"
        set key top right horizontal
        set object rectangle from {cut.cut_at},graph 0 to {cut.back_at},graph 1 \\
            behind fillcolor "#eeeeee" fillstyle solid noborder
        set label "wan1 unplugged" at {(cut.cut_at + cut.back_at) / 2},{RATE * 2.2} center
        $rates << end
        {rates}
        end
        plot $rates using 1:2 with lines linewidth 3 linecolor "#222222" title "received", \\
             $rates using 1:3 with lines linewidth 1.5 linecolor "#1f77b4" title "over wan0", \\
             $rates using 1:4 with lines linewidth 1.5 linecolor "#d95f02" title "over wan1"
        """
    script = "\n".join(line.strip() for line in script.splitlines())
    drawn = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True)
    if drawn.returncode:
        raise RuntimeError(f"gnuplot: {drawn.stderr}")
    new = svg.with_name(f"{svg.name}.{os.getpid()}")  # another demonstration may write there too
    new.write_text(drawn.stdout)
    owner = svg.parent.stat()
    os.chown(new, owner.st_uid, owner.st_gid)
    new.replace(svg)


def report(rows: Sequence[Row], cut: Cut, svg: Path, seconds: float) -> int:
    print(f"\n{'Mbit/s':34} {'download':>10} {'upload':>10}   joined over both")
    for row in rows:
        print(f"{row.what:34} {row.download:10.1f} {row.upload:10.1f}   {row.joined}")
    one, *_, two = rows
    ratio = min(two.download / one.download, two.upload / one.upload)
    print(f"\nTwo tunnels carry {ratio:.2f} times what one WAN does; {GOAL} are asked for.\n")
    print("The download that lost a WAN: "
          f"{cut.mean(1, cut.cut_at):.0f} Mbit/s before, "
          f"{cut.mean(cut.cut_at + 1, cut.back_at):.0f} without wan1, "
          f"{cut.mean(cut.joined_at + 1, CUT_LENGTH):.0f} with it again.\n"
          f"The longest stall, in which the application received nothing: {cut.stall:.2f} s.")
    print(f"\nThroughput over time: {svg}\nIt took {seconds:.0f} s.")
    if ratio < GOAL:
        print(f"demo: two tunnels do not reach {GOAL} times one WAN", file=sys.stderr)
        return 1
    return 0


def megabits(octets: int) -> float:
    return octets * 8 / 1e6


def sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def heading(text: str) -> None:
    print(f"\n{text}", flush=True)


def say(text: str) -> None:
    print(f"    {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
