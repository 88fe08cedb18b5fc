"""Have PortOne know an order's amount beforehand, so that its SDK opens no window on another one.

The quirks that live here: a second registration is HTTP 200 with code 1, whose text is not to be relied upon, so
what is registered is read back and compared; a change of what is not there is 404 (PORTONE.md §1).
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
    """Register the amount, or change it to this; returns None once PortOne has it, or why it refuses.

    `known`: PortOne has an amount of this order. Doing it again does no harm. Raises NotAsked.
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
    """It may have been refused only because an amount is there: this one, or one that is to be changed."""
    found = await portone.prepared(form["merchant_uid"], tier)
    if found is None:
        return _refusal(refused)
    if read_prepared(found, currency) == (amount, currency):
        return None
    return _refusal(await portone.change_prepared(form, tier))


def read_prepared(found: object, currency: str) -> tuple[int, str] | None:
    """Amount and currency that PortOne has; None where the amount is not one of that currency.

    An answer without a currency speaks of the order's own. Raises UnreadableAnswer.
    """
    amount = exact(found.get("amount")) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or amount is None:
        raise UnreadableAnswer("the prepared amount is not a number")
    told = found.get("currency") or currency
    try:
        return to_minor(amount, currency), str(told)
    except InexactAmount:
        return None


def _refusal(answer: Envelope) -> str | None:
    if answer.success:
        return None
    said = answer.message if is_plain(answer.message) else ""
    return said[:_REASON_MAX] or f"HTTP {answer.status}, code {answer.code}"
