"""What the figures were measured on and with."""

import os
import platform
import re
import subprocess
import time
from datetime import date
from pathlib import Path

from .settings import BUILD, TREE, Settings



def describe(settings: Settings, quick: bool) -> dict[str, object]:
    return {
        "date": date.today().isoformat(),
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "versions": {
            "udp-encap-tun": first_line([BUILD / "udp-encap-tun", "--version"]),
            "git commit": commit(),
            "wireguard-go": first_line([settings.wireguard_go, "--version"]),
            "iperf3": first_line(["iperf3", "--version"]),
            "gcc": first_line(["gcc", "--version"]),
        },
        "busy_before": round(busy(), 2),
        "congestion_control": "cubic",
        "mtu": 1500,
        "quick": quick,
        "groups": list(settings.only),
        "rounds": settings.rounds,
        "fewer_rounds": settings.fewer_rounds,
        "seconds": settings.seconds,
        "fewer_seconds": settings.fewer_seconds,
        "slow_link_seconds": settings.slow_link_seconds,
        "not_on_slow_link": list(settings.not_on_slow_link),
    }


def cpu_model() -> str:
    """The name, and the family and model that tell what it is where a hypervisor hides the name."""
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M))
    return (f"{fields.get('model name', platform.machine())} "
            f"(family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})")


def busy(seconds: float = 1) -> float:
    """How much of the machine others use, a hypervisor's other guests among them: 0 to 1."""
    def times() -> list[int]:
        return list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))

    before = times()
    time.sleep(seconds)
    spent = [now - then for now, then in zip(times(), before)]
    idle = spent[3] + spent[4]  # waiting for a disk too
    return 1 - idle / max(1, sum(spent))


def first_line(command: list[str | Path]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except OSError:
        return "not there"
    return said.splitlines()[0].strip() if said else "says nothing"


def commit() -> str:
    """With a "+" when the tree has changes that no commit holds."""
    # The tree may belong to another user than root.
    git = ["git", "-c", f"safe.directory={TREE}", "-C", str(TREE)]
    name = first_line([*git, "rev-parse", "--short", "HEAD"])
    changed = subprocess.run([*git, "status", "--porcelain", "--", ".", ":!bench/results"],
                             capture_output=True, text=True).stdout
    return f"{name}+" if changed else name


def wireguard_has_offloads(settings: Settings) -> bool:
    """By an error message that only those have; many versions give the same number of theirs."""
    program = settings.wireguard_go
    return program.exists() and b"UDP GSO" in program.read_bytes()
