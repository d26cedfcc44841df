"""Throughput of TCP flows in both directions, and what the two ends of a tunnel pay for it."""

from functools import partial

from .bed import Bed
from .jobs import Job, Measured
from .load import transfer
from .results import Figures
from .settings import Settings
from .ways import Way

GROUP = "throughput"
DIRECTIONS = ("upload", "download")
OVERHEAD = 0.4  # seconds to start and end a transfer


def case(flows: int, direction: str) -> str:
    return f"{flows} flow{'s' if flows > 1 else ''}, {direction}"


def jobs(settings: Settings, bed: Bed) -> list[Job]:
    """One flow is what most targets are about: it gets all rounds."""
    todo = []
    for n in range(1, settings.rounds + 1):
        for flows in settings.flows:
            rounds = settings.rounds if flows == 1 else settings.fewer_rounds
            seconds = settings.seconds if flows == 1 else settings.fewer_seconds
            for direction in DIRECTIONS if n <= rounds else ():
                todo += [Job(GROUP, case(flows, direction), way.name, n, rounds,
                             seconds + OVERHEAD,
                             partial(measure, bed, way, flows, direction, seconds))
                         for way in bed.ready_ways()]
    return todo


def measure(bed: Bed, way: Way, flows: int, direction: str, seconds: float) -> Measured:
    way.check()
    ends = {"sending": way.client_end, "receiving": way.server_end}
    if direction == "download":
        ends = {"sending": way.server_end, "receiving": way.client_end}
    before = {name: end.cpu_seconds() for name, end in ends.items() if end}
    figures: Figures = {"gbit_per_s": 0}
    with bed.disorder(figures):
        try:
            done = transfer(bed.client, way.target, seconds, flows, direction == "download")
        except Exception:
            bed.fresh_iperf3()
            raise
    figures |= {"gbit_per_s": done.gbit_per_s, "seconds": done.seconds, "octets": done.octets}
    for name, end in ends.items():
        if end:
            spent = [now - then for now, then in zip(end.cpu_seconds(), before[name])]
            figures |= cost(name, *spent, done.octets)
    if "cores_per_gbit_sending" in figures:
        figures["cores_per_gbit"] = (figures["cores_per_gbit_sending"]
                                     + figures["cores_per_gbit_receiving"])
    return [(case(flows, direction), figures)]


def cost(end: str, user: float, system: float, octets: float) -> Figures:
    return {f"{end}_user_s_per_gigabyte": user / (octets / 1e9),
            f"{end}_system_s_per_gigabyte": system / (octets / 1e9),
            f"cores_per_gbit_{end}": (user + system) / (octets * 8 / 1e9)}
