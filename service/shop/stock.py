"""The shop's stock hook (STOCK_HOOK_URL), asked before a payment is approved, within a second and at a bounded rate.

It gets `{imp_uid, merchant_uid, amount, currency}`, the amount in the currency's smallest unit. It answers 2xx to let
the payment go on, or 4xx to refuse it, optionally with `{"reason": "…"}` for the buyer. Anything else is no answer.
"""

import asyncio
import time
from collections import OrderedDict

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
_ANSWER_SECONDS = 1.0
_ANSWERS_MAX = 10_000
_STRANGERS_SHARE = 0.5


class StockHook:
    """A client of the hook. One a process; `close()` it at the end.

    Anybody may cause a question, so each order is asked about once a second at most, and those who ask meanwhile share
    the answer. Whoever does not ask from one of PortOne's addresses shares half of the rate.
    """

    def __init__(self, url: str, per_second: float) -> None:
        self._url = url
        self._all = Limiter(per_second)
        self._strangers = Limiter(per_second * _STRANGERS_SHARE)
        self._answers: OrderedDict[tuple[str, int], tuple[float, asyncio.Task[Refused | None]]] = OrderedDict()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CALLS_AT_ONCE),
            timeout=aiohttp.ClientTimeout(total=_HOOK_SECONDS),
        )

    async def close(self) -> None:
        await self._session.close()

    async def refuses(self, question: Question, order: Order, *, from_portone: bool) -> Refused | None:
        """Return the shop's refusal, or None. Raises Unsure."""
        key, now = (order.merchant_uid, order.amount), time.monotonic()
        asked_at, answer = self._answers.get(key, (0.0, None))
        if answer is None or now - asked_at >= _ANSWER_SECONDS:
            self._take_place(from_portone)
            answer = asyncio.create_task(self._answer(question, order))
            answer.add_done_callback(_retrieve)
            self._keep(key, now, answer)
        return await asyncio.shield(answer)

    def _take_place(self, from_portone: bool) -> None:
        if (not from_portone and self._strangers.wait_seconds("stock")) or self._all.wait_seconds("stock"):
            raise Unsure("the stock hook was asked too often")

    def _keep(self, key: tuple[str, int], now: float, answer: asyncio.Task[Refused | None]) -> None:
        self._answers[key] = (now, answer)
        self._answers.move_to_end(key)
        while len(self._answers) > _ANSWERS_MAX:
            self._answers.popitem(last=False)

    async def _answer(self, question: Question, order: Order) -> Refused | None:
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


def _retrieve(answer: asyncio.Task[Refused | None]) -> None:
    """Retrieve an error that nobody is left to hear."""
    if not answer.cancelled():
        answer.exception()


def _reason(body: bytes) -> str | None:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return None
    reason = answer.get("reason") if isinstance(answer, dict) else None
    return reason[:_REASON_MAX] if isinstance(reason, str) and reason and is_plain(reason) else None
