"""Rate limits by token buckets, for each client and for all together. Memory is bounded."""

import time
from collections import OrderedDict
from collections.abc import Callable

_CLIENTS_MAX = 10_000


class Bucket:
    """A token bucket of `rate` tokens a second, which holds one second's worth."""

    __slots__ = ("_at", "_burst", "_rate", "left")

    def __init__(self, rate: float, now: float) -> None:
        self.left = rate
        self._rate, self._burst, self._at = rate, max(rate, 1.0), now

    def fill(self, now: float) -> bool:
        """Fill the bucket up to now. Return whether it holds a token."""
        left = self.left + (now - self._at) * self._rate
        self.left = min(left, self._burst)
        self._at = now
        return self.left >= 1.0

    @property
    def wait_seconds(self) -> float:
        """Seconds until a bucket that was just filled, and holds no token, holds one."""
        return max((1.0 - self.left) / self._rate, 0.0)


class Limiter:
    """A rate for each client, and perhaps one for all together. The client that was silent longest is forgotten."""

    def __init__(
        self, client_rate: float, total_rate: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client_rate = client_rate
        self._clock = clock
        self._clients: OrderedDict[str, Bucket] = OrderedDict()
        self._all = Bucket(total_rate, clock()) if total_rate else None

    def wait_seconds(self, client: str) -> float:
        """Take a token and return 0, or take none and return the seconds until one is there."""
        now = self._clock()
        bucket = self._clients.get(client)
        if bucket is None:
            bucket = self._clients[client] = Bucket(self._client_rate, now)
            if len(self._clients) > _CLIENTS_MAX:
                self._clients.popitem(last=False)
        self._clients.move_to_end(client)
        buckets = (bucket, self._all) if self._all else (bucket,)
        filled = [each.fill(now) for each in buckets]
        if all(filled):
            for each in buckets:
                each.left -= 1
            return 0.0
        return max(each.wait_seconds for each in buckets)
