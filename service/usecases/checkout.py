"""Show a buyer's browser the state of its order, which needs no service key, and wait for its changes.

Reads that arrive while one statement is under way share the next. They have a connection of their own, so that no crowd
of browsers keeps other services from reading, and give way to intake.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from service.db import order_states
from service.db.order_states import OrderState
from service.db.pool import Pool, in_statement
from service.domain import checkout_token
from service.redis.waiters import TooManyWaiters, Waiters, order_key
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.intake import Intake


class CheckoutTokens:
    """Makes and checks tokens. The first secret makes them; all check, so that a secret can be changed."""

    def __init__(self, secrets: Sequence[bytes], lives_seconds: float) -> None:
        self._secrets = secrets
        self._lives_seconds = lives_seconds

    def issue(self, merchant_uid: str) -> str | None:
        """Return a new token of the order; None without a secret."""
        if not self._secrets:
            return None
        return checkout_token.issue(self._secrets[0], merchant_uid, int(time.time() + self._lives_seconds))

    def seconds_left(self, token: bytes, merchant_uid: str) -> float | None:
        """Return how long the token still opens the order, 0 or less if it has ended; None: it never did."""
        ends_at = checkout_token.end_of(self._secrets, token, merchant_uid)
        return None if ends_at is None else ends_at - time.time()


class Checkout:
    """Reads the states of orders for browsers, and waits until they change. `pool` is its own."""

    def __init__(self, pool: Pool, intake: Intake, waiters: Waiters, bounds: BatchBounds) -> None:
        self._pool = pool
        self._waiters = waiters
        self._changed: set[asyncio.Event] = set()
        self._is_stopping = False
        self.batches = Coalescer[str, OrderState | None](self._read, bounds, gives_way_to=intake.batches)

    async def state(
        self, merchant_uid: str, is_known: Callable[[OrderState], bool], seconds: float, client: str
    ) -> OrderState | None:
        """Return the order's state once the caller does not know it, or as it is when the wait ends. None: no order.

        Raises Overloaded or PostgresUnavailable. The wait begins before the first read, so that no change is missed.
        """
        with self._waiting_for(merchant_uid, seconds, client) as changed:
            state = await self.batches.join(merchant_uid)
            if changed is None or state is None or not is_known(state):
                return state
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while state is not None and is_known(state) and not self._is_stopping:
                        await changed.wait()
                        changed.clear()
                        state = await self.batches.join(merchant_uid)
                    return state
        return await self.batches.join(merchant_uid)

    def stop(self) -> None:
        """Let everybody who waits go, because the process ends."""
        self._is_stopping = True
        for changed in self._changed:
            changed.set()

    async def close(self) -> None:
        """Wait for what is being read."""
        await self.batches.close()

    @contextlib.contextmanager
    def _waiting_for(self, merchant_uid: str, seconds: float, client: str) -> Iterator[asyncio.Event | None]:
        """Yield the event to wait for; None for a caller that does not wait, or where too many wait already."""
        with contextlib.ExitStack() as stack:
            changed = None
            if seconds > 0:
                with contextlib.suppress(TooManyWaiters):
                    changed = stack.enter_context(self._waiters.waiting_for(order_key(merchant_uid), client))
                    self._changed.add(changed)
                    stack.callback(self._changed.discard, changed)
            yield changed

    async def _read(self, merchant_uids: Sequence[str]) -> Sequence[OrderState | None]:
        states = await in_statement(self._pool, order_states.read, list(set(merchant_uids)))
        return [states.get(merchant_uid) for merchant_uid in merchant_uids]
