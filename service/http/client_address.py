"""The client that sent a request, also behind the deployment's own proxies, as limits count it."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import structlog
from aiohttp import web

log = structlog.get_logger()

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_FORWARDED = "X-Forwarded-For"
# The address in an IPv6 network that one client has for itself, and draws its addresses from.
_IPV6_CLIENT_BITS = 64
_MAPPED_BITS = 96


class ClientAddresses:
    """Find a request's client. `trusted` names the deployment's own proxies, whose X-Forwarded-For is believed."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = tuple(_network(proxy) for proxy in trusted)
        self._warned = False

    def client_address(self, request: web.BaseRequest) -> str:
        """Return the peer's address, or behind our own proxies the rightmost one that is not a proxy's.

        An IPv6 client counts by its /64. The leftmost address of X-Forwarded-For is the caller's own word and is never
        believed (docs/portone.md §4.13).
        """
        peer = request.remote or ""
        if not self._trusted:
            if not self._warned and _FORWARDED in request.headers:
                self._warn(peer)
            return as_client(peer)
        return self._behind_proxies(peer, request)

    def trusts(self, peer: str) -> bool:
        """Say whether the peer is one of our own proxies, behind which are many clients."""
        address = parse_address(peer)
        return address is not None and self._is_within(address)

    def _behind_proxies(self, peer: str, request: web.BaseRequest) -> str:
        address = parse_address(peer)
        if address is None or not self._is_within(address):
            return as_client(peer)
        for entry in reversed(",".join(request.headers.getall(_FORWARDED, [])).split(",")):
            if not entry.strip():
                continue
            hop = parse_address(entry)
            if hop is None:  # our own proxy does not know its client
                break
            address = hop
            if not self._is_within(hop):
                break
        return _counted(address)

    def _is_within(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _warn(self, peer: str) -> None:
        """Warn once of a proxy that nobody named: it makes all buyers one client."""
        address = parse_address(peer)
        if address is not None and address.is_private:
            self._warned = True
            log.warning(
                "proxy.not_trusted", advice="name your proxies in TRUSTED_PROXIES: all buyers count as one client now"
            )


def as_client(peer: str) -> str:
    """Return the client of a peer's address: IPv4 as it is, IPv6 by its /64."""
    if ":" not in peer:
        return peer
    address = parse_address(peer)
    return peer if address is None else _counted(address)


def parse_address(text: str) -> Address | None:
    """Read an address as proxies write it: with a port, in brackets, or an IPv4 one in IPv6 form; None: it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _network(text: str) -> Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ip_network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def _counted(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, _IPV6_CLIENT_BITS), strict=False).network_address)
