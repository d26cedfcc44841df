"""Fixtures of the end-to-end tests: a laboratory of network namespaces for each test, the program
started in it, and what the program wrote in the report of a test that failed.

They need root.  Environment:
  UDP_ENCAP_TUN             the program to test (default: build/udp-encap-tun of this tree)
  UDP_ENCAP_TUN_SANITIZED   "1": it is a sanitizer build; bounds on its memory and time are wider
  E2E_TRANSFER_MIB          size of the large transfers (default: 1024)
  E2E_FLOOD_RATE            of their datagrams, a second (default: 30000)
  E2E_FLOOD_SECONDS         how long each flood of forged sources lasts (default: 3)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TREE / "scripts"), str(TREE / "tests")]

import lab  # noqa: E402
from datagrams import (  # noqa: E402
    BareEndpoint,
    BareServer,
    make_bare_endpoint,
    make_bare_server,
)
from streams import Payload  # noqa: E402
from tunnels import TunnelledPair, instead_of, make_tunnelled_pair  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the programs of a failed test's laboratory wrote."""
    report = (yield).get_result()
    laboratory = getattr(item, "funcargs", {}).get("laboratory")
    if report.failed and report.when != "teardown" and laboratory:
        for process in laboratory.processes:
            report.sections.append((f"process {process.name}", process.everything()[-8000:]))


@pytest.fixture(scope="session")
def program() -> Path:
    """The program under test."""
    path = Path(os.environ.get("UDP_ENCAP_TUN") or lab.BUILT_HERE)
    if not path.exists():
        pytest.exit(f"{path} is not there: run make first", returncode=1)
    return path


@pytest.fixture(scope="session")
def sanitized() -> bool:
    """Whether the program was built with sanitizers."""
    return os.environ.get("UDP_ENCAP_TUN_SANITIZED") == "1"


@pytest.fixture(scope="session")
def payload() -> Iterator[Payload]:
    """Random data for transfers, made once; tests take as much from its beginning as they need."""
    with Payload(int(os.environ.get("E2E_TRANSFER_MIB", "1024")) << 20) as data:
        yield data


@pytest.fixture
def laboratory() -> Iterator[lab.Laboratory]:
    """A laboratory that ends with the test."""
    with lab.Laboratory() as laboratory:
        yield laboratory


@pytest.fixture
def start_tunnel(laboratory: lab.Laboratory, program: Path) -> Iterator[Callable[..., lab.Tunnel]]:
    """Start the program like lab.Tunnel; what still runs when the test is over must end cleanly."""
    tunnels: list[lab.Tunnel] = []

    def start(host: lab.Host, **arguments: object) -> lab.Tunnel:
        tunnels.append(lab.Tunnel(host, program=program, **arguments))
        return tunnels[-1]

    yield start
    running = [tunnel for tunnel in tunnels if tunnel.alive]
    statuses = [tunnel.stop() for tunnel in running]
    assert not any(statuses), [tunnel.everything() for tunnel in running]
    for tunnel in tunnels:
        assert "runtime error" not in tunnel.errors(), tunnel.everything()
        assert "Sanitizer" not in tunnel.errors(), tunnel.everything()


@pytest.fixture
def tunnelled_pair(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> Callable[..., TunnelledPair]:
    """Make a client and a server with the program on both (see make_tunnelled_pair)."""

    def make(**arguments: object) -> TunnelledPair:
        scene = arguments.pop("scene", None) or lab.pair(laboratory)
        return make_tunnelled_pair(scene, start_tunnel, **arguments)

    return make


@pytest.fixture
def bare_server(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> Callable[..., BareServer]:
    """Make the program in server mode amid bare UDP sockets; arguments as for lab.Tunnel."""

    def make(**arguments: object) -> BareServer:
        scene = arguments.pop("scene", None) or lab.pair(laboratory)
        return make_bare_server(scene, start_tunnel, **arguments)

    return make


@pytest.fixture
def known_bare_server(
    laboratory: lab.Laboratory, bare_server: Callable[..., BareServer]
) -> Callable[..., BareServer]:
    """The same on a machine of one certain identity, from which it follows which address a peer
    gets: for tests with addresses that must be nobody's."""
    identity = laboratory.new_file("machine-id")
    identity.write_text("0123456789abcdef" * 2 + "\n")

    def make(**arguments: object) -> BareServer:
        return bare_server(
            interpose=("other_file",), env=instead_of("/etc/machine-id", identity), **arguments
        )

    return make


@pytest.fixture
def bare_endpoint(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> Callable[..., BareEndpoint]:
    """Make the program in endpoint mode amid bare UDP sockets; arguments as for lab.Tunnel."""

    def make(**arguments: object) -> BareEndpoint:
        scene = arguments.pop("scene", None) or lab.pair(laboratory)
        return make_bare_endpoint(scene, start_tunnel, **arguments)

    return make
