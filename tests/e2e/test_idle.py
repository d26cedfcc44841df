"""An idle process sleeps, and what only time shows. This takes minutes of waiting, so scripts/check
runs it beside the other tests."""

from __future__ import annotations

import time
from collections.abc import Callable

import lab
from datagrams import (
    BareEndpoint,
    BarePeer,
    a_segment,
    same_sequence,
    wait_until_accounted,
)
from reference.packets import Ipv4
from tunnels import CLIENT_TUNNEL, ENDPOINT_PORT, SERVER_PORT, start_endpoint, start_server
from wiretap import Wiretap

SECONDS = 130  # an event loop that looks at the clock each minute is seen twice
ANSWER_SECONDS = 30  # how long an answer is waited for

ADDRESS = "192.0.2.20"  # one more of the server


def keepalives(peer: BarePeer) -> int:
    """How many empty datagrams wait at this peer."""
    count = 0
    while not peer.receives_nothing(0.1):
        count += 1
    return count


def test_an_idle_process_does_not_wake(
    laboratory: lab.Laboratory, start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """With nothing to expire and nobody to keep alive, no thread wakes; an expiry or a keepalive
    that is due is all that wakes one."""
    scene = lab.pair(laboratory)
    scene.server.address("eth0", f"{ADDRESS}/24")
    tunnels = [
        start_server(start_tunnel, scene.server, options=("--threads", 2)),
        start_endpoint(start_tunnel, scene.client, options=("--keepalive", 0)),
    ]
    expiring = start_endpoint(
        start_tunnel, scene.client, interface="tun1", listen_port=5003, address="10.66.0.1/24",
        options=("--keepalive", 0, "--connection-timeout", 50),
    )
    keeping = start_endpoint(
        start_tunnel, scene.client, interface="tun2", listen_port=5004, endpoint_port=5005,
        address="10.67.0.1/24",
    )
    with (
        Wiretap(scene.client, "tun2") as tap,
        BarePeer(scene.server, (scene.client_address, 5004), 5005, ADDRESS) as remote,
    ):
        tap.send(Ipv4("10.67.0.1", ADDRESS, a_segment()).to_bytes())
        remote.receive()
        remote.send(a_segment(data=b"page"))
        time.sleep(2)  # the kernel's last words about new interfaces
        before = {tunnel: tunnel.times_slept() for tunnel in (*tunnels, expiring, keeping)}
        time.sleep(SECONDS)  # the time itself is what is tested
        woken = {tunnel: tunnel.times_slept() - count for tunnel, count in before.items()}
        sent = keepalives(remote)
    assert [woken[tunnel] for tunnel in tunnels] == [0, 0]
    # looking at its entries each 50 s: the third time falls behind the end
    assert woken[expiring] == 2, "the control thread does not wake for its expiry, or for more"
    # five because the data did not go on: what asks for these comes to rest, too
    assert SECONDS // 25 + 4 <= sent <= SECONDS // 18 + 5
    # and once to see when the first one is due
    assert sent - 2 <= woken[keeping] <= sent + 1, "the control thread wakes for more than keepalives"


def test_answers_that_come_late(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    """With --solicited-only: within half a minute an answer is let in, later it is not; then
    nothing is left of the destination either."""
    endpoint = bare_endpoint(
        options=("--solicited-only", "--keepalive", 0, "--connection-timeout", 2)
    )
    scene = endpoint.scene
    scene.server.address("eth0", f"{ADDRESS}/24")
    with BarePeer(
        scene.server, (scene.client_address, ENDPOINT_PORT), SERVER_PORT, ADDRESS
    ) as other:
        for address in (scene.server_address, ADDRESS):
            endpoint.tap.send(Ipv4(CLIENT_TUNNEL, address, a_segment()).to_bytes())
        endpoint.remote.receive()
        other.receive()
        time.sleep(ANSWER_SECONDS - 5)  # the time itself is what is tested
        answer = a_segment()
        endpoint.remote.send(answer)
        endpoint.tap.receive(same_sequence(answer))
        assert endpoint.tunnel.counters()["connections"] == 2
        time.sleep(7)
        for peer in (endpoint.remote, other):
            peer.send(a_segment())
        assert wait_until_accounted(endpoint.tunnel, 3)["discard_in_unsolicited"] == 2
    lab.wait_until(lambda: endpoint.tunnel.counters()["connections"] == 0)
