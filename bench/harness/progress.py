"""What is measured now, how far of how much, and how long it will take still, on standard error."""

import sys
import time

TRUST = 60  # seconds after which the time that jobs took weighs as much as what was expected


class Progress:
    def __init__(self, count: int, seconds: float):
        self._count = count
        self._done = 0
        self._left = seconds
        self._expected = 0.0
        self._began = time.monotonic()
        say(f"{count} measurements, about {duration(seconds)}")

    def begin(self, what: str) -> None:
        self._done += 1
        sys.stderr.write(f"[{self._done}/{self._count}] {what} ... ")
        sys.stderr.flush()

    def end(self, expected_seconds: float, outcome: str) -> None:
        """The measurement that began last is over; it was expected to take so long."""
        self._expected += expected_seconds
        self._left -= expected_seconds
        elapsed = time.monotonic() - self._began
        factor = (elapsed + TRUST) / (self._expected + TRUST)
        say(f"{outcome} ({duration(self._left * factor)} left)")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    seconds = max(0, round(seconds))
    return f"{seconds} s" if seconds < 90 else f"{seconds / 60:.0f} min"
