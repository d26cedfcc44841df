"""Whatever leaves through an endpoint has a destination: only those that answer with TCP are kept
alive and remembered, so that a port scan from inside costs nothing once it is over (R1)."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import lab
from datagrams import BareEndpoint, BarePeer, a_segment, same_sequence
from reference.packets import Ipv4
from tunnels import CLIENT_TUNNEL, ENDPOINT_PORT, SERVER_PORT
from wiretap import enlarge_buffers

IP_PKTINFO = 8  # not in the socket module
SILENT = "198.18.0.0/16"
ANSWERING = ipaddress.ip_network("203.0.113.0/24")
SCANNED = 20000
APART = 0.3  # seconds between keepalives that were not sent at once
AT_ONCE = 400  # less than the interface's queue holds


def lead_away(endpoint: BareEndpoint) -> None:
    """Whatever has no other way goes to the server, which is none of them."""
    endpoint.scene.client.route("default", "via", endpoint.scene.server_address, "dev", "eth0")


def send_to(endpoint: BareEndpoint, address: str) -> bytes:
    """One segment into the tunnel."""
    segment = a_segment()
    endpoint.tap.send(Ipv4(CLIENT_TUNNEL, address, segment).to_bytes())
    return segment


def talk(endpoint: BareEndpoint, remote: BarePeer) -> None:
    """The real server hears a segment and answers, and the answer is let in."""
    segment, answer = send_to(endpoint, remote.socket.getsockname()[0]), a_segment()
    while remote.receive()[4:8] != segment[4:8]:
        pass  # keepalives
    remote.send(answer)
    endpoint.tap.receive(same_sequence(answer))


def scan(endpoint: BareEndpoint, count: int = SCANNED) -> None:
    """So many addresses, as fast as the program takes them."""
    before = endpoint.tunnel.counters()["out_packets"]
    endpoint.scene.client.route(SILENT, "dev", "tun0", "src", CLIENT_TUNNEL)
    with lab.Scan(endpoint.scene.client, CLIENT_TUNNEL, SILENT) as somebody:
        for done in range(AT_ONCE, count + 1, AT_ONCE):
            somebody.try_some(AT_ONCE)
            wanted = before + done
            lab.wait_until(lambda: endpoint.tunnel.counters()["out_packets"] >= wanted)


def test_silent_destinations_are_not_kept_alive(
    bare_endpoint: Callable[..., BareEndpoint]
) -> None:
    """Only the real server is, once in each interval."""
    interval = 2
    endpoint = bare_endpoint(options=("--keepalive", interval))
    lead_away(endpoint)
    talk(endpoint, endpoint.remote)
    scan(endpoint)
    assert endpoint.tunnel.counters()["connections"] == SCANNED + 1
    before = endpoint.tunnel.counters()["keepalives_sent"]
    times = []
    while len(times) < 4:
        assert endpoint.remote.receive() == b""
        times.append(time.monotonic())
    assert times[-1] - times[1] > interval, "once in each interval"
    assert endpoint.tunnel.counters()["keepalives_sent"] - before <= len(times) + 1
    talk(endpoint, endpoint.remote)


def test_scan_leaves_room_for_those_that_answer(
    bare_endpoint: Callable[..., BareEndpoint]
) -> None:
    """With --solicited-only, where without an entry nothing comes in: the real server stays
    reachable all the time, and another one is as soon as the scan is over."""
    endpoint = bare_endpoint(options=("--solicited-only", "--max-connections", 64))
    lead_away(endpoint)
    talk(endpoint, endpoint.remote)
    scanner = threading.Thread(target=scan, args=(endpoint, 4000))
    scanner.start()
    while scanner.is_alive():
        talk(endpoint, endpoint.remote)
    scanner.join()
    talk(endpoint, endpoint.remote)
    # of more than that seven eighths some are forgotten
    lab.wait_until(lambda: endpoint.tunnel.counters()["connections"] <= 64 - 64 // 8)
    other = "192.0.2.30"
    endpoint.scene.server.address("eth0", f"{other}/24")
    with BarePeer(
        endpoint.scene.server, (endpoint.scene.client_address, ENDPOINT_PORT), SERVER_PORT, other
    ) as newcomer:
        talk(endpoint, newcomer)
    talk(endpoint, endpoint.remote)
    counters = endpoint.tunnel.counters()
    assert counters["connections_crowded_out"] > 0
    assert counters["connections"] <= 64
    assert counters["discard_in_unsolicited"] == 0


@contextmanager
def answering_hosts(endpoint: BareEndpoint) -> Iterator[tuple[socket.socket, list[str]]]:
    """A socket of the server that stands for 200 hosts, and their addresses."""
    endpoint.scene.server.ip("route", "add", "local", str(ANSWERING), "dev", "lo")
    addresses = [str(ANSWERING[number]) for number in range(1, 201)]
    endpoint.remote.socket.close()
    with endpoint.scene.server.inside():
        hosts = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with hosts:
        enlarge_buffers(hosts)
        hosts.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        hosts.settimeout(20)
        hosts.bind(("", SERVER_PORT))
        yield hosts, addresses


def receive_of(hosts: socket.socket) -> tuple[bytes, str]:
    """The next datagram, and which host it is for."""
    payload, ((_, _, info),), _, _ = hosts.recvmsg(2048, 64)
    return payload, socket.inet_ntoa(info[8:12])


def test_keepalives_are_spread(bare_endpoint: Callable[..., BareEndpoint]) -> None:
    """Destinations that were all spoken to at once do not get their keepalives at once."""
    interval = 5
    endpoint = bare_endpoint(options=("--keepalive", interval))
    lead_away(endpoint)
    with answering_hosts(endpoint) as (hosts, addresses):
        for address in addresses:
            send_to(endpoint, address)
        for _ in addresses:
            _, address = receive_of(hosts)
            info = struct.pack("=I4s4x", 0, socket.inet_aton(address))
            hosts.sendmsg(
                [a_segment()], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0,
                (endpoint.scene.client_address, ENDPOINT_PORT),
            )
        start = time.monotonic()
        last = dict.fromkeys(addresses, start)
        bursts: list[int] = []
        while (now := time.monotonic()) < start + 3.2 * interval:
            payload, address = receive_of(hosts)
            assert payload == b""
            now = time.monotonic()
            assert now - last[address] < interval + 1.5, "later than NATs count on"
            if not bursts or now - max(last.values()) > APART:
                bursts.append(0)
            bursts[-1] += 1
            last[address] = now
    print("keepalives by burst:", bursts)
    assert all(when > start + 2 * interval for when in last.values())
    # They are in three parts at first, a second apart. Two of these fall together where a sweep,
    # which comes a little more than a second after the one before, leaves a second out.
    assert max(bursts) <= 0.75 * len(addresses), "at once"
