"""README.md and the man page say what the program says of itself: options, defaults, counters; and
what README.md tells its readers to run is there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lab
from tunnels import start_server

TREE = Path(__file__).resolve().parents[2]
README = (TREE / "README.md").read_text()
MAN_PAGE = (TREE / "doc" / "udp-encap-tun.8").read_text().replace("\\-", "-")
FENCES = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

OPTION = r"(?:-(?P<letter>\w), +)?--(?P<name>[a-z-]+)(?: (?P<argument>[A-Z]+|on/off))?"


class Option(NamedTuple):
    letter: str | None
    name: str
    argument: str | None
    default: str


def option(words: str, default: str) -> Option:
    found = re.fullmatch(OPTION, words)
    assert found, f"not the form of an option: {words}"
    return Option(found["letter"], found["name"], found["argument"], default)


def options_of_program(program: Path) -> list[Option]:
    """From --help, where a default stands in brackets at the end of a line."""
    text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    lines = re.findall(rf"^ +({OPTION})\s+(\S.*)$", text, re.MULTILINE)
    assert lines
    defaults = [re.search(r"\(([^()]*)\)$", line[-1]) for line in lines]
    return [option(line[0], found[1] if found else "") for line, found in zip(lines, defaults)]


def section(heading: str) -> str:
    """A section of the man page, without its heading."""
    return MAN_PAGE.partition(f".SH {heading}\n")[2].partition("\n.SH ")[0] + "\n"


def test_options_in_readme(program: Path) -> None:
    rows = re.findall(r"^\| `(-[^`]*)` \|[^|]*\|([^|]*)\|$", README, re.MULTILINE)
    documented = [option(words, default.strip()) for words, default in rows]
    assert documented == options_of_program(program)


def test_options_in_man_page(program: Path) -> None:
    documented = []
    for entry in section("OPTIONS").split(".TP\n")[1:]:
        words = re.sub(r"\\f[BIR]", "", entry.partition("\n")[0])
        found = re.search(r"^(?:Default: (.*)|(Required))\.$", entry, re.MULTILINE)
        documented.append(option(words, (found[1] or found[2].lower()) if found else ""))
    assert documented == options_of_program(program)


def test_counters(laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]) -> None:
    printed = list(start_server(start_tunnel, lab.pair(laboratory).server).counters())
    explained = re.findall(r"^\.TP\n\.B (\S+)$", section("COUNTERS"), re.MULTILINE)
    assert sorted(explained) == sorted(printed)
    # README.md explains those that somebody with a problem looks for.
    kinds = "|".join({name.partition("_")[0] for name in printed if "_" in name})
    assert set(re.findall(rf"`((?:{kinds})_\w+)`", README)) <= set(printed)


def test_commands_of_readme(program: Path) -> None:
    known = {found.name for found in options_of_program(program)}
    assert FENCES
    for fence in FENCES:
        subprocess.run(["bash", "-n"], input=fence, text=True, check=True)
        for target in re.findall(r"^make\b([^#\n]*)", fence, re.MULTILINE):
            subprocess.run(["make", "--dry-run", *target.split()], cwd=TREE, check=True,
                           stdout=subprocess.DEVNULL)
        for command in re.findall(
            r"^ *(?:nohup )?udp-encap-tun ((?:.*\\\n)*.*)$", fence, re.MULTILINE
        ):
            assert set(re.findall(r"--([a-z-]+)", command)) <= known
    scripts = set(re.findall(r"\b(?:scripts|bench)/(?:[a-z]+-)*[a-z]+\b(?![./-])", README))
    scripts -= {"bench/results", "bench/harness", "bench/limit"}
    assert scripts >= {"scripts/demo", "scripts/check", "bench/run"}
    for script in scripts:
        assert os.access(TREE / script, os.X_OK), script


def test_map_of_the_source() -> None:
    table = README.partition("| folder |")[2].partition("\n\n")[0]
    named = [path for row in table.splitlines()[2:]
             for path in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert [path for path in named if not (TREE / path).exists()] == []
    assert {f"src/{entry.name}" for entry in (TREE / "src").iterdir()} <= set(named)
