"""connection_store alone, without packets, and a table behind a mutex beside it."""

import json
import subprocess
from functools import partial

from .jobs import Job, Measured
from .settings import BUILD, Settings

GROUP = "store"
STORE = "connection_store"
PROGRAM = BUILD / "bench" / "store"
TIMEOUT = 120

ENTRIES_OF_TARGETS = 1_000_000  # what the targets are about gets more rounds
TIMES = 20  # that a measurement takes the seconds of one figure
FILL_PER_ENTRY = 8e-6  # seconds


def case(entries: int, threads: int) -> str:
    return f"{entries:,} entries, {threads} thread{'s' if threads > 1 else ''}"


def jobs(settings: Settings) -> list[Job]:
    """A figure is a median of three repetitions already: one round is enough for most."""
    def rounds(entries: int, threads: int, table: str) -> int:
        asked = entries == ENTRIES_OF_TARGETS and threads <= 2 and table == STORE
        return settings.fewer_rounds if asked else 1

    return [Job(GROUP, case(entries, threads), table, n, rounds(entries, threads, table),
                TIMES * settings.store_seconds + entries * FILL_PER_ENTRY,
                partial(measure, entries, threads, table, settings.store_seconds))
            for n in range(1, settings.fewer_rounds + 1)
            for entries in settings.entries
            for threads in settings.store_threads
            for table in settings.tables if n <= rounds(entries, threads, table)]


def measure(entries: int, threads: int, table: str, seconds: float) -> Measured:
    done = subprocess.run([PROGRAM, "--entries", str(entries), "--threads", str(threads),
                           "--seconds", str(seconds), "--table", table],
                          capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        raise RuntimeError(done.stderr or f"store ended with status {done.returncode}")
    figures = {name: value for name, value in json.loads(done.stdout).items()
               if isinstance(value, (int, float))}
    first = "lookup_by_peer_per_s"
    return [(case(entries, threads), {first: figures[first], **figures})]
