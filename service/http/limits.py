"""Who may knock how often: so that nobody can buy PortOne calls or fill the tables (issue: main job)."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from aiohttp import web

_CLIENTS_MAX = 10_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Bucket:
    """A token bucket: `rate` a second, and a burst of one second's worth."""

    __slots__ = ("at", "left")

    def __init__(self, burst: float, now: float) -> None:
        self.left = burst
        self.at = now


class Limiter:
    """A rate for each client and one for all together; memory is bounded, the longest silent is forgotten."""

    def __init__(self, client_rate: float, total_rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._client_rate = client_rate
        self._total_rate = total_rate
        self._clock = clock
        self._clients: OrderedDict[str, Bucket] = OrderedDict()
        self._all = Bucket(total_rate, clock())

    def wait_seconds(self, client: str) -> float:
        """Take a place and return 0, or take none and return how long until one is free."""
        now = self._clock()
        bucket = self._clients.get(client)
        if bucket is None:
            bucket = self._clients[client] = Bucket(self._client_rate, now)
            if len(self._clients) > _CLIENTS_MAX:
                self._clients.popitem(last=False)
        self._clients.move_to_end(client)
        wait = max(_fill(bucket, self._client_rate, now), _fill(self._all, self._total_rate, now))
        if wait <= 0:
            bucket.left -= 1
            self._all.left -= 1
        return max(wait, 0.0)


def _fill(bucket: Bucket, rate: float, now: float) -> float:
    """Fill the bucket up to now; returns the seconds until it holds one token (≤ 0: it does)."""
    bucket.left = min(max(rate, 1.0), bucket.left + (now - bucket.at) * rate)
    bucket.at = now
    return (1.0 - bucket.left) / rate


def client_of(request: web.Request, trusted: Sequence[Network]) -> str:
    """The caller's address: the peer's, or behind our own proxies the rightmost one that is not ours.

    The leftmost address of X-Forwarded-For is the caller's own word and is never believed (PORTONE.md §4.13).
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
