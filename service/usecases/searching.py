"""Searches: find an order's payments at PortOne by the order's number.

A browser that came back without an imp_uid wants one, and so does a withdrawal.

A search writes no payment. Where PortOne's list differs from what is stored it records notices, and has them verified
the ordinary way, at once. Each search is a row with a timetable of its own (service/db/searches.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog

from service.db import notices, searches
from service.db.pool import Pool, in_statement, in_transaction
from service.db.searches import ClaimedSearch
from service.domain.completion import Searched
from service.domain.notice import Outcome, Source
from service.domain.timetable import Timetable
from service.errors import NotAsked, RedisUnavailable
from service.portone.accounts import account_client
from service.redis.budget import Budget, Lane
from service.redis.queue import NOTICES_PER_JOB, Queue
from service.usecases.reconciliation import differences

log = structlog.get_logger()

# Each costs a call, and PortOne has 16 connections of ours for an account.
_SEARCHES_A_TURN = 16
# After this reconciliation, which asks about every silent order, is soon enough.
_TRIES_MAX = 8
_BUDGET_WAIT_SECONDS = 1.0
# The cron's turn comes every 2 s; what is due sooner has a job of its own.
_QUEUED_UP_TO = timedelta(seconds=2)


class ListsAttempts(Protocol):
    """The part of the client that a search needs."""

    async def attempts(self, merchant_uid: str, tier: str) -> list[object]: ...


# Verifies notices, and returns once that is written.
Verify = Callable[[Sequence[UUID]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches for orders' payments. `accounts` holds a client for each PortOne account."""

    pool: Pool
    queue: Queue
    accounts: Mapping[str, ListsAttempts]
    budget: Budget
    times: Timetable

    async def search_due(self, verify: Verify) -> bool:
        """Make due searches, side by side. Return whether more may be due. Raises PostgresUnavailable."""
        claimed = await in_statement(self.pool, searches.claim, _SEARCHES_A_TURN, self.times.search_lease)
        await asyncio.gather(*(self._search(search, verify) for search in claimed))
        return len(claimed) == _SEARCHES_A_TURN

    async def _search(self, search: ClaimedSearch, verify: Verify) -> None:
        try:
            searched = await self._searched(search, verify)
        except NotAsked as error:
            searched = Searched(error.outcome)
        failed = searched.outcome is not Outcome.LOOKED
        again_in = self._backoff(search) if failed and search.tries < _TRIES_MAX else None
        wait = await in_statement(self.pool, searches.end, search, searched, again_in, self.times.spacing)
        try:
            await self.queue.tell([], [search.merchant_uid])
            if wait is not None and wait <= _QUEUED_UP_TO:
                await self.queue.search(max(wait, timedelta()))
        except RedisUnavailable as error:
            log.warning("search.not_announced", merchant_uid=search.merchant_uid, reason=str(error))

    async def _searched(self, search: ClaimedSearch, verify: Verify) -> Searched:
        """Ask for the order's payments and have those verified that differ. Raises NotAsked."""
        if not await self.budget.take(Lane.SEARCH, _BUDGET_WAIT_SECONDS, search.store.account):
            return Searched(Outcome.PORTONE_UNAVAILABLE)
        portone = account_client(self.accounts, search.store.account)
        listed = await portone.attempts(search.merchant_uid, search.store.tier)  # all are of a registered order
        differing = await in_transaction(self.pool, differences, listed, search.store)
        if not differing:
            return Searched(Outcome.LOOKED, _is_window_open(listed))
        given = [replace(notice, source=Source.SEARCH) for notice in differing[:NOTICES_PER_JOB]]
        await verify(await in_statement(self.pool, notices.record_differences, given))
        # A look that failed, or one that another notice has under way, leaves a difference.
        left = await in_transaction(self.pool, differences, listed, search.store)
        return Searched(Outcome.PORTONE_UNAVAILABLE if left else Outcome.LOOKED, _is_window_open(listed))

    def _backoff(self, search: ClaimedSearch) -> timedelta:
        return min(self.times.backoff_first * 2.0 ** (search.tries - 1), self.times.backoff_last)


def _is_window_open(listed: Sequence[object]) -> bool:
    """Say whether the newest of the listed payments, which is the first, is a window without an account."""
    newest = listed[0] if listed else None
    return isinstance(newest, Mapping) and newest.get("status") == "ready" and not newest.get("vbank_num")
