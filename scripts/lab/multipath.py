"""Multipath TCP on the scene with two WANs: on the WANs themselves, and through a tunnel on each.

What is set up here on router and server, and what is done when a WAN comes back, is what
doc/router.md tells its readers to do.
"""

from collections.abc import Sequence
from contextlib import suppress

from .laboratory import Host
from .scenes import MultiWan
from .tunnel import Tunnel

PORT = 27182
TABLE = 100


def multipath(scene: MultiWan) -> None:
    """Multipath TCP on the bare WANs: the second is an endpoint, the first is there anyway."""
    _multipath_host(scene.server)
    _multipath_host(scene.router)
    scene.router.ip("mptcp", "endpoint", "add", scene.router_address(1), "dev", "wan1", "subflow")


class TunnelledMultipath:
    """One tunnel process for each WAN on the router, one for all on the server."""

    def __init__(self, scene: MultiWan, options: Sequence[object] = ()):
        self.router = scene.router
        _multipath_host(scene.server)
        _multipath_host(scene.router)
        self.server_tunnel = Tunnel(scene.server, "tun0", PORT, "eth0", address="10.80.0.1/24",
                                    options=options)
        self.router_tunnels = tuple(
            # Ports of their own: two modems may hand out one address, and the router's connection
            # tracking would then take both tunnels for one flow.
            Tunnel(scene.router, f"tun{n}", PORT + n, f"wan{n}", endpoint_port=PORT,
                   address=f"{self.address(n)}/32", options=options)
            for n in range(len(scene.operators)))
        # What is open over a WAN, or bound to its address, stays there.
        for address in {scene.router_address(n) for n in range(len(scene.operators))}:
            self.router.rule("pref", 100, "iif", "lo", "from", address,
                             "to", scene.server_address, "lookup", "main")
        # The router's own TCP to the server goes through the tunnels, all else to it (the tunnels'
        # UDP, a ping, the hosts behind the router) over the WANs. One table is enough: a subflow
        # is bound to its endpoint's device, and finds the route of that device.
        self.router.rule("pref", 101, "iif", "lo", "to", scene.server_address, "ipproto", "tcp",
                         "lookup", TABLE)
        for n in range(len(scene.operators)):
            self.wan_is_up(n)

    @staticmethod
    def address(n: int) -> str:
        """The router's address on tunnel n."""
        return f"10.81.0.{n + 1}"

    def wan_is_up(self, n: int) -> None:
        """At the start, and when WAN n is back.

        The kernel makes one subflow for each endpoint of a connection and does not replace one
        that died, as it does when the modem's public address changed. An endpoint that is deleted
        and added is a new one: every open connection joins over it again.
        """
        self.router.ip("route", "replace", "default", "dev", f"tun{n}", "src", self.address(n),
                       "table", TABLE, "metric", 100 + n)
        self.router.run("ip", "mptcp", "endpoint", "delete", "id", n + 1, check=False)
        self.router.ip("mptcp", "endpoint", "add", self.address(n), "dev", f"tun{n}",
                       "id", n + 1, "subflow")

    def wan_is_down(self, n: int) -> None:
        """When WAN n is gone: new connections start on another one, and the open ones stop waiting
        for it at once. Those survive without this too."""
        self.router.ip("mptcp", "endpoint", "delete", "id", n + 1)
        self.router.ip("route", "delete", "default", "dev", f"tun{n}", "table", TABLE)


def _multipath_host(host: Host) -> None:
    """Room for the subflows; no address is announced or learned, for those of the tunnels mean
    nothing to the other side."""
    host.ip("mptcp", "limits", "set", "subflow", 8, "add_addr_accepted", 0)
    # A WAN that loses the first packets of a connection must not switch MPTCP off for an hour.
    with suppress(FileNotFoundError):  # kernels before 6.12
        host.sysctl("net.mptcp.blackhole_timeout", 0)
