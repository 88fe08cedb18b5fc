"""The V1 client. It only moves bytes; `portone.payment` reads what they mean.

Every call is bounded in time; a failure to ask is an error, never an answer (docs/design.md §2.6).
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from service.domain.ids import is_plain
from service.domain.notice import Outcome
from service.domain.payment import ACCOUNT
from service.domain.timetable import Timetable
from service.durations import Durations
from service.errors import NotAsked, PortOneRefused, PortOneUnavailable, UnreadableAnswer
from service.portone.breaker import Breaker
from service.portone.decoding import decode
from service.portone.standing import Standing

# One look, token and 401 retry included (docs/design.md §3, Timetable).
LOOK_SECONDS = 6.0
PAYMENTS_PER_CALL = 100
# A refund waits for the bank behind PortOne; other calls do not.
CANCEL_SECONDS = 20.0
LEDGER_PAGE = 1000
# A page of the ledger has 1,000 payments of about 2 KB.
_ANSWER_MAX_BYTES = 16 * 1024 * 1024
_CALLS_UNDER_WAY = 16
# With less than a minute left PortOne extends the token by 5 minutes; before that it answers the same token.
_TOKEN_REFRESH_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Envelope:
    """An answer in PortOne's envelope. HTTP 200 alone is no success: `code` must be 0."""

    status: int
    code: int
    message: str
    response: Any

    @property
    def success(self) -> bool:
        return self.status in (200, 207) and self.code == 0


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """A page of PortOne's own list: its payments, the total of all pages, and whether another page follows."""

    payments: list[object]
    total: int
    more: bool


class PortOne:
    """A client of one PortOne account. Share one per process; `close()` it at the end.

    The token is not stored: PortOne answers the same one to every process that asks with this key, so a restart
    changes nothing. Within the process one request for it is under way at a time.
    """

    def __init__(
        self, base_url: str, imp_key: str, imp_secret: str, times: Timetable | None = None, account: str = ACCOUNT
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._credentials = {"imp_key": imp_key, "imp_secret": imp_secret}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CALLS_UNDER_WAY),
            timeout=aiohttp.ClientTimeout(total=LOOK_SECONDS),
        )
        self.breaker = Breaker(times or Timetable())
        self.standing = Standing(account)
        # By how the call ended: "answered", or the outcome of a failure to ask.
        self.durations: defaultdict[str, Durations] = defaultdict(Durations)
        self._token = ""
        self._token_good_until = 0.0
        self._token_lock = asyncio.Lock()

    async def close(self) -> None:
        await self._session.close()

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        """Return PortOne's object of a payment, or None if it knows no such payment."""
        query = {"include_sandbox": "true"} if include_sandbox else {}
        path = f"/payments/{quote(imp_uid, safe='')}"
        payment: object | None = _response(await self._ask("GET", path, tier, query=query))
        return payment

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        """Return those of up to 100 payments that PortOne knows, in no order; the others are absent."""
        return await self._list([("imp_uid[]", imp_uid) for imp_uid in imp_uids], tier)

    async def payments_of(self, merchant_uids: Sequence[str], tier: str) -> list[object]:
        """Return payments of up to 100 orders: at least one of each with any, maybe not all (docs/portone.md §1)."""
        return await self._list([("merchant_uid[]", merchant_uid) for merchant_uid in merchant_uids], tier)

    async def attempts(self, merchant_uid: str, tier: str) -> list[object]:
        """All payments of one order, each opened window among them; the newest 1,000."""
        path = f"/payments/findAll/{quote(merchant_uid, safe='')}"
        answer = _response(await self._ask("GET", path, tier, query={"sorting": "-started", "limit": str(LEDGER_PAGE)}))
        if answer is None:
            return []
        if not isinstance(answer, Mapping) or not isinstance(answer.get("list"), list):
            raise UnreadableAnswer("the order's payments are not a list")
        payments: list[object] = answer["list"]
        return payments

    async def ledger(self, tier: str, page: int, *, since: int | None = None) -> LedgerPage:
        """Return a page of PortOne's own list, last change first.

        `since`: Unix seconds, at most and by default 90 days ago.
        """
        query = {"sorting": "-updated", "limit": str(LEDGER_PAGE), "page": str(page)}
        if since is not None:
            query |= {"from": str(since)}
        answer = _response(await self._ask("GET", "/payments/status/all", tier, query=query))
        if answer is None:
            return LedgerPage([], 0, more=False)
        if not isinstance(answer, Mapping) or not isinstance(answer.get("list"), list):
            raise UnreadableAnswer("the ledger's page is not a list")
        total = answer.get("total")
        return LedgerPage(answer["list"], total if isinstance(total, int) else 0, more=bool(answer.get("next")))

    async def _list(self, query: Sequence[tuple[str, str]], tier: str) -> list[object]:
        answer = _response(await self._ask("GET", "/payments", tier, query=query))
        if answer is None:
            return []
        if not isinstance(answer, list):
            raise UnreadableAnswer("the list of payments is not a list")
        return answer

    async def prepare(self, form: Mapping[str, str], tier: str) -> Envelope:
        """Register an order's amount beforehand; refused if one is registered already."""
        return await self._ask("POST", "/payments/prepare", tier, form=form)

    async def change_prepared(self, form: Mapping[str, str], tier: str) -> Envelope:
        """Change an amount that is registered; HTTP 404 if none is."""
        return await self._ask("PUT", "/payments/prepare", tier, form=form)

    async def prepared(self, merchant_uid: str, tier: str) -> object | None:
        """Return the amount that is registered for an order, or None."""
        path = f"/payments/prepare/{quote(merchant_uid, safe='')}"
        amount: object | None = _response(await self._ask("GET", path, tier))
        return amount

    async def cancel(self, form: Mapping[str, str], tier: str, timeout_seconds: float = CANCEL_SECONDS) -> Envelope:
        """Give money back. Sent only once, because an unanswered call may have been carried out. Raises NotAsked."""
        return await self._through(lambda: self._send_once("/payments/cancel", form, tier, timeout_seconds))

    async def _send_once(self, path: str, form: Mapping[str, str], tier: str, timeout_seconds: float) -> Envelope:
        bounded = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            async with asyncio.timeout(timeout_seconds):
                token = await self._fresh_token(stale="")
                status, body = await self._call("POST", path, token, tier, data=form, timeout=bounded)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise PortOneUnavailable(type(error).__name__) from None
        return _read_envelope(status, body)

    async def _ask(
        self, method: str, path: str, tier: str, *, query: Any = None, form: Mapping[str, str] | None = None
    ) -> Envelope:
        """Ask, unless PortOne was down a moment ago. Raises NotAsked.

        A call that timed out may have been carried out.
        """
        return await self._through(lambda: self._exchange(method, path, tier, query, form))

    async def _through(self, ask: Callable[[], Awaitable[Envelope]]) -> Envelope:
        """Ask through the breaker, and note the key's standing. Raises NotAsked."""
        return await self.standing.note(self.breaker.call(lambda: self._timed(ask)))

    async def _timed(self, ask: Callable[[], Awaitable[Envelope]]) -> Envelope:
        began, ended = time.monotonic(), Outcome.PORTONE_UNAVAILABLE.value  # also of one that is cancelled
        try:
            envelope = await ask()
        except NotAsked as error:
            ended = error.outcome.value
            raise
        else:
            ended = "answered"
            return envelope
        finally:
            self.durations[ended].add(time.monotonic() - began)

    async def _exchange(
        self, method: str, path: str, tier: str, query: Any, form: Mapping[str, str] | None
    ) -> Envelope:
        """Ask, and once more with a new token after a 401: the token may have died in flight, and nothing was done."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                token = await self._fresh_token(stale="")
                status, body = await self._call(method, path, token, tier, params=query, data=form)
                if status == 401:
                    token = await self._fresh_token(stale=token)
                    status, body = await self._call(method, path, token, tier, params=query, data=form)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise PortOneUnavailable(type(error).__name__) from None
        return _read_envelope(status, body)

    async def _fresh_token(self, stale: str) -> str:
        async with self._token_lock:
            if self._token in ("", stale) or time.monotonic() > self._token_good_until:
                status, body = await self._call("POST", "/users/getToken", json=self._credentials)
                answer = _response(_read_envelope(status, body))
                try:
                    token = str(answer["access_token"])
                    seconds_left = float(answer["expired_at"]) - float(answer["now"])
                except (TypeError, KeyError, ValueError):
                    raise UnreadableAnswer("the token") from None
                if not is_plain(token):  # no header can carry it
                    raise UnreadableAnswer("the token")
                self._token = token
                self._token_good_until = time.monotonic() + seconds_left - _TOKEN_REFRESH_SECONDS
            return self._token

    async def _call(self, method: str, path: str, token: str = "", tier: str = "", **options: Any) -> tuple[int, bytes]:
        headers = {"Authorization": token} if token else {}
        if tier:
            headers["Tier"] = tier
        async with self._session.request(
            method, self._base_url + path, headers=headers, allow_redirects=False, **options
        ) as response:
            body = await response.content.read(_ANSWER_MAX_BYTES + 1)
            while not response.content.at_eof() and len(body) <= _ANSWER_MAX_BYTES:
                body += await response.content.read(_ANSWER_MAX_BYTES + 1)
            return response.status, body


def _read_envelope(status: int, body: bytes) -> Envelope:
    """Read PortOne's envelope. Raises NotAsked if there is none."""
    if status == 401:
        raise PortOneRefused
    if status == 429 or status >= 500:
        raise PortOneUnavailable(f"HTTP {status}")
    try:
        fields = decode(body)
        code, message = fields["code"], fields.get("message")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UnreadableAnswer(f"HTTP {status} without PortOne's envelope") from None
    if isinstance(code, bool) or not isinstance(code, int) or (code == 0 and "response" not in fields):
        raise UnreadableAnswer(f"HTTP {status} without PortOne's envelope")
    return Envelope(status, code, message if isinstance(message, str) else "", fields.get("response"))


def _response(envelope: Envelope) -> Any:
    """Return a successful answer's response, or None if PortOne knows no such thing. Raises UnreadableAnswer."""
    if envelope.success:
        return envelope.response
    if envelope.status == 404 and envelope.code != 0:
        return None
    raise UnreadableAnswer(f"HTTP {envelope.status}, code {envelope.code}")
