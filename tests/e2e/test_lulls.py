"""Data that suddenly does not go on: an endpoint shows itself to a far end that may have forgotten
it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

import lab
from datagrams import BareEndpoint, BarePeer, a_segment, same_sequence
from reference.packets import ACK, FIN, Ipv4
from streams import receive_exactly, round_trip
from tunnels import CLIENT_TUNNEL, ENDPOINT_PORT, SERVER_PORT, TunnelledPair, start_server

# The first keepalive comes between half a second and one after the data, the next one when the
# second but one has begun.
FIRST_SECONDS = 1.0
SLACK = 0.3  # of a busy machine


def test_download_survives_a_restart(
    tunnelled_pair: Callable[..., TunnelledPair], start_tunnel: Callable[..., lab.Tunnel]
) -> None:
    """The server that starts again knows nobody, and the client has nothing to send."""
    pair: TunnelledPair = tunnelled_pair()
    near, far = pair.connect()
    with near, far:
        round_trip(near, far)
        assert pair.listener.stop(signal.SIGKILL) == -signal.SIGKILL
        far.sendall(b"meanwhile")
        start_server(start_tunnel, pair.server)
        started = time.monotonic()
        near.settimeout(8)  # a keepalive that is due anyway comes after 12 s at the earliest
        assert receive_exactly(near, 9) == b"meanwhile"
        # about a second; the next keepalive's time where the machine is so busy that the server
        # missed the first one
        assert time.monotonic() - started < 3
    assert pair.endpoint.counters()["keepalives_sent"] <= 3


def keepalives(peer: BarePeer, seconds: float) -> list[float]:
    """When empty datagrams come to this peer, seconds from now."""
    began = time.monotonic()
    times = []
    while (left := began + seconds - time.monotonic()) > 0:
        try:
            if not peer.receive(left):
                times.append(time.monotonic() - began)
        except TimeoutError:
            break
    return times


def test_who_is_asked(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    """Who sent data that did not go on; not who ended its connection, nor who only acknowledges."""
    endpoint = bare_endpoint()
    addresses = ["192.0.2.20", "192.0.2.21"]
    with ExitStack() as stack:
        pausing = endpoint.remote
        for address in addresses:
            endpoint.scene.server.address("eth0", f"{address}/24")
        target = (endpoint.scene.client_address, ENDPOINT_PORT)
        ended, acknowledging = (
            stack.enter_context(BarePeer(endpoint.scene.server, target, SERVER_PORT, address))
            for address in addresses
        )
        for peer in (pausing, ended, acknowledging):
            address = peer.socket.getsockname()[0]
            endpoint.tap.send(Ipv4(CLIENT_TUNNEL, address, a_segment()).to_bytes())
            peer.receive()
        acknowledging.send(a_segment())
        # the last acknowledgment follows the end
        for segment in (a_segment(data=b"page"), a_segment(flags=FIN | ACK), a_segment()):
            ended.send(segment)
        last = a_segment(data=b"page")
        pausing.send(last)
        endpoint.tap.receive(same_sequence(last))
        times = keepalives(pausing, 3.5)  # the time itself is what is tested
        assert 2 <= len(times) <= 3
        assert 0.4 < times[0] < FIRST_SECONDS + SLACK
        assert keepalives(ended, 0.01) == keepalives(acknowledging, 0.01) == []
    assert endpoint.tunnel.counters()["keepalives_sent"] == len(times)


def test_data_that_flows_asks_for_nothing(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    endpoint = bare_endpoint()
    endpoint.tap.send(
        Ipv4(CLIENT_TUNNEL, endpoint.scene.server_address, a_segment()).to_bytes()
    )
    endpoint.remote.receive()
    began = time.monotonic()
    while time.monotonic() < began + 2.5:  # the time itself is what is tested
        endpoint.remote.send(a_segment(data=b"page"))
        time.sleep(0.05)
    assert endpoint.tunnel.counters()["keepalives_sent"] == 0
