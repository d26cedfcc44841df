"""An idle process sleeps. This takes two minutes of waiting, so scripts/check runs it beside the
other tests."""

from __future__ import annotations

import time
from collections.abc import Callable

import lab
from tunnels import start_endpoint, start_server

SECONDS = 130  # an event loop that looks at the clock each minute is seen twice


def test_an_idle_process_does_not_wake(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """With nothing to expire and nobody to keep alive, no thread wakes; an expiry that is due is
    all that wakes one."""
    scene = lab.pair(laboratory)
    tunnels = [
        start_server(start_tunnel, scene.server, options=("--threads", 2)),
        start_endpoint(start_tunnel, scene.client, options=("--keepalive", 0)),
    ]
    expiring = start_endpoint(
        start_tunnel, scene.client, interface="tun1", listen_port=5003, address="10.66.0.1/24",
        options=("--keepalive", 0, "--connection-timeout", 50),
    )
    time.sleep(2)  # the kernel's last words about new interfaces
    before = {tunnel: tunnel.times_slept() for tunnel in (*tunnels, expiring)}
    time.sleep(SECONDS)  # the time itself is what is tested
    woken = {tunnel: tunnel.times_slept() - count for tunnel, count in before.items()}
    assert [woken[tunnel] for tunnel in tunnels] == [0, 0]
    # looking at its entries each 50 s: the third time falls behind the end
    assert woken[expiring] == 2, "the control thread does not wake for its expiry, or for more"
