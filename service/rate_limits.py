"""Rate limits by token buckets, for each client and for all together. Memory is bounded.

A limiter may share its clients' buckets with other receivers (`service/redis/shared_limits.py`). It decides alone and
at once all the same: calls beyond a small share of the rate are owed to the shared bucket, and settled a moment later
(docs/decisions/0023-settle-shared-limits-after-the-answer.md).
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

_CLIENTS_MAX = 10_000
# This share of a client's rate costs Redis nothing, at each receiver.
_UNSHARED = 0.05


class Bucket:
    """A token bucket of `rate` tokens a second, which holds `burst`, else one second's worth, or one token.

    `owed`: tokens that were taken here and are still to be taken from the shared bucket.
    """

    __slots__ = ("_at", "_burst", "_rate", "_unshared", "_unshared_at", "left", "owed")

    def __init__(self, rate: float, now: float, burst: float | None = None) -> None:
        self._rate, self._burst, self._at = rate, burst or max(rate, 1.0), now
        self.left = self._burst
        self.owed = 0
        self._unshared, self._unshared_at = self._burst * _UNSHARED, now

    def fill(self, now: float) -> bool:
        """Fill the bucket up to now. Return whether it holds a token."""
        left = self.left + (now - self._at) * self._rate
        self.left = min(left, self._burst)
        self._at = now
        return self.left >= 1.0

    def owe(self, now: float) -> bool:
        """Owe a token that was taken, unless it is within the share. Return whether it is owed."""
        unshared = self._unshared + (now - self._unshared_at) * self._rate * _UNSHARED
        self._unshared, self._unshared_at = min(unshared, self._burst * _UNSHARED), now
        if self._unshared >= 1.0:
            self._unshared -= 1
            return False
        self.owed += 1
        return True

    @property
    def wait_seconds(self) -> float:
        """Seconds until a bucket that was just filled, and holds no token, holds one."""
        return max((1.0 - self.left) / self._rate, 0.0)


class Limiter:
    """A rate for each client, and perhaps one for all together. The client that was silent longest is forgotten."""

    def __init__(
        self,
        client_rate: float,
        total_rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        shared: bool = False,
        burst: float | None = None,
    ) -> None:
        self.client_rate = client_rate
        self._burst = burst
        self.shared = shared
        self._clock = clock
        self._clients: OrderedDict[str, Bucket] = OrderedDict()
        self._owing: dict[str, Bucket] = {}
        self._all = Bucket(total_rate, clock()) if total_rate else None

    def wait_seconds(self, client: str) -> float:
        """Take a token and return 0, or take none and return the seconds until one is there."""
        now = self._clock()
        bucket = self._clients.get(client)
        if bucket is None:
            bucket = self._clients[client] = Bucket(self.client_rate, now, self._burst)
            if len(self._clients) > _CLIENTS_MAX:
                self._owing.pop(self._clients.popitem(last=False)[0], None)
        self._clients.move_to_end(client)
        buckets = (bucket, self._all) if self._all else (bucket,)
        filled = [each.fill(now) for each in buckets]
        if all(filled):
            for each in buckets:
                each.left -= 1
            if self.shared and bucket.owe(now):
                self._owing[client] = bucket
            return 0.0
        return max(each.wait_seconds for each in buckets)

    def give_back(self, client: str) -> None:
        """Return a token that was taken for a call that does not count after all."""
        if bucket := self._clients.get(client):
            bucket.left += 1

    def standing(self, client: str) -> tuple[int, int]:
        """Return how many calls the client has left, and for how many seconds that is so."""
        bucket = self._clients.get(client)
        if bucket is None:
            return int(max(self.client_rate, 1.0)), 1
        bucket.fill(self._clock())
        return max(int(bucket.left), 0), max(math.ceil(bucket.wait_seconds), 1)

    def owing(self, clients_max: int) -> dict[str, int]:
        """Take over what clients owe to the shared buckets, of `clients_max` at most; the others' turn is the next."""
        debts: dict[str, int] = {}
        for client in list(self._owing)[:clients_max]:
            bucket = self._owing.pop(client)
            debts[client], bucket.owed = bucket.owed, 0
        return debts

    def settle(self, client: str, level: float) -> None:
        """Let the client have no more tokens than its shared bucket holds, less than 0 where it was overdrawn."""
        bucket = self._clients.get(client)
        if bucket is not None:
            bucket.fill(self._clock())
            bucket.left = min(bucket.left, level - bucket.owed)
