"""A laboratory of network namespaces on one machine, for the demonstration, the tests and the
benchmarks: hosts, cables, background programs and tunnels that vanish with it, the scenes that are
made of them, and the enemies in them.

    with lab.Laboratory() as laboratory:
        scene = lab.pair(laboratory)
        scene.server.start("iperf3", "--server")

It needs root, and a Python of 3.11 or newer; nothing in it has a route out of the machine.
"""

from .enemies import FLOODS, Flood, HostileSender, Scan
from .laboratory import CommandFailed, Host, Interrupted, Laboratory
from .multipath import TunnelledMultipath, multipath
from .process import Process
from .scenes import (MultiWan, Nated, Pair, PairRouted, behind, multiwan, nated, pair,
                     pair_routed)
from .tunnel import BUILT_HERE, LOG_TIME, Tunnel
from .waiting import wait_until

__all__ = [
    "BUILT_HERE", "CommandFailed", "FLOODS", "Flood", "Host", "HostileSender", "Interrupted",
    "LOG_TIME", "Laboratory", "MultiWan", "Nated", "Pair", "PairRouted", "Process", "Scan",
    "Tunnel", "TunnelledMultipath", "behind", "multipath", "multiwan", "nated", "pair",
    "pair_routed", "wait_until",
]
