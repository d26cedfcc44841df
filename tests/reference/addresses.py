"""Which tunnel address a peer gets, worked out apart from the program: SipHash-2-4 under a key that
follows from the machine's identity, then the first address from there on that is free."""

from __future__ import annotations

import ipaddress
import socket
import struct

_MASK = 2**64 - 1


def _rotate_left(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


def _sip_round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0, v2 = v0 + v1 & _MASK, v2 + v3 & _MASK
    v1, v3 = _rotate_left(v1, 13) ^ v0, _rotate_left(v3, 16) ^ v2
    v0, v2 = _rotate_left(v0, 32) + v3 & _MASK, v2 + v1 & _MASK
    v1, v3 = _rotate_left(v1, 17) ^ v2, _rotate_left(v3, 21) ^ v0
    return v0, v1, _rotate_left(v2, 32), v3


def siphash_2_4(key: bytes, message: bytes) -> int:
    """By Aumasson and Bernstein, 2012."""
    k0, k1 = struct.unpack("<QQ", key)
    v = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D,
         k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for (word,) in struct.iter_unpack("<Q", padded):
        v = (*v[:3], v[3] ^ word)
        v = _sip_round(*_sip_round(*v))
        v = (v[0] ^ word, *v[1:])
    v = (*v[:2], v[2] ^ 0xFF, v[3])
    for _ in range(4):
        v = _sip_round(*v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def key_of_machine(identity: str) -> bytes:
    """From what /etc/machine-id says."""
    return b"".join(
        siphash_2_4(bytes.fromhex(identity),
                    f"udp-encap-tun: tunnel addresses, {word} word of the key".encode()
                    ).to_bytes(8, "little")
        for word in ("first", "second"))


def _mapped(address: str) -> bytes:
    """The 16 bytes of an address, an IPv4 one as IPv4-mapped."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(address)


def home(key: bytes, pool_size: int, source: tuple[str, int], own: str) -> int:
    """The offset in the pool from which on a peer's address is looked for."""
    message = _mapped(source[0]) + _mapped(own) + struct.pack("!H", source[1])
    return (siphash_2_4(key, message) >> 32) * pool_size >> 32


class Pool:
    """A fresh pool that gives out addresses in the order in which peers come."""

    def __init__(self, key: bytes, subnet: str, tunnel_address: str) -> None:
        self._key = key
        self._subnet = ipaddress.ip_network(subnet)
        self._taken = {ipaddress.ip_address(tunnel_address),
                       self._subnet.network_address, self._subnet.broadcast_address}

    def give(self, source: tuple[str, int], own: str) -> str:
        """To the peer that comes from source to own."""
        size = self._subnet.num_addresses
        offset = home(self._key, size, source, own)
        while (address := self._subnet[offset % size]) in self._taken:
            offset += 1
        self._taken.add(address)
        return str(address)
