"""The programs that make traffic, iperf3 and round-trips, and what they report.

One connection's round trips are measured between a client and a server on processors of their own,
as two machines would be. Where the scheduler puts them decides otherwise: on one processor they
wake each other up several times faster, and only without a tunnel do they always fit on one.
"""

import json
import os
from dataclasses import dataclass

import lab

from .results import Figures
from .settings import BUILD

ROUND_TRIPS = BUILD / "bench" / "round-trips"
IPERF_PORT, ECHO_PORT, PINNED_PORT = 5201, 5202, 5203
NEAR_CPU, *_, FAR_CPU = sorted(os.sched_getaffinity(0)) * 2  # one machine may have only one
PATIENCE = 30  # seconds beyond the load's own time


@dataclass(frozen=True)
class Transfer:
    """What arrived at the other end of a bulk transfer."""

    octets: float
    seconds: float

    @property
    def gbit_per_s(self) -> float:
        return self.octets * 8 / self.seconds / 1e9


def iperf3_command(target: str, seconds: float, flows: int = 1, download: bool = False,
                   port: int = IPERF_PORT) -> list[object]:
    # Cubic is Linux's own default; this machine's may be another.
    command: list[object] = ["iperf3", "--client", target, "--port", port, "--time",
                             round(seconds), "--parallel", flows, "--congestion", "cubic", "--json"]
    return [*command, "--reverse"] if download else command


def read_iperf3(text: str) -> Transfer:
    report = json.loads(text or "{}")
    if "error" in report or "end" not in report:
        raise RuntimeError(f"iperf3: {report.get('error', 'it said nothing')}")
    received = report["end"]["sum_received"]
    if not received["bytes"] or not received["seconds"]:
        raise RuntimeError("iperf3: nothing arrived")
    return Transfer(received["bytes"], received["seconds"])


def transfer(client: lab.Host, target: str, seconds: float, flows: int = 1,
             download: bool = False, port: int = IPERF_PORT) -> Transfer:
    command = iperf3_command(target, seconds, flows, download, port)
    return read_iperf3(client.run(*command, check=False, timeout=seconds + PATIENCE).stdout)


def round_trips(client: lab.Host, target: str, seconds: float, connections: int = 1,
                octets: int = 1, set_ups: bool = False) -> Figures:
    command: list[object] = [ROUND_TRIPS, "--connect", target, ECHO_PORT]
    if connections == 1:
        command = ["taskset", "--cpu-list", NEAR_CPU, ROUND_TRIPS, "--connect", target, PINNED_PORT]
    command += ["--connections", connections, "--bytes", octets, "--seconds", seconds]
    if set_ups:
        command.append("--set-ups")
    return json.loads(client.run(*command, timeout=seconds + PATIENCE).stdout)
