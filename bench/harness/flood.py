"""One flow beside a flood of forged sources at the server's UDP port, each datagram from another
one (rule R7). Only this program, and others of its kind; after the other groups, because one
without that rule has its pool full from then on.
"""

import socket
from functools import partial

import lab

from . import throughput
from .bed import Bed
from .jobs import Job, Measured
from .settings import OWN, Settings
from .ways import Way

GROUP = "flood"
RATE = 100_000  # datagrams a second
OVERHEAD = 1.4  # seconds to prepare the frames, and of the transfer
WORDS = {"syn": "openings", "ack": "acknowledgments", "keepalive": "keepalives"}


def case(kind: str, direction: str) -> str:
    return f"1 flow, {direction}, beside {RATE:,} {WORDS[kind]} a second"


def jobs(settings: Settings, bed: Bed) -> list[Job]:
    rounds, seconds = settings.fewer_rounds, settings.fewer_seconds
    names = OWN, *settings.names_of_others
    return [Job(GROUP, case(kind, direction), way.name, n, rounds, seconds + OVERHEAD,
                partial(measure, bed, way, kind, direction, seconds))
            for n in range(1, rounds + 1)
            for kind in settings.floods
            for direction in throughput.DIRECTIONS
            for way in bed.ready_ways() if way.name in names]


def measure(bed: Bed, way: Way, kind: str, direction: str, seconds: float) -> Measured:
    with bed.server.inside():
        called = socket.create_server(("", 0))
    with called:
        payload = lab.FLOODS[kind](called.getsockname()[1])
        with lab.Flood(bed.scene, way.port, payload, RATE, target=way.target) as flood:
            [(_, figures)] = throughput.measure(bed, way, 1, direction, seconds)
    figures["forged_per_second"] = flood.sent / flood.lasted
    return [(case(kind, direction), figures)]
