"""The verification of a batch of notices, from claim to commit; the task that puts notices into batches."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from service.db.looks import QUEUED_UP_TO, Claim
from service.db.pool import Connection, one_connection
from service.domain.judgement import Change, Judgement, LookResult, Postponed, Unanswered
from service.domain.order import IS_REACHED
from service.domain.payment import Payment
from service.domain.unreadable import UnreadablePayment
from service.errors import Overloaded, PostgresUnavailable, RedisUnavailable
from service.notice_ids import read_notice_id
from service.redis.queue import Queue
from service.usecases.halving import in_halves
from service.usecases.verification import Answers, Verifier

log = structlog.get_logger()

PARTS = "parts"  # where arq's context holds what the tasks work with


async def verify_notices(ctx: Mapping[str, Any], ids: Sequence[str]) -> None:
    """Have these notices verified by `verify`, with others that arrive while a batch is under way.

    Never raises, because a notice's row is its timetable: what was not verified is due again.
    """
    try:
        await ctx[PARTS].batches.join([read_notice_id(i) for i in ids])
    except (PostgresUnavailable, Overloaded, ValueError, TypeError) as error:
        log.warning("notices.not_verified", count=len(ids), reason=str(error))
    except Exception:
        log.exception("notices.not_verified", count=len(ids))


async def verify(verifier: Verifier, queue: Queue, ids: Sequence[UUID]) -> None:
    """Look once for the whole batch, write what it means, and wake whoever waits. Raises PostgresUnavailable.

    What takes Postgres too long is done in halves: a payment that somebody locks delays no other.
    """
    await in_halves(ids, partial(_verify_whole, verifier, queue))


async def _verify_whole(verifier: Verifier, queue: Queue, ids: Sequence[UUID]) -> None:
    async with one_connection(verifier.pool) as connection:
        claim = await verifier.claim(connection, ids)  # draws the ticket
        await announce(queue, claim.served, dict(claim.too_soon))
        async with aclosing(verifier.look(claim.to_look)) as answered:  # no transaction is open
            async for answers in answered:
                write = partial(_write, verifier, queue, connection, claim, answers)
                await in_halves(list(answers.results), write)


async def _write(
    verifier: Verifier, queue: Queue, connection: Connection, claim: Claim, answers: Answers, imp_uids: Sequence[str]
) -> None:
    """Write what the answers about these payments mean, and wake whoever waits for them."""
    answers = answers.about(imp_uids)
    judgement = await verifier.write(connection, claim, answers)
    log_batch(answers, judgement)
    waits = {notice.id: fate.wait for notice, fate in judgement.fates if isinstance(fate, Postponed)}
    await announce(queue, answers.results.keys(), waits, judgement.changes)


async def announce(
    queue: Queue, imp_uids: Collection[str], waits: Mapping[UUID, timedelta], changes: Sequence[Change] = ()
) -> None:
    """Wake whoever waits for these payments and orders, and queue again the notices that are soon due again.

    A completion call needs not read what its payment has brought its order to: the message says it.
    """
    changed = [order.terms.merchant_uid for order, _ in changes]
    reached = {
        settlement.imp_uid: (order.terms.merchant_uid, settlement.state.value)
        for order, settlement in changes
        if settlement.imp_uid is not None and settlement.state in IS_REACHED
    }
    soon = {notice_id: wait for notice_id, wait in waits.items() if wait <= QUEUED_UP_TO}
    try:
        if imp_uids:
            await queue.tell(list(imp_uids), changed, reached)
        if soon:
            await queue.put(list(soon), max(soon.values()))
    except RedisUnavailable as error:
        log.warning("notices.not_announced", count=len(imp_uids), reason=str(error))


def log_batch(answers: Answers, judgement: Judgement) -> None:
    """Write the one log line of a look."""
    log.info(
        "notices.verified",
        notices=len(answers.notices),
        looked=len(answers.results),
        stored=len(judgement.news),
        changed=len(judgement.changes),
        failed=sum(isinstance(result, Unanswered) for result in answers.results.values()),
        # By these a payment is followed through the logs. A stranger may have invented what PortOne does not know.
        payments={
            str(notice.id): notice.imp_uid if _is_known(answers.results[notice.imp_uid]) else None
            for notice in answers.notices
        },
        orders=[order.terms.merchant_uid for order, _ in judgement.changes],
    )


def _is_known(result: LookResult) -> bool:
    return isinstance(result, Payment | UnreadablePayment)
