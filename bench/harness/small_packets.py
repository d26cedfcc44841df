"""Small packets: request/response pairs over some connections, and connection set-ups."""

from functools import partial

from .bed import Bed
from .jobs import Job, Measured
from .load import round_trips
from .results import Figures
from .settings import Settings
from .ways import Way

GROUP = "small-packets"
OVERHEAD = 0.8  # seconds: the load's own warm-up, and its connections


def case(connections: int, octets: int) -> str:
    return (f"{connections} connection{'s' if connections > 1 else ''}, "
            f"{octets} byte{'s' if octets > 1 else ''}")


def set_up_case(at_once: int) -> str:
    return f"set-ups, {at_once} at a time"


def jobs(settings: Settings, bed: Bed) -> list[Job]:
    rounds, seconds = settings.fewer_rounds, settings.small_packets_seconds
    loads = [(case(n, octets), n, octets, False)
             for octets in settings.message_sizes for n in settings.connections]
    loads += [(set_up_case(n), n, 1, True) for n in settings.set_ups]
    return [Job(GROUP, name, way.name, n, rounds, seconds + OVERHEAD,
                partial(measure, bed, way, name, connections, octets, set_ups, seconds))
            for n in range(1, rounds + 1)
            for name, connections, octets, set_ups in loads
            for way in bed.ready_ways()]


def measure(bed: Bed, way: Way, name: str, connections: int, octets: int, set_ups: bool,
            seconds: float) -> Measured:
    way.check()
    disorder: Figures = {}
    with bed.disorder(disorder):
        figures = round_trips(bed.client, way.target, seconds, connections, octets,
                              set_ups)
    first = "set_ups_per_second" if set_ups else "pairs_per_second"
    return [(name, {first: figures[first], **figures, **disorder})]
