"""The address of a request's sender, also behind the deployment's own proxies."""

import ipaddress
from collections.abc import Sequence

from aiohttp import web

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(request: web.BaseRequest, trusted: Sequence[Network]) -> str:
    """Return the caller's address: the peer's, or behind our own proxies the rightmost one that is not a proxy's.

    The leftmost address of X-Forwarded-For is the caller's own word and is never believed (docs/portone.md §4.13).
    """
    address = request.remote or ""
    if not trusted or not _is_within(address, trusted):
        return address
    for hop in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
        if hop.strip() and not _is_within(address := hop.strip(), trusted):
            break
    return address


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)
