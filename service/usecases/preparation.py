"""Preparing amounts (PREPARE_AMOUNT), in the background: neither a shop nor a transaction waits for PortOne."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from service.db import preparations
from service.db.pool import Pool, in_transaction
from service.db.preparations import Claimed, Preparation, PreparationState
from service.domain.timetable import Timetable
from service.errors import NotAsked
from service.portone.accounts import account_client
from service.portone.prepare import Prepares, prepare
from service.redis.budget import Budget, Lane

log = structlog.get_logger()

# About half an hour of backoff: after that windows open without a prepared amount.
_TRIES_MAX = 36
_GIVEN_UP = "PortOne could not be asked; amend the order to try again"


@dataclass(frozen=True, slots=True)
class Preparing:
    """The parts that preparing works with; `accounts` holds a client for each PortOne account."""

    pool: Pool
    accounts: Mapping[str, Prepares]
    budget: Budget
    times: Timetable


async def prepare_due(parts: Preparing, limit: int) -> int:
    """Ask PortOne for up to `limit` due preparations, once each. Return how many were asked for.

    Raises PostgresUnavailable. Safe in several workers; what a dead one had claimed is due again after its lease.
    """
    claimed = await in_transaction(parts.pool, preparations.claim, limit, parts.times.lease)
    if not claimed:
        return 0
    results = await asyncio.gather(*(_ask(parts, each) for each in claimed))
    ended = [(each, result, _wait(each, parts.times)) for each, result in zip(claimed, results, strict=True)]
    await in_transaction(parts.pool, preparations.end, ended)
    _log(results)
    return len(claimed)


async def _ask(parts: Preparing, claimed: Claimed) -> Preparation:
    if not await parts.budget.take(Lane.BACKGROUND, account=claimed.store.account):
        return Preparation(PreparationState.PENDING)
    try:
        refusal = await prepare(
            account_client(parts.accounts, claimed.store.account),
            claimed.merchant_uid,
            claimed.amount,
            claimed.currency,
            tier=claimed.store.tier,
            known=claimed.known,
        )
    except NotAsked:
        if claimed.tries < _TRIES_MAX:
            return Preparation(PreparationState.PENDING)
        return Preparation(PreparationState.REFUSED, _GIVEN_UP)
    return Preparation(PreparationState.DONE) if refusal is None else Preparation(PreparationState.REFUSED, refusal)


def _wait(claimed: Claimed, times: Timetable) -> timedelta:
    return min(times.backoff_first * 2.0 ** min(claimed.tries, 30), times.backoff_last)


def _log(results: Sequence[Preparation]) -> None:
    counts = {outcome.value: sum(result.outcome is outcome for result in results) for outcome in PreparationState}
    log.info("amounts.prepared", **counts)
