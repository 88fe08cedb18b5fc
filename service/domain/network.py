"""The addresses to which a server may be sent on a stranger's word: those of the open internet alone."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

# Python counts these as global: documentation, unassigned or local ranges, and old ones that lead into local networks.
_NOT_PUBLIC = tuple(
    map(ip_network, ("192.88.99.0/24", "::/96", "64:ff9b:1::/48", "3fff::/20", "5f00::/16", "fec0::/10"))
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether the address, and each IPv4 address that it stands for, is of the open internet."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_public(each) for each in (parsed, *_embedded(parsed)))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address in _NAT64:
        return True  # its IPv4 address decides
    is_open = address.is_global and not address.is_multicast and not address.is_reserved
    return is_open and not any(address in network for network in _NOT_PUBLIC)


def _embedded(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses to which a translator or tunnel would carry a packet for this one."""
    if isinstance(address, IPv4Address):
        return
    yield from (inner for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if inner)
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
