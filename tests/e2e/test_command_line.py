"""Wrong usage: one line that names the option and what it takes, and status 2. Right usage that
needs no network: --help and --version."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

REQUIRED = {"--interface": "tun0", "--listen-port": "5000", "--bind-to-interface": "eth0"}
SERVER = [word for pair in REQUIRED.items() for word in pair]
ENDPOINT = [*SERVER, "--endpoint-port", "5000"]

# Option, what it is given, and a word of what the message must say that it takes.
WRONG_ARGUMENTS = [
    *(
        (option, value, "65535")
        for option in ("--listen-port", "--endpoint-port")
        for value in ("0", "65536", "-1", "http", "", "80x", " 80", "99999999999999999999")
    ),
    *(("--threads", value, "") for value in ("0", "-1", "two", "", "1.5", "1000000")),
    *(
        ("--address", value, "")
        for value in ("10.0.0.1/33", "10.0.0.1/", "10.0.0/24", "fe80::1/64", "here", "", "/24",
                      "10.0.0.256/24", "10.0.0.1/24x", "10.0.0.1/-1")
    ),
    *(("--mtu", value, "") for value in ("0", "67", "65536", "-1", "big", "")),
    *(
        ("--peer-pool", value, "")
        for value in ("10.0.0.0/33", "10.0.0.0/", "::/64", "pool", "", "10.0.0.0/24/24")
    ),
    *(
        (option, value, "")
        for option in ("--connection-timeout", "--max-connections")
        for value in ("0", "-1", "long", "", "5m", "99999999999999999999")
    ),
    *(("--address-quarantine", value, "") for value in ("-1", "long", "", "99999999999999999999")),
    *(("--busy-poll", value, "10000") for value in ("-1", "10001", "on", "", "1.5")),
    *(("--fwmark", value, "") for value in ("-1", "mark", "", "4294967296")),
    *(("--offload", value, "off") for value in ("yes", "", "On", "1", "onoff")),
    *(
        (option, value, "off")
        for option in ("--tun-offload", "--udp-segmentation", "--udp-gro")
        for value in ("yes", "")
    ),
    *(("--cpus", value, "0,2-3") for value in ("", "a", "0-", "-1", "3-1", "0,,1", "0,", "1024")),
    *(("--log-level", value, "warning") for value in ("loud", "", "INFO", "3")),
    *(
        (option, value, "")
        for option in ("--keepalive", "--keepalive-for")
        for value in ("-1", "often", "", "99999999999999999999")
    ),
    *(
        (option, value, "")
        for option in ("--interface", "--bind-to-interface")
        for value in ("", "sixteen-letters-", "a/b", "a b", ".", "..", "tun%d")
    ),
]
FLAGS = ("--wait-for-device", "--solicited-only", "--log-peers", "--port-per-worker")
OPTIONS_WITH_ARGUMENT = sorted({option for option, _, _ in WRONG_ARGUMENTS})


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program where there is nothing that it could touch if it did not end at once."""
    return subprocess.run(
        ["unshare", "--net", program, *arguments],
        capture_output=True, text=True, timeout=10, check=False,
    )


def usual(option: str) -> list[str]:
    """A command line that is right but for this option."""
    rest = [word for name, value in REQUIRED.items() if name != option for word in (name, value)]
    if option.startswith("--keepalive") or option in ("--solicited-only", "--port-per-worker"):
        rest += ["--endpoint-port", "5000"]
    return rest


def assert_wrong_usage(done: subprocess.CompletedProcess[str], named: str) -> None:
    """Status 2, and one line on standard error that names what is wrong."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    assert named in done.stderr


@pytest.mark.parametrize("option, value, says", WRONG_ARGUMENTS)
def test_wrong_argument(program: Path, option: str, value: str, says: str) -> None:
    done = run(program, *usual(option), option, value)
    assert_wrong_usage(done, option)
    assert says in done.stderr
    assert run(program, *usual(option), f"{option}={value}").returncode == 2


@pytest.mark.parametrize("option", OPTIONS_WITH_ARGUMENT)
def test_argument_missing(program: Path, option: str) -> None:
    assert_wrong_usage(run(program, *usual(option), option), option)


@pytest.mark.parametrize("option", FLAGS)
def test_argument_too_many(program: Path, option: str) -> None:
    assert_wrong_usage(run(program, *usual(option), f"{option}=yes"), option)


@pytest.mark.parametrize("option", REQUIRED)
def test_required_option_missing(program: Path, option: str) -> None:
    assert_wrong_usage(run(program, *usual(option)), option)


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([*SERVER, "--unknown"], "--unknown"),
        ([*SERVER, "-z"], "z"),
        ([*SERVER, "extra"], "extra"),
        ([*SERVER, "--", "extra"], "extra"),
        (["frobnicate"], "frobnicate"),
        ([], "--interface"),
        ([*ENDPOINT, "--peer-pool", "10.0.0.0/24"], "--peer-pool"),
        ([*SERVER, "--solicited-only"], "--solicited-only"),
        ([*SERVER, "--port-per-worker"], "--port-per-worker"),
        ([*ENDPOINT, "--port-per-worker", "--threads", "2", "--listen-port", "65535"],
         "--port-per-worker"),
        ([*SERVER, "--keepalive", "5"], "--keepalive"),
        ([*SERVER, "--offload", "off", "--udp-gro", "on"], "--udp-gro"),
    ],
)
def test_other_wrong_usage(program: Path, arguments: list[str], named: str) -> None:
    assert_wrong_usage(run(program, *arguments), named)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], [*SERVER, "--help"]])
def test_help(program: Path, arguments: list[str]) -> None:
    """It names every option, and asking for it is no error."""
    done = run(program, *arguments)
    assert done.returncode == 0
    assert done.stderr == ""
    for option in (*OPTIONS_WITH_ARGUMENT, *FLAGS, "--help", "--version"):
        assert option in done.stdout
    for letter in "ilbet":
        assert f"-{letter}, --" in done.stdout


def test_version(program: Path) -> None:
    done = run(program, "--version")
    assert done.returncode == 0
    assert done.stderr == ""
    name, version = done.stdout.split()
    assert name == "udp-encap-tun"
    assert version[0].isdigit()
