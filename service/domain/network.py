"""The addresses to which a server may be sent on a stranger's word: those of the open internet alone."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from socket import inet_aton, inet_ntoa

# Python counts these as global: documentation, unassigned or local ranges, and old ones that lead into local networks.
_NOT_PUBLIC = tuple(
    map(ip_network, ("192.88.99.0/24", "::/96", "64:ff9b:1::/48", "3fff::/20", "5f00::/16", "fec0::/10"))
)
# The names that distributions give the loopback interface beside `localhost`.
_LOCAL_NAMES = frozenset(("localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"))
_NUMBERS = re.compile(r"[0-9a-fx]+(\.[0-9a-fx]+){0,3}", re.IGNORECASE)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether the address, and each IPv4 address that it stands for, is of the open internet."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_public(each) for each in (parsed, *_embedded(parsed)))


def is_local_name(host: str) -> bool:
    """Return whether the host's name stands for the machine itself, wherever it is asked (RFC 6761 §6.3)."""
    name = host.lower().rstrip(".")
    return name in _LOCAL_NAMES or name.endswith((".localhost", ".localdomain"))


def literal_address(host: str) -> str | None:
    """Return the address that a host is written as, in any form that resolvers take: also `0x7f.1` or `2130706433`."""
    text = host.rstrip(".")
    try:
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        pass
    try:
        return inet_ntoa(inet_aton(text)) if _NUMBERS.fullmatch(text) else None
    except OSError:
        return None


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
