"""A job: one measurement that is still to be made, and how they are run one after the other."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from .progress import Progress
from .results import Figures, Results, Run
from .settings import TREE

Measured = list[tuple[str, Figures]]  # by case

ERRORS = (OSError, RuntimeError, ValueError, KeyError, ArithmeticError,
          subprocess.SubprocessError)


@dataclass(frozen=True)
class Job:
    """measure() gives the figures of one case, as a rule; growth gives some at once."""

    group: str
    case: str
    way: str
    round: int
    rounds: int
    expected_seconds: float
    measure: Callable[[], Measured]

    def __str__(self) -> str:
        return f"{self.group}, round {self.round} of {self.rounds}: {self.case}: {self.way}"


def run_all(jobs: list[Job], results: Results) -> None:
    """Run them in their order; one that fails leaves its reason, and the others go on."""
    progress = Progress(len(jobs), sum(job.expected_seconds for job in jobs))
    for job in jobs:
        progress.begin(str(job))
        try:
            measured = job.measure()
        except ERRORS as error:
            reason = one_line(error)
            results.runs.append(Run(job.group, job.case, job.way, job.round, failure=reason))
            progress.end(job.expected_seconds, f"failed: {reason}")
            continue
        for case, figures in measured:
            results.runs.append(Run(job.group, case, job.way, job.round, figures))
        progress.end(job.expected_seconds, headline(measured))


def headline(measured: Measured) -> str:
    """The first figure of each case: the one that the group is about."""
    firsts = [next(iter(figures.items())) for _, figures in measured if figures]
    return ", ".join(f"{value:,.{0 if value >= 1000 else 3}f} {name.replace('_', ' ')}"
                     for name, value in firsts)


def one_line(error: Exception) -> str:
    """The end of what an error says, without the paths of this machine."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"not done after {error.timeout:.0f} s"
    lines = [line.strip() for line in str(error).replace(f"{TREE}/", "").splitlines()]
    said = [line for line in lines if line and not line.startswith(("---", "command:"))]
    return said[-1] if said else type(error).__name__
