"""The calls that wait for a look at a payment or an order. One Redis subscription in each process wakes them all."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import orjson
from arq.connections import ArqRedis

from service.redis.queue import LOOKED_CHANNEL, messages

# Calls about one payment or order are one buyer's; behind one address may be a carrier's many.
_BY_KEY_MAX = 16
_CLIENTS_SHARE = 4


class TooManyWaiters(Exception):
    """Too many calls wait already."""


class Looked(asyncio.Event):
    """An event, set whenever a look was written. `reached`: the order and the state that it was brought to, if any."""

    reached: tuple[str, str] | None = None


class Waiters:
    """The calls that wait for a payment. A woken call reads Postgres, unless the message says what was reached."""

    def __init__(self, redis: ArqRedis, waiters_max: int) -> None:
        self._redis = redis
        self._max = waiters_max
        self._events: dict[str, set[Looked]] = defaultdict(set)
        self._by_client: Counter[str] = Counter()
        self._count = 0
        # Also told of the orders that have changed; None: any may have.
        self.hear: Callable[[Sequence[str] | None], None] = lambda _: None

    @contextlib.contextmanager
    def waiting_for(self, key: str, client: str = "") -> Iterator[Looked]:
        """Yield an event that is set whenever a look at the payment or order was written. Raises TooManyWaiters.

        The key of a payment is its imp_uid, and that of an order `order_key`. Waiting is bounded in all, by client and
        by key.
        """
        by_client, by_key = self._by_client[client], len(self._events.get(key, ()))
        if self._count >= self._max or by_client >= self._max // _CLIENTS_SHARE or by_key >= _BY_KEY_MAX:
            raise TooManyWaiters
        event = Looked()
        self._events[key].add(event)
        self._by_client[client] += 1
        self._count += 1
        try:
            yield event
        finally:
            self._count -= 1
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]
            self._events[key].discard(event)
            if not self._events[key]:
                del self._events[key]

    async def listen(self) -> None:
        """Wake the calls that wait, for as long as the process lives."""
        async for message in messages(self._redis, LOOKED_CHANNEL):
            for key, reached in self._keys(message).items():
                for event in self._events.get(key, ()):
                    event.reached = reached
                    event.set()

    def _keys(self, message: bytes | None) -> dict[str, tuple[str, str] | None]:
        """Return whom a message is for, and what their payments have reached.

        After a new subscription it is everybody: Postgres has what was missed.
        """
        if message is None:
            self.hear(None)
            return dict.fromkeys(self._events)
        imp_uids, merchant_uids, reached = orjson.loads(message)
        self.hear(merchant_uids)
        return dict.fromkeys([*imp_uids, *map(order_key, merchant_uids)]) | {k: (o, s) for k, (o, s) in reached.items()}


def order_key(merchant_uid: str) -> str:
    """Return the key under which calls wait for an order; no imp_uid has an `=`."""
    return f"={merchant_uid}"
