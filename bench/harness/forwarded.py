"""One flow that both ends forward: from a LAN behind the client to a container behind the server,
and back. After the groups of the hosts' own traffic, which connection tracking would slow down.
"""

from dataclasses import dataclass
from functools import partial

import lab

from . import throughput
from .bed import Bed
from .jobs import Job, Measured
from .load import transfer
from .settings import NO_TUNNEL, OWN, VXLAN, Settings
from .ways import Way

GROUP = "forwarded"
PORT = 5204
OVERHEAD = 0.4  # seconds to start and end a transfer
LAN, CONTAINER = "172.31.0", "172.31.1"


@dataclass
class Scene:
    """lan -- client -- server -- container; both in the middle translate addresses."""

    bed: Bed
    lan: lab.Host | None = None

    def ready(self) -> lab.Host:
        """The host that the load starts from; all is made when it is first asked for."""
        if self.lan is None:
            self.lan = lab.behind(self.bed.client, "lan", LAN)
            container = lab.behind(self.bed.server, "container", CONTAINER)
            self.bed.server.nft("""
                table inet clamp {
                    chain forward {
                        type filter hook forward priority mangle
                        tcp flags syn tcp option maxseg size set rt mtu
                    }
                }""")
            self.bed.client.nft(f"""
                table ip forwarded {{
                    chain postrouting {{
                        type nat hook postrouting priority srcnat
                        ip saddr {LAN}.0/24 masquerade
                    }}
                }}""")
            self.bed.server.nft(f"""
                table ip forwarded {{
                    chain prerouting {{
                        type nat hook prerouting priority dstnat
                        tcp dport {PORT} dnat to {CONTAINER}.2
                    }}
                }}""")
            process = container.start("iperf3", "--server", "--forceflush", "--port", PORT)
            process.expect("listening", stream="output")
        return self.lan


def case(direction: str) -> str:
    return f"1 flow, {direction}, forwarded"


def jobs(settings: Settings, bed: Bed) -> list[Job]:
    rounds, seconds = settings.fewer_rounds, settings.fewer_seconds
    names = NO_TUNNEL, OWN, VXLAN, *settings.names_of_others
    scene = Scene(bed)
    return [Job(GROUP, case(direction), way.name, n, rounds, seconds + OVERHEAD,
                partial(measure, scene, way, direction, seconds))
            for n in range(1, rounds + 1)
            for direction in throughput.DIRECTIONS
            for way in bed.ready_ways() if way.name in names]


def measure(scene: Scene, way: Way, direction: str, seconds: float) -> Measured:
    way.check()
    done = transfer(scene.ready(), way.target, seconds, download=direction == "download", port=PORT)
    return [(case(direction), {"gbit_per_s": done.gbit_per_s})]
