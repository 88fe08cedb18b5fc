"""Ask a receiver what buyers' browsers and PortOne ask of it, and keep each answer for the oracle."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import aiohttp

from faults.stack import Stack

# With these answers the notice was recorded. 202 and 400 are about the order, not about the notice.
_ACKNOWLEDGED = (200, 202, 400)
_BROWSER_SECONDS = 12.0
# PortOne waits for as little as this for `confirm_url`.
_PORTONE_SECONDS = 5.0


class Kind(StrEnum):
    """The kind of a question."""

    PAYMENT = "completion of a payment"
    ORDER = "completion of an order"
    RETURN = "return"
    CONFIRMATION = "confirmation"


@dataclass(frozen=True)
class Answer:
    """A question and its answer. Times are in Unix seconds; `text` is the body, or the address of a redirect."""

    kind: Kind
    imp_uid: str
    merchant_uid: str
    amount: int | None
    sent_at: float
    received_at: float
    status: int
    text: str


class Asking:
    """Asks once each time, whatever comes. `acknowledged` counts by imp_uid the notices that may not be lost."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.answers: list[Answer] = []
        self.acknowledged: Counter[str] = Counter()

    async def complete(self, imp_uid: str, merchant_uid: str) -> Answer | None:
        """Make a browser's completion call."""
        body = {"imp_uid": imp_uid, "merchant_uid": merchant_uid}
        answer = await self._ask(Kind.PAYMENT, imp_uid, merchant_uid, json=body)
        if answer and answer.status in _ACKNOWLEDGED:
            self.acknowledged[imp_uid] += 1
        return answer

    async def complete_order(self, merchant_uid: str) -> Answer | None:
        """Make a completion call that names no payment."""
        return await self._ask(Kind.ORDER, "", merchant_uid, json={"merchant_uid": merchant_uid})

    async def come_back(self, imp_uid: str, merchant_uid: str) -> Answer | None:
        """Come back from a payment window, as a mobile browser does."""
        query = {"imp_uid": imp_uid, "merchant_uid": merchant_uid}
        return await self._ask(Kind.RETURN, imp_uid, merchant_uid, params=query)

    async def confirm(self, imp_uid: str, merchant_uid: str, amount: int) -> Answer | None:
        """Ask as PortOne does before it approves a payment."""
        body = {"imp_uid": imp_uid, "merchant_uid": merchant_uid, "amount": amount}
        return await self._ask(Kind.CONFIRMATION, imp_uid, merchant_uid, amount, json=body)

    async def _ask(
        self, kind: Kind, imp_uid: str, merchant_uid: str, amount: int | None = None, **content: Mapping[str, Any]
    ) -> Answer | None:
        sent_at = time.time()
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            status, text = await self._call(kind, content)
            answer = Answer(kind, imp_uid, merchant_uid, amount, sent_at, time.time(), status, text)
            self.answers.append(answer)
            return answer
        return None

    async def _call(self, kind: Kind, content: Mapping[str, Any]) -> tuple[int, str]:
        assert self._stack.session  # noqa: S101 - it is started
        method, path = {
            Kind.PAYMENT: ("POST", "/payment/complete"),
            Kind.ORDER: ("POST", "/payment/complete"),
            Kind.RETURN: ("GET", "/payment-redirect"),
            Kind.CONFIRMATION: ("POST", "/payments/confirm"),
        }[kind]
        async with (
            asyncio.timeout(_PORTONE_SECONDS if kind is Kind.CONFIRMATION else _BROWSER_SECONDS),
            self._stack.session.request(
                method,
                self._stack.entry_url + path,
                headers={"Prefer": "wait=1"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None),
                **content,
            ) as answer,
        ):
            return answer.status, answer.headers.get("Location") or await answer.text()
