"""The scenes of the laboratory: hosts and the cables between them, ready for a tunnel.

All addresses are from the ranges for documentation (RFC 5737), for benchmarks (RFC 2544) or for
private use.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .laboratory import Host, Laboratory


@dataclass(frozen=True)
class Pair:
    """client 192.0.2.1/24 eth0 -- eth0 192.0.2.2/24 server"""

    client: Host
    server: Host
    client_address: str = "192.0.2.1"
    server_address: str = "192.0.2.2"


def pair(laboratory: Laboratory, mtu: int = 1500) -> Pair:
    scene = Pair(laboratory.host("client"), laboratory.host("server"))
    laboratory.link(scene.client, "eth0", scene.server, "eth0", mtu)
    scene.client.address("eth0", f"{scene.client_address}/24")
    scene.server.address("eth0", f"{scene.server_address}/24")
    return scene


def behind(router: Host, name: str = "behind", network: str = "172.31.0") -> Host:
    """name eth0 NETWORK.2/24 -- NETWORK.1 lan0 router: a host that reaches the world through the
    router, as a LAN's or a container does."""
    host = router.laboratory.host(name)
    router.laboratory.link(router, "lan0", host, "eth0")
    router.address("lan0", f"{network}.1/24")
    host.address("eth0", f"{network}.2/24")
    host.route("default", "via", f"{network}.1")
    router.sysctl("net.ipv4.ip_forward", 1)
    return host


@dataclass(frozen=True)
class PairRouted:
    """client eth0 -- eth0 middle eth1 -- eth0 server: a path with a router, whose MTU can shrink
    behind it: scene.middle.mtu("eth1", 1400)."""

    client: Host
    middle: Host
    server: Host
    client_address: str = "192.0.2.1"
    server_address: str = "198.51.100.1"


def pair_routed(laboratory: Laboratory, mtu: int = 1500) -> PairRouted:
    scene = PairRouted(*map(laboratory.host, ("client", "middle", "server")))
    laboratory.link(scene.client, "eth0", scene.middle, "eth0", mtu)
    laboratory.link(scene.middle, "eth1", scene.server, "eth0", mtu)
    scene.client.address("eth0", f"{scene.client_address}/24")
    scene.client.route("default", "via", "192.0.2.254")
    scene.middle.address("eth0", "192.0.2.254/24")
    scene.middle.address("eth1", "198.51.100.254/24")
    scene.middle.sysctl("net.ipv4.ip_forward", 1)
    scene.server.address("eth0", f"{scene.server_address}/24")
    scene.server.route("default", "via", "198.51.100.254")
    return scene


def _make_internet(laboratory: Laboratory, server_addresses: Sequence[str]) -> tuple[Host, Host]:
    """A router that everybody is attached to, and a server on it: (internet, server)."""
    internet, server = laboratory.host("internet"), laboratory.host("server")
    internet.sysctl("net.ipv4.ip_forward", 1)
    laboratory.link(internet, "server", server, "eth0")
    internet.address("server", "198.51.100.254/24")
    for address in server_addresses:
        server.address("eth0", f"{address}/24")
    server.route("default", "via", "198.51.100.254")
    return internet, server


def _make_nat(laboratory: Laboratory, name: str, internet: Host, n: int) -> Host:
    """A box that is at 198.18.n.2 on the internet with its device "net", and does NAT there."""
    nat = laboratory.host(name)
    laboratory.link(internet, name, nat, "net")
    internet.address(name, f"198.18.{n}.1/24")
    nat.address("net", f"198.18.{n}.2/24")
    nat.route("default", "via", f"198.18.{n}.1")
    nat.sysctl("net.ipv4.ip_forward", 1)
    nat.nft("""
        table ip nat {
            chain postrouting {
                type nat hook postrouting priority srcnat
                oifname net masquerade
            }
        }""")
    return nat


@dataclass(frozen=True)
class Nated:
    """Clients behind NATs, as a server on the internet sees them: several at one address.

    clients[n][m] eth0 10.0.0.(m+1)/24 -- lan nats[n] net 198.18.n.2/24 -- internet
    internet -- eth0 server, which has two addresses there, 198.51.100.1 and 198.51.100.2

    All the private networks have the same addresses, as those of homes do. Two clients of one NAT
    that use the same source port leave it with different ones; clients of different NATs leave
    them with the same one.
    """

    internet: Host
    server: Host
    nats: tuple[Host, ...]
    clients: tuple[tuple[Host, ...], ...]
    server_addresses: tuple[str, ...] = ("198.51.100.1", "198.51.100.2")

    @property
    def all_clients(self) -> list[Host]:
        return [client for behind_one in self.clients for client in behind_one]

    def nat_address(self, n: int) -> str:
        return f"198.18.{n}.2"

    def udp_timeout(self, n: int, seconds: int) -> None:
        """How long NAT n remembers a UDP mapping that nothing goes through."""
        self.nats[n].sysctl("net.netfilter.nf_conntrack_udp_timeout", seconds)
        self.nats[n].sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", seconds)


def nated(laboratory: Laboratory, clients_per_nat: Sequence[int] = (2, 1, 1)) -> Nated:
    internet, server = _make_internet(laboratory, Nated.server_addresses)
    nats, clients = [], []
    for n, count in enumerate(clients_per_nat):
        nat = _make_nat(laboratory, f"nat{n}", internet, n)
        nat.ip("link", "add", "lan", "type", "bridge")
        nat.ip("link", "set", "lan", "up")
        nat.address("lan", "10.0.0.254/24")
        nats.append(nat)
        clients.append(tuple(laboratory.host(f"client{n}-{m}") for m in range(count)))
        for m, client in enumerate(clients[n]):
            laboratory.link(nat, f"lan{m}", client, "eth0")
            nat.ip("link", "set", f"lan{m}", "master", "lan")
            client.address("eth0", f"10.0.0.{m + 1}/24")
            client.route("default", "via", "10.0.0.254")
    return Nated(internet, server, tuple(nats), tuple(clients))


@dataclass(frozen=True)
class MultiWan:
    """A router with two links of different operators, who can strip MPTCP's options from TCP.

    router wan0 192.168.8.100/24 -- lan operators[0] net 198.18.0.2/24 -- internet
    router wan1 192.168.9.100/24 -- lan operators[1] net 198.18.1.2/24 -- internet
    internet -- eth0 198.51.100.1/24 server

    An operator is modem and middlebox in one: it hands out the private address, limits the rate
    both ways, does NAT, and can strip the options. The router has the set-up that DHCP clients
    make: an address and a default route for each WAN, each route with a metric of its own.
    """

    laboratory: Laboratory
    internet: Host
    router: Host
    operators: tuple[Host, ...]
    server: Host
    rate: str
    same_subnet: bool  # both modems hand out 192.168.8.100, as two of one make do
    server_address: str = "198.51.100.1"

    def gateway(self, n: int) -> str:
        return "192.168.8.1" if self.same_subnet else f"192.168.{8 + n}.1"

    def router_address(self, n: int) -> str:
        return "192.168.8.100" if self.same_subnet else f"192.168.{8 + n}.100"

    def strip_mptcp(self, on: bool = True) -> None:
        """Whether both operators overwrite MPTCP's options with no-operations."""
        for operator in self.operators:
            _forward_rule(operator, "strip", "meta l4proto tcp reset tcp option mptcp", on)

    def black_hole(self, n: int, on: bool = True) -> None:
        """WAN n carries nothing and no device tells: the modem is there, the radio is not."""
        _forward_rule(self.operators[n], "hole", "drop", on)

    def unplug(self, n: int) -> None:
        """The modem of WAN n is pulled out: its device vanishes, with its address and route."""
        self.router.ip("link", "delete", f"wan{n}")
        # Without power it forgets its NAT mappings: masquerading does when the device goes down.
        self.operators[n].ip("link", "set", "net", "down")

    def plug(self, n: int) -> None:
        """The modem of WAN n is back: a new device with the old name, and a lease as before.
        Its operator gives the modem another public address than last time."""
        operator = self.operators[n]
        last = f"198.18.{n}.2/" in operator.ip("address", "show", "dev", "net")
        operator.ip("address", "flush", "dev", "net")
        operator.ip("link", "set", "net", "up")
        operator.address("net", f"198.18.{n}.{3 if last else 2}/24")
        operator.route("default", "via", f"198.18.{n}.1")
        self.connect(n)

    def connect(self, n: int) -> None:
        """The cable between router and modem, and what DHCP then does."""
        operator, device = self.operators[n], f"wan{n}"
        self.laboratory.link(self.router, device, operator, "lan")
        operator.address("lan", f"{self.gateway(n)}/24")
        operator.tbf("lan", self.rate)
        self.router.address(device, f"{self.router_address(n)}/24")
        self.router.route("default", "via", self.gateway(n), "dev", device, "metric", 100 + n)


def _forward_rule(host: Host, table: str, rule: str, on: bool) -> None:
    host.nft(f"table ip {table}\n"  # so that it is there to be deleted
             f"delete table ip {table}\n")
    if on:
        host.nft(f"""
            table ip {table} {{
                chain forward {{
                    type filter hook forward priority mangle
                    {rule}
                }}
            }}""")


def multiwan(laboratory: Laboratory, rate: str = "100mbit",
             same_subnet: bool = False) -> MultiWan:
    internet, server = _make_internet(laboratory, [MultiWan.server_address])
    operators = tuple(_make_nat(laboratory, f"operator{n}", internet, n) for n in range(2))
    scene = MultiWan(laboratory, internet, laboratory.host("router"), operators, server, rate,
                     same_subnet)
    for n, operator in enumerate(operators):
        operator.tbf("net", rate)
        scene.connect(n)
    return scene
