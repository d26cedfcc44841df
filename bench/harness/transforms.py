"""Encapsulation and decapsulation alone: nanoseconds for each segment, and the instructions that
valgrind counts, which are the same in every run."""

import json
import subprocess
from functools import partial
from pathlib import Path

from .jobs import Job, Measured
from .settings import BUILD, TREE, Settings
from .ways import OWN

GROUP = "transforms"
TIME, INSTRUCTIONS = "time", "instructions"
PROGRAM = BUILD / "bench" / "transforms"
CEILING = TREE / "scripts" / "instruction-ceiling"
KINDS = ("encapsulate_bulk", "encapsulate_small", "encapsulate_checked", "decapsulate_bulk",
         "decapsulate_small")
TIMEOUT = 300


def jobs(settings: Settings) -> list[Job]:
    todo = [Job(GROUP, TIME, OWN, n, settings.rounds, 3.3,
                partial(measure, TIME, [PROGRAM, "--seconds", "0.2"]))
            for n in range(1, settings.rounds + 1)]
    return [*todo, Job(GROUP, INSTRUCTIONS, OWN, 1, 1, 2,
                       partial(measure, INSTRUCTIONS, [CEILING, "--print-json"]))]


def measure(case: str, command: list[str | Path]) -> Measured:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        raise RuntimeError(done.stderr or f"{Path(command[0]).name} ended with status "
                                          f"{done.returncode}")
    return [(case, json.loads(done.stdout.strip().splitlines()[-1]))]
