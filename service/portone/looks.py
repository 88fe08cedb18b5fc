"""One authoritative look at a batch of payments: what PortOne answers for each of them.

The quirks that live here and nowhere else: a test payment hides from the single call unless it is asked for;
an older answer may lack `sandbox`; a batch answer just leaves out what it does not know (PORTONE.md §1).
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from service.domain.judgement import LookResult, Unanswered
from service.domain.notice import Outcome
from service.domain.payment import Payment, Store
from service.errors import NotAsked, UnreadableAnswer
from service.portone.client import LOOK_SECONDS, PAYMENTS_PER_CALL
from service.portone.payment import read_payment, says_channel


class Asks(Protocol):
    """The part of the client that a look needs."""

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None: ...

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]: ...


async def look(portone: Asks, imp_uids: Sequence[str], store: Store) -> dict[str, LookResult]:
    """Ask for up to 100 payments of one account and tier; every one of them gets its answer.

    Never raises for PortOne's sake, and takes no longer than LOOK_SECONDS: a failure to ask is an answer of
    its own kind, which changes nothing.
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
        found = await portone.payment(imp_uid, store.tier)
        return None if found is None else await _read(portone, imp_uid, found, store)
    except NotAsked as error:
        return unanswered(error)


async def _read(portone: Asks, imp_uid: str, found: object, store: Store) -> Payment:
    live = None
    if not says_channel(found):
        # Whether it is live shows in whether it hides: 200 without `include_sandbox` is live, 404 is a test.
        live = await portone.payment(imp_uid, store.tier, include_sandbox=False) is not None
    payment = read_payment(found, store, live=live)
    if payment.imp_uid != imp_uid:
        raise UnreadableAnswer("it is about another payment")
    return payment


async def _batch(portone: Asks, imp_uids: Sequence[str], store: Store, answers: dict[str, LookResult]) -> None:
    """Fill in the answers. A batch that fails twice is asked in halves, so that one cannot fail them all."""
    for _ in range(2):
        error = await _whole(portone, imp_uids, store, answers)
        if error is None:
            return
    await _halves(portone, imp_uids, store, answers)


async def _halves(portone: Asks, imp_uids: Sequence[str], store: Store, answers: dict[str, LookResult]) -> None:
    """Narrow down on the payment that fails its neighbours; stop where PortOne answers neither half."""
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
        found = await portone.payments(imp_uids, store.tier)
    except NotAsked as error:
        failure = unanswered(error)
        answers.update(dict.fromkeys(imp_uids, failure))
        return failure
    named = {name: item for item in found if isinstance(item, dict) and isinstance(name := item.get("imp_uid"), str)}
    for imp_uid in imp_uids:
        answers[imp_uid] = await _item(portone, imp_uid, named.get(imp_uid), store)
    return None


async def _item(portone: Asks, imp_uid: str, found: object, store: Store) -> LookResult:
    """One of a batch: what is wrong with it is its own, and harms no neighbour."""
    if found is None:
        return None
    try:
        return await _read(portone, imp_uid, found, store)
    except NotAsked as error:
        return unanswered(error)


def unanswered(error: NotAsked) -> Unanswered:
    """Turn a failure to ask into the value that the rules take."""
    return Unanswered(error.outcome, str(error))
