"""What a run of the benchmark measures, for how long and how often."""

from dataclasses import dataclass, replace
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
BUILD = TREE / "build"

# The names of the ways that are compared.
NO_TUNNEL = "no tunnel"
OWN = "udp-encap-tun"
VXLAN = "VXLAN"
WIREGUARD = "wireguard-go"
LIMIT = "limit"
FIRST_LIMIT = "limit as first written"
PLAIN_LOOP = "one packet a system call"

GROUPS = ("throughput", "small-packets", "latency", "flood", "forwarded", "store", "transforms",
          "growth")


@dataclass(frozen=True)
class Settings:
    """The figures of a full run; quick() makes those of a run of a minute."""

    rounds: int = 5
    seconds: float = 3
    only: tuple[str, ...] = GROUPS
    ways: tuple[str, ...] = ()  # none: all
    others: tuple[Path, ...] = ()
    first_limit: Path | None = None
    wireguard_go: Path = Path("/usr/bin/wireguard-go")

    flows: tuple[int, ...] = (1, 4, 16)
    connections: tuple[int, ...] = (1, 64, 1000)
    message_sizes: tuple[int, ...] = (1, 100)
    set_ups: tuple[int, ...] = (1, 64)
    under_bulk: bool = True
    slow_link_seconds: float = 8  # some 20 round trips a second there: fewer have no p99
    not_on_slow_link: tuple[str, ...] = (PLAIN_LOOP, WIREGUARD)
    floods: tuple[str, ...] = ("syn", "ack", "keepalive")
    entries: tuple[int, ...] = (1000, 100_000, 1_000_000)
    tables: tuple[str, ...] = ("connection_store", "mutex")
    store_threads: tuple[int, ...] = (1, 2, 4)
    store_seconds: float = 0.1  # each figure is a median of three such times already
    peers: tuple[int, ...] = (1, 100, 10_000, 100_000)
    growth_threads: tuple[int, ...] = (1, 2, 4)

    @property
    def names_of_others(self) -> list[str]:
        return [f"other: {path.name}" for path in self.others]

    @property
    def fewer_rounds(self) -> int:
        """Of the groups that would take too long with all of them."""
        return (self.rounds + 1) // 2

    @property
    def fewer_seconds(self) -> float:
        return max(1, self.seconds - 1)

    @property
    def small_packets_seconds(self) -> float:
        return max(1, self.seconds / 2)

    def quick(self) -> "Settings":
        return replace(self, rounds=1, seconds=1, ways=(NO_TUNNEL, OWN, VXLAN, LIMIT),
                       flows=(1, 4), connections=(64, 1000), message_sizes=(1,), set_ups=(),
                       under_bulk=False, slow_link_seconds=3, not_on_slow_link=(VXLAN, LIMIT),
                       floods=("syn",),
                       entries=(100_000,), store_threads=(1, 2), tables=("connection_store",),
                       peers=(1, 10_000), growth_threads=(1,))
