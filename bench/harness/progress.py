"""What is measured now, how far of how much, and how long it will take still, on standard error."""

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .jobs import Job

TRUST = 60  # seconds after which the time that jobs took weighs as much as what was expected


class Progress:
    def __init__(self, jobs: list["Job"]):
        self._count = len(jobs)
        self._done = 0
        self._left = sum(job.expected_seconds for job in jobs)
        self._expected = 0.0
        self._began = time.monotonic()
        say(f"{self._count} measurements, about {duration(self._left)}")

    def begin(self, job: "Job") -> None:
        self._done += 1
        sys.stderr.write(f"[{self._done}/{self._count}] {job.group}, round {job.round} of "
                         f"{job.rounds}: {job.case}: {job.way} ... ")
        sys.stderr.flush()

    def end(self, job: "Job", outcome: str) -> None:
        self._expected += job.expected_seconds
        self._left -= job.expected_seconds
        elapsed = time.monotonic() - self._began
        factor = (elapsed + TRUST) / (self._expected + TRUST)
        say(f"{outcome} ({duration(self._left * factor)} left)")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    seconds = max(0, round(seconds))
    return f"{seconds} s" if seconds < 90 else f"{seconds / 60:.0f} min"
