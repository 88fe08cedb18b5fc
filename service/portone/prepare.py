"""Register an order's amount with PortOne beforehand, so that its SDK opens no window on another amount.

The quirks that live here: a second registration is HTTP 200 with code 1 and an unreliable text, so the registered
amount is read back and compared; a change of an amount that is not registered is 404 (docs/portone.md §1).
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from service.domain.ids import is_plain
from service.domain.money import InexactAmount, exact, to_major, to_minor
from service.errors import PortOneUnavailable, UnreadableAnswer
from service.portone.client import LOOK_SECONDS, Envelope

_REASON_MAX = 200


class Prepares(Protocol):
    """The part of the client that preparing needs."""

    async def prepare(self, form: Mapping[str, str], tier: str) -> Envelope: ...

    async def change_prepared(self, form: Mapping[str, str], tier: str) -> Envelope: ...

    async def prepared(self, merchant_uid: str, tier: str) -> object | None: ...


async def prepare(
    portone: Prepares, merchant_uid: str, amount: int, currency: str, *, tier: str, known: bool
) -> str | None:
    """Register the amount, or change it to this. Return None once PortOne has it, or why it refuses.

    `known`: PortOne has an amount of this order. A repeated call does no harm. Raises NotAsked.
    """
    form = {"merchant_uid": merchant_uid, "amount": f"{to_major(amount, currency):f}", "currency": currency}
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            if known:
                changed = await portone.change_prepared(form, tier)
                if changed.success or changed.status != 404:
                    return _refusal(changed)
            registered = await portone.prepare(form, tier)
            if registered.success:
                return None
            return await _compare(portone, form, amount, currency, tier, registered)
    except TimeoutError:
        raise PortOneUnavailable("it took too long") from None


async def _compare(
    portone: Prepares, form: Mapping[str, str], amount: int, currency: str, tier: str, refused: Envelope
) -> str | None:
    """Compare a refused amount with the registered one, and change that if it differs. Return why it is refused."""
    answer = await portone.prepared(form["merchant_uid"], tier)
    if answer is None:
        return _refusal(refused)
    if read_prepared(answer, currency) == (amount, currency):
        return None
    return _refusal(await portone.change_prepared(form, tier))


def read_prepared(answer: object, currency: str) -> tuple[int, str] | None:
    """Read the amount and currency that PortOne has; None if the amount is not one of that currency.

    An answer without a currency means the order's own. Raises UnreadableAnswer.
    """
    amount = exact(answer.get("amount")) if isinstance(answer, Mapping) else None
    if not isinstance(answer, Mapping) or amount is None:
        raise UnreadableAnswer("the prepared amount is not a number")
    try:
        return to_minor(amount, currency), str(answer.get("currency") or currency)
    except InexactAmount:
        return None


def _refusal(answer: Envelope) -> str | None:
    if answer.success:
        return None
    text = answer.message if is_plain(answer.message) else ""
    return text[:_REASON_MAX] or f"HTTP {answer.status}, code {answer.code}"
