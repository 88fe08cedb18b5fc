"""Looks: one authoritative fetch of a batch of payments from PortOne.

The quirks that live here and nowhere else: the single call hides a test payment unless asked to include it; an older
answer may lack `sandbox`; a batch's answer leaves out payments that PortOne does not know (docs/portone.md §1).
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from service.domain.judgement import LookResult, Unanswered
from service.domain.notice import Outcome
from service.domain.payment import Payment, Store
from service.domain.unreadable import UnreadablePayment
from service.errors import NotAsked, UnreadableAnswer, UnreadableMoney
from service.portone.client import LOOK_SECONDS, PAYMENTS_PER_CALL
from service.portone.payment import read_payment, says_channel

log = structlog.get_logger()


class Asks(Protocol):
    """The part of the client that a look needs."""

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None: ...

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]: ...


async def look(portone: Asks, imp_uids: Sequence[str], store: Store) -> dict[str, LookResult]:
    """Ask for up to 100 payments of one account and tier, and return a result for each.

    Takes no longer than LOOK_SECONDS. A failure to ask raises nothing: it is a result, Unanswered.
    """
    if len(imp_uids) > PAYMENTS_PER_CALL:
        raise ValueError(f"a look asks for at most {PAYMENTS_PER_CALL} payments, not {len(imp_uids)}")
    answers: dict[str, LookResult] = {}
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            if len(imp_uids) == 1:
                answers[imp_uids[0]] = await _single(portone, imp_uids[0], store)
            else:
                await _batch(portone, imp_uids, store, answers)
    except TimeoutError:
        pass
    return {imp_uid: answers.get(imp_uid, _TIMED_OUT) for imp_uid in imp_uids}


_TIMED_OUT = Unanswered(Outcome.PORTONE_UNAVAILABLE, "it took too long")


async def _single(portone: Asks, imp_uid: str, store: Store) -> LookResult:
    try:
        answer = await portone.payment(imp_uid, store.tier)
        return None if answer is None else await _read_or_log(portone, imp_uid, answer, store)
    except NotAsked as error:
        return unanswered(error)


async def _read_or_log(portone: Asks, imp_uid: str, answer: object, store: Store) -> Payment | UnreadablePayment:
    """Read an answer. One that is unreadable is named in the log by its imp_uid and the reason, without its content."""
    try:
        return await _read(portone, imp_uid, answer, store)
    except UnreadableAnswer as error:
        log.warning("payment.unreadable", imp_uid=imp_uid, reason=str(error))
        if isinstance(error, UnreadableMoney) and error.payment.imp_uid == imp_uid:
            return error.payment
        raise


async def _read(portone: Asks, imp_uid: str, answer: object, store: Store) -> Payment:
    live = None
    if not says_channel(answer):
        # Without `include_sandbox` PortOne answers 200 for a live payment, and 404 for a test payment.
        live = await portone.payment(imp_uid, store.tier, include_sandbox=False) is not None
    payment = read_payment(answer, store, live=live, asked=imp_uid)
    if payment.imp_uid != imp_uid:
        raise UnreadableAnswer("it is about another payment")
    return payment


async def _batch(portone: Asks, imp_uids: Sequence[str], store: Store, answers: dict[str, LookResult]) -> None:
    """Fill in the answers. A batch that fails twice is asked in halves, so that one payment cannot fail them all."""
    for _ in range(2):
        error = await _whole(portone, imp_uids, store, answers)
        if error is None:
            return
    await _halves(portone, imp_uids, store, answers)


async def _halves(portone: Asks, imp_uids: Sequence[str], store: Store, answers: dict[str, LookResult]) -> None:
    """Narrow down to the payment that fails its neighbours; stop if PortOne answers neither half."""
    if len(imp_uids) == 1:
        return
    middle = len(imp_uids) // 2
    failed = [
        half
        for half in (imp_uids[:middle], imp_uids[middle:])
        if await _whole(portone, half, store, answers) is not None
    ]
    if len(failed) == 1:
        await _halves(portone, failed[0], store, answers)


async def _whole(
    portone: Asks, imp_uids: Sequence[str], store: Store, answers: dict[str, LookResult]
) -> Unanswered | None:
    try:
        items = await portone.payments(imp_uids, store.tier)
    except NotAsked as error:
        failure = unanswered(error)
        answers.update(dict.fromkeys(imp_uids, failure))
        return failure
    named = {name: item for item in items if isinstance(item, dict) and isinstance(name := item.get("imp_uid"), str)}
    for imp_uid in imp_uids:
        answers[imp_uid] = await _item(portone, imp_uid, named.get(imp_uid), store)
    return None


async def _item(portone: Asks, imp_uid: str, answer: object, store: Store) -> LookResult:
    """Read one payment of a batch, so that an error in it harms no neighbour."""
    if answer is None:
        return None
    try:
        return await _read_or_log(portone, imp_uid, answer, store)
    except NotAsked as error:
        return unanswered(error)


def unanswered(error: NotAsked) -> Unanswered:
    """Turn a failure to ask into the value that the rules take."""
    return Unanswered(error.outcome, str(error))
