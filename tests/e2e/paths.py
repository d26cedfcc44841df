"""A path whose MTU shrinks in the middle."""

from __future__ import annotations

import lab

SMALL_PATH = 1400


def shrink_path(scene: lab.PairRouted, mtu: int = SMALL_PATH) -> None:
    """The router passes nothing larger on, in either direction, and says so by ICMP."""
    for network, device, address in (
        ("192.0.2.0/24", "eth0", "192.0.2.254"),
        ("198.51.100.0/24", "eth1", "198.51.100.254"),
    ):
        scene.middle.ip(
            "route", "change", network, "dev", device, "proto", "kernel", "scope", "link",
            "src", address, "mtu", mtu,
        )
