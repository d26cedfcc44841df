"""The two hosts of the measurements: with room for many connections, a server for each kind of
load, and all ways between them set up."""

from collections.abc import Iterator
from contextlib import contextmanager

import lab

from .load import ECHO_PORT, FAR_CPU, IPERF_PORT, PINNED_PORT, ROUND_TRIPS
from .results import Figures
from .settings import Settings
from .ways import Way, need, set_up

SYSCTLS: dict[str, object] = {
    "net.ipv4.tcp_tw_reuse": 1,
    "net.ipv4.ip_local_port_range": "1024 65000",
    "net.core.somaxconn": 4096,
    "net.ipv4.tcp_max_syn_backlog": 4096,
}
RETRANSMITTED, OUT_OF_ORDER = "TcpRetransSegs", "TcpExtTCPOFOQueue"


class Bed:
    """Lives as long as the laboratory that it is made in."""

    def __init__(self, laboratory: lab.Laboratory, settings: Settings):
        self.scene = lab.pair(laboratory)
        for host in self.client, self.server:
            for key, value in SYSCTLS.items():
                host.sysctl(key, value)
        self._iperf3 = self._start_iperf3()
        for pin, port in ([], ECHO_PORT), (["taskset", "--cpu-list", FAR_CPU], PINNED_PORT):
            self.server.start(*pin, need(ROUND_TRIPS), "--serve", "0.0.0.0", port).expect("ready:")
        self.ways = set_up(self.scene, settings)

    @property
    def client(self) -> lab.Host:
        return self.scene.client

    @property
    def server(self) -> lab.Host:
        return self.scene.server

    def ready_ways(self) -> list[Way]:
        return [way for way in self.ways if not way.missing]

    def fresh_iperf3(self) -> None:
        """After a run that broke: the server may believe that it still goes on."""
        self._iperf3.stop()
        self._iperf3 = self._start_iperf3()

    def _start_iperf3(self) -> lab.Process:
        process = self.server.start("iperf3", "--server", "--forceflush", "--port", IPERF_PORT)
        process.expect("listening", stream="output")
        return process

    @contextmanager
    def disorder(self, figures: Figures) -> Iterator[None]:
        """Adds what both hosts' TCP meanwhile sent again, and received out of order."""
        def count(name: str) -> int:
            return self.client.counter(name) + self.server.counter(name)

        before = count(RETRANSMITTED), count(OUT_OF_ORDER)
        yield
        figures["retransmitted"] = count(RETRANSMITTED) - before[0]
        figures["out_of_order"] = count(OUT_OF_ORDER) - before[1]
