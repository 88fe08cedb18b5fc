"""The shop's stock hook (STOCK_HOOK_URL), asked before a payment is approved, within a second and at a bounded rate.

It gets `{imp_uid, merchant_uid, amount, currency}`, the amount in the currency's smallest unit. It answers 2xx to let
the payment go on, or 4xx to refuse it, optionally with `{"reason": "…"}` for the buyer. Anything else is no answer.
"""

import asyncio

import aiohttp
import orjson

from service.domain.confirm import ConfirmationRefusal, Question, Refused
from service.domain.ids import is_plain
from service.domain.order import Order
from service.errors import Unsure
from service.rate_limits import Limiter

_HOOK_SECONDS = 1.0
_ANSWER_MAX_BYTES = 4096
_REASON_MAX = 200
_CALLS_AT_ONCE = 32


class StockHook:
    """A client of the hook. One a process; `close()` it at the end."""

    def __init__(self, url: str, per_second: float) -> None:
        self._url = url
        self._limits = Limiter(per_second, per_second)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CALLS_AT_ONCE),
            timeout=aiohttp.ClientTimeout(total=_HOOK_SECONDS),
        )

    async def close(self) -> None:
        await self._session.close()

    async def refuses(self, question: Question, order: Order) -> Refused | None:
        """Return the shop's refusal, or None. Raises Unsure."""
        if self._limits.wait_seconds("stock"):
            raise Unsure("the stock hook was asked too often")
        try:
            async with asyncio.timeout(_HOOK_SECONDS):
                status, body = await self._ask(question, order)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unsure(f"the stock hook does not answer: {type(error).__name__}") from None
        if 200 <= status < 300:
            return None
        if 400 <= status < 500 and status != 429:
            return Refused(ConfirmationRefusal.OUT_OF_STOCK, _reason(body))
        raise Unsure(f"the stock hook answers HTTP {status}")

    async def _ask(self, question: Question, order: Order) -> tuple[int, bytes]:
        body = {
            "imp_uid": question.imp_uid,
            "merchant_uid": question.merchant_uid,
            "amount": order.amount,
            "currency": order.currency,
        }
        async with self._session.post(self._url, json=body, allow_redirects=False) as answer:
            return answer.status, await answer.content.read(_ANSWER_MAX_BYTES)


def _reason(body: bytes) -> str | None:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return None
    reason = answer.get("reason") if isinstance(answer, dict) else None
    return reason[:_REASON_MAX] if isinstance(reason, str) and reason and is_plain(reason) else None
