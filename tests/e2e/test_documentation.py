"""The man page and what stands in Markdown say what the program says of itself: options, defaults,
counters; and what they tell their readers to run is there."""

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
NAMES = "README.md", "doc/router.md", "doc/design.md", "HACKING.md"
DOCUMENTS = {name: (TREE / name).read_text() for name in NAMES}
README_MD, ROUTER_MD, DESIGN_MD, _ = DOCUMENTS.values()
MAN_PAGE = (TREE / "doc" / "udp-encap-tun.8").read_text().replace("\\-", "-")


def fences(text: str) -> list[str]:
    """The commands that a document has its readers type, a text each."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


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
    # doc/router.md explains those that somebody with a problem looks for.
    kinds = "|".join({name.partition("_")[0] for name in printed if "_" in name})
    assert set(re.findall(rf"`((?:{kinds})_\w+)`", README_MD + ROUTER_MD)) <= set(printed)


def test_commands(program: Path) -> None:
    known = {found.name for found in options_of_program(program)}
    for fence in fences(README_MD) + fences(ROUTER_MD):
        subprocess.run(["bash", "-n"], input=fence, text=True, check=True)
        for target in re.findall(r"^make\b([^#\n]*)", fence, re.MULTILINE):
            subprocess.run(["make", "--dry-run", *target.split()], cwd=TREE, check=True,
                           stdout=subprocess.DEVNULL)
        for command in re.findall(
            r"^ *(?:nohup )?udp-encap-tun ((?:.*\\\n)*.*)$", fence, re.MULTILINE
        ):
            assert set(re.findall(r"--([a-z-]+)", command)) <= known


def test_options_named_in_passing(program: Path) -> None:
    """Each that stands alone in the text, with or without its argument, is one of the program's."""
    known = {found.name for found in options_of_program(program)} | {"quick"}  # of bench/run
    for text in (README_MD, ROUTER_MD, DESIGN_MD):
        assert set(re.findall(r"`--([a-z-]+)(?: [^` ]+)?`", text)) - known == set()


def test_scripts_and_links() -> None:
    scripts = set(re.findall(r"\b(?:scripts|bench)/(?:[a-z]+-)*[a-z]+\b(?![./-])",
                             "".join(DOCUMENTS.values())))
    scripts -= {"bench/results", "bench/harness", "bench/limit", "bench/store",
                "bench/transforms"}
    assert scripts >= {"scripts/demo", "scripts/check", "bench/run"}
    for script in scripts:
        assert os.access(TREE / script, os.X_OK), script
    for name, text in DOCUMENTS.items():
        for target in re.findall(r"\]\(([^):#]+)\)", text):
            assert (TREE / name).parent.joinpath(target).exists(), f"{name} points to {target}"


def test_map_of_the_source() -> None:
    table = DESIGN_MD.partition("| folder |")[2].partition("\n\n")[0]
    named = [path for row in table.splitlines()[2:]
             for path in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert [path for path in named if not (TREE / path).exists()] == []
    assert {f"src/{entry.name}" for entry in (TREE / "src").iterdir()} <= set(named)
