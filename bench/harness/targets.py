"""What the project asks of its speed, what was measured, and whether that is enough.

A target has one or more parts, an upload and a download for example. Each part is a list of values,
one from each round: ratios are made inside a round. It is met when the median of every part is on
the right side of its bound, and not measured when a part has no values.
"""

from collections.abc import Callable
from dataclasses import dataclass

from . import latency, small_packets, store, throughput
from .results import Results, Stat
from .ways import FIRST_LIMIT, LIMIT, NO_TUNNEL, VXLAN, WIREGUARD


@dataclass(frozen=True)
class Part:
    """Some values of a target, and the bound of their median."""

    label: str
    values: list[float]
    bound: float
    at_least: bool
    digits: int = 2
    scale: float = 1

    @property
    def stat(self) -> Stat | None:
        return Stat.of(value / self.scale for value in self.values)

    @property
    def met(self) -> bool:
        stat = self.stat
        return stat is not None and (stat.median >= self.bound if self.at_least
                                     else stat.median <= self.bound)


@dataclass(frozen=True)
class Target:
    """parts(results, way) is what was measured of one way of the program."""

    what: str
    asked: str
    parts: Callable[[Results, str], list[Part]]
    one_way_only: bool = False  # not about a way at all: the store

    def verdict(self, results: Results, way: str) -> str:
        parts = self.parts(results, way)
        if not parts or any(part.stat is None for part in parts):
            return "not measured"
        return "met" if all(part.met for part in parts) else "not met"


def at_least(label: str, values: list[float], bound: float, **how: float) -> Part:
    return Part(label, values, bound, True, **how)


def at_most(label: str, values: list[float], bound: float, **how: float) -> Part:
    return Part(label, values, bound, False, **how)


def flows_against(other: str, flows: int, bound: float) -> Callable[[Results, str], list[Part]]:
    """The throughput of both directions against another way's."""
    def parts(results: Results, way: str) -> list[Part]:
        return [at_least(direction, results.ratios(throughput.GROUP,
                                                   throughput.case(flows, direction),
                                                   "gbit_per_s", way, other), bound)
                for direction in throughput.DIRECTIONS]

    return parts


def against_wireguard(results: Results, way: str) -> list[Part]:
    """Only one with offloads counts."""
    return flows_against(WIREGUARD, 1, 4)(results, way) if results.wireguard_has_offloads else []


def cores(results: Results, way: str) -> list[Part]:
    return [at_most(direction, list(results.values(
        throughput.GROUP, throughput.case(1, direction), way, "cores_per_gbit").values()), 0.12,
        digits=3) for direction in throughput.DIRECTIONS]


def pairs_on_64(results: Results, way: str) -> list[Part]:
    return [at_least("", results.ratios(small_packets.GROUP, small_packets.case(64, 1),
                                        "pairs_per_second", way, NO_TUNNEL), 0.45)]


def tail_on_1000(results: Results, way: str) -> list[Part]:
    case = small_packets.case(1000, 1)
    return [at_most("p99", results.ratios(small_packets.GROUP, case, "p99_us", way, NO_TUNNEL), 4),
            at_most("retransmitted", list(results.values(
                small_packets.GROUP, case, way, "retransmitted").values()), 0, digits=0)]


def tail_on_slow_link(results: Results, way: str) -> list[Part]:
    return [at_most("", results.ratios(latency.GROUP, latency.SLOW_LINK, "p99_us", way, NO_TUNNEL),
                    1.5)]


def added_latency(results: Results, way: str) -> list[Part]:
    return [at_most("", [ratio - 1 for ratio in results.ratios(
        latency.GROUP, latency.IDLE, "p50_us", way, NO_TUNNEL)], 0.6)]


MILLION = 1_000_000


def store_values(results: Results, threads: int, figure: str) -> dict[int, float]:
    return results.values(store.GROUP, store.case(MILLION, threads), store.STORE, figure)


def lookups(figure: str, millions: float) -> Callable[[Results, str], list[Part]]:
    return lambda results, _: [at_least("", list(store_values(results, 1, figure).values()),
                                        millions, digits=1, scale=MILLION)]


def two_threads(results: Results, _: str) -> list[Part]:
    def ratios(figure: str) -> list[float]:
        one = store_values(results, 1, figure)
        return [value / one[n] for n, value in store_values(results, 2, figure).items() if n in one]

    return [at_least("alone", ratios("lookup_by_peer_per_s"), 1.7),
            at_least("while it changes", ratios("lookup_by_peer_while_changing_per_s"), 1.5)]


def entry_size(results: Results, _: str) -> list[Part]:
    return [at_most("", list(store_values(results, 1, "bytes_per_entry").values()), 160, digits=0)]


TARGETS = [
    Target("one flow against `bench/limit` as first written", "at least 1.2 times",
           flows_against(FIRST_LIMIT, 1, 1.2)),
    Target("one flow against `bench/limit`, which has what won too", "at least 0.95",
           flows_against(LIMIT, 1, 0.95)),
    Target("one flow against no tunnel", "at least 0.40", flows_against(NO_TUNNEL, 1, 0.40)),
    Target("four flows against no tunnel", "at least 0.30", flows_against(NO_TUNNEL, 4, 0.30)),
    Target("one flow against wireguard-go with offloads", "at least 4 times", against_wireguard),
    Target("one flow against VXLAN in the kernel", "at least 0.7", flows_against(VXLAN, 1, 0.7)),
    Target("cores per Gbit/s, sending plus receiving, one flow", "at most 0.12", cores),
    Target("1-byte pairs a second on 64 connections against no tunnel", "at least 0.45",
           pairs_on_64),
    Target("p99 of 1-byte pairs on 1,000 connections against no tunnel",
           "at most 4 times, no retransmission", tail_on_1000),
    Target("p99 beside a bulk upload over 20 Mbit/s against no tunnel", "at most 1.5 times",
           tail_on_slow_link),
    Target("median latency added, one connection, idle, against the untunnelled median",
           "at most 0.6", added_latency),
    Target("lookups by peer, 1,000,000 entries, one thread, million a second", "at least 3",
           lookups("lookup_by_peer_per_s", 3), one_way_only=True),
    Target("lookups by tunnel address, same", "at least 25",
           lookups("lookup_by_tunnel_address_per_s", 25), one_way_only=True),
    Target("lookups by peer with 2 threads against 1, same",
           "at least 1.7 times; 1.5 while it changes", two_threads, one_way_only=True),
    Target("bytes for each entry, both indexes included, same", "at most 160", entry_size,
           one_way_only=True),
]
