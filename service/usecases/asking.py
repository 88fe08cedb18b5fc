"""Asking PortOne for an order's payments and waiting for the answer, on a caller's behalf.

The receiver asks nothing itself: it has a worker search for the payments (service/usecases/searching.py).
"""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime

from service.db.completion_facts import OrderFacts
from service.domain.completion import Searched
from service.domain.notice import Outcome
from service.errors import OrderNotRegistered
from service.redis.waiters import TooManyWaiters, Waiters, order_key
from service.usecases.coalescing import Coalescer
from service.usecases.search_requests import SearchRequests

# Being woken is only a hint, which gets lost while Redis is away.
_READ_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Asking:
    """Has a worker search for orders' payments. Calls that ask at the same time share its statements and searches."""

    searches: SearchRequests
    waiters: Waiters
    order_facts: Coalescer[tuple[str, datetime | None], OrderFacts]

    async def ask(self, merchant_uid: str, wait_seconds: float) -> Searched | None:
        """Return how the search ended that began after this call; while it fails it is made again, within the wait.

        None: none has ended yet. Raises OrderNotRegistered, Overloaded or PostgresUnavailable.
        """
        with contextlib.ExitStack() as stack:
            looked = asyncio.Event()
            with contextlib.suppress(TooManyWaiters):
                looked = stack.enter_context(self.waiters.waiting_for(order_key(merchant_uid)))
            wanted_at = await self.searches.want(merchant_uid)
            if wanted_at is None:
                raise OrderNotRegistered
            searched: Searched | None = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    while not _looked(searched := await self._searched(merchant_uid, wanted_at)):
                        await _woken(looked)
            return searched

    async def _searched(self, merchant_uid: str, wanted_at: datetime) -> Searched | None:
        return (await self.order_facts.join((merchant_uid, wanted_at))).searched


def _looked(searched: Searched | None) -> bool:
    return searched is not None and searched.outcome is Outcome.LOOKED


async def _woken(looked: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READ_AGAIN_SECONDS):
            await looked.wait()
    looked.clear()
