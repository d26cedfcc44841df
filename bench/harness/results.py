"""Every single run's figures, and the questions that are asked of them.

A run is one measurement of one way: its group ("throughput"), its case ("1 flow, upload"), the
round it belongs to, and its figures by name. Peers are compared inside a round only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

Figures = dict[str, float]


@dataclass(frozen=True)
class Run:
    """What one measurement gave; one that failed has a reason instead of figures."""

    group: str
    case: str
    way: str
    round: int
    figures: Figures = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Stat:
    """The median of some runs, and between which values they were."""

    median: float
    low: float
    high: float
    runs: int

    @staticmethod
    def of(values: Iterable[float]) -> "Stat | None":
        values = list(values)
        return Stat(median(values), min(values), max(values), len(values)) if values else None


@dataclass
class Results:
    """All runs, and the ways that could not be measured with the reason."""

    runs: list[Run] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    own_ways: list[str] = field(default_factory=list)  # of the program itself, with its offloads
    missing: dict[str, str] = field(default_factory=dict)
    wireguard_has_offloads: bool = False

    def cases(self, group: str) -> list[str]:
        return list(dict.fromkeys(run.case for run in self.runs if run.group == group))

    def ways_of(self, group: str) -> list[str]:
        """Those that the group measured, in its order."""
        return list(dict.fromkeys(run.way for run in self.runs if run.group == group))

    def rounds(self, group: str, case: str) -> int:
        return len({run.round for run in self.runs if (run.group, run.case) == (group, case)})

    def why_empty(self, group: str, case: str, way: str) -> str | None:
        """Why there is no figure of a way in a case: None if there is one."""
        runs = [run for run in self.runs if (run.group, run.case, run.way) == (group, case, way)]
        if any(run.figures for run in runs):
            return None
        return f"failed: {runs[0].failure}" if runs else "not measured"

    def values(self, group: str, case: str, way: str, figure: str) -> dict[int, float]:
        """The figure in each round that has it."""
        return {run.round: run.figures[figure] for run in self.runs
                if (run.group, run.case, run.way) == (group, case, way) and figure in run.figures}

    def stat(self, group: str, case: str, way: str, figure: str) -> Stat | None:
        return Stat.of(self.values(group, case, way, figure).values())

    def ratios(self, group: str, case: str, figure: str, way: str, against: str) -> list[float]:
        """One way against another, round by round."""
        base = self.values(group, case, against, figure)
        return [value / base[n] for n, value in self.values(group, case, way, figure).items()
                if base.get(n)]

    def failures(self) -> list[Run]:
        return [run for run in self.runs if run.failure]
