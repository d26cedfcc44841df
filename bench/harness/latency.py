"""Latency of one connection with 1-byte messages: idle, beside a bulk flow, and beside a bulk
upload over a link of 20 Mbit/s, which shows whether the tunnel lets a queue grow where TCP alone
does not.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from .bed import Bed
from .jobs import Job, Measured
from .load import PATIENCE, iperf3_command, read_iperf3, round_trips
from .results import Figures
from .settings import Settings
from .ways import Way

GROUP = "latency"
IDLE = "idle"
BULK = "beside a bulk flow"
SLOW_LINK = "beside an upload over 20 Mbit/s"
PERCENTILES = ("p50_us", "p99_us", "p999_us")

RATE, QUEUE = "20mbit", "50ms"
OVERHEAD = 0.8
HEAD_START = 1  # seconds of the bulk flow alone
TOGETHER = 0.5  # and of the round trips' warm-up


def jobs(settings: Settings, bed: Bed) -> list[Job]:
    rounds = settings.fewer_rounds
    todo = []
    for n in range(1, rounds + 1):
        for way in bed.ready_ways():
            todo.append(Job(GROUP, IDLE, way.name, n, rounds, settings.seconds + OVERHEAD,
                            partial(idle, bed, way, settings.seconds)))
        for way in bed.ready_ways() if settings.under_bulk else ():
            todo.append(Job(GROUP, BULK, way.name, n, rounds, settings.seconds + 2.4,
                            partial(beside_bulk, bed, way, BULK, settings.seconds)))
        for way in bed.ready_ways():
            if way.name not in settings.not_on_slow_link:
                todo.append(Job(GROUP, SLOW_LINK, way.name, n, rounds,
                                settings.slow_link_seconds + 2.5,
                                partial(over_slow_link, bed, way, settings.slow_link_seconds)))
    return todo


def idle(bed: Bed, way: Way, seconds: float) -> Measured:
    way.check()
    return [(IDLE, latencies(round_trips(bed.client, way.target, seconds)))]


def over_slow_link(bed: Bed, way: Way, seconds: float) -> Measured:
    with slow_link(bed):
        return beside_bulk(bed, way, SLOW_LINK, seconds)


def beside_bulk(bed: Bed, way: Way, case: str, seconds: float) -> Measured:
    """The upload begins before the round trips' own warm-up, and ends after them."""
    way.check()
    disorder: Figures = {}
    with bed.disorder(disorder):
        bulk_seconds = math.ceil(HEAD_START + TOGETHER + seconds)
        bulk = bed.client.start(*iperf3_command(way.target, bulk_seconds))
        try:
            time.sleep(HEAD_START)
            figures = round_trips(bed.client, way.target, seconds)
            bulk.wait(seconds + PATIENCE)
            done = read_iperf3(bulk.output())
        except Exception:
            if bulk.alive:
                bulk.stop()
            bed.fresh_iperf3()
            raise
    return [(case, {**latencies(figures), "bulk_gbit_per_s": done.gbit_per_s, **disorder})]


def latencies(figures: Figures) -> Figures:
    return {**{name: figures[name] for name in (*PERCENTILES, "max_us")}, **figures}


@contextmanager
def slow_link(bed: Bed) -> Iterator[None]:
    """Both ends of the cable send no faster, and queue for so long."""
    for host in bed.client, bed.server:
        host.tbf("eth0", RATE, latency=QUEUE)
    try:
        yield
    finally:
        for host in bed.client, bed.server:
            host.run("tc", "qdisc", "delete", "dev", "eth0", "root")
