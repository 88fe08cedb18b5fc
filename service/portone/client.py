"""The V1 client. It only moves bytes: what an answer means is read elsewhere (`portone.payment`).

Every call is bounded in time; a failure to ask is an error, never an answer (DESIGN.md §2.6).
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from service.errors import PortOneRefused, PortOneUnavailable, UnreadableAnswer

# One look, token and 401 retry included (DESIGN.md §3, Timetable).
LOOK_SECONDS = 6.0
BATCH_MAX = 100
_ANSWER_MAX_BYTES = 4 * 1024 * 1024
_CALLS_UNDER_WAY = 16
# With less than a minute left PortOne extends the same token by 5 minutes; before, it would answer the same.
_TOKEN_REFRESH_SECONDS = 60


class PortOne:
    """Asks PortOne under one account. Share one per process; `close()` it at the end.

    The token needs no store of ours: PortOne answers the same one to every process that asks with this key,
    so a restart changes nothing. Within the process one request for it is under way at a time.
    """

    def __init__(self, base_url: str, imp_key: str, imp_secret: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._credentials = {"imp_key": imp_key, "imp_secret": imp_secret}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CALLS_UNDER_WAY),
            timeout=aiohttp.ClientTimeout(total=LOOK_SECONDS),
        )
        self._token = ""
        self._token_good_until = 0.0
        self._token_lock = asyncio.Lock()

    async def close(self) -> None:
        await self._session.close()

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        """One payment as PortOne tells it, or None when it knows no such payment."""
        query = {"include_sandbox": "true"} if include_sandbox else {}
        status, answer = await self._get(f"/payments/{quote(imp_uid, safe='')}", query, tier)
        return None if status == 404 else answer

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        """Those of up to 100 payments that PortOne knows, in no order; the missing are just absent."""
        query = [("imp_uid[]", imp_uid) for imp_uid in imp_uids]
        status, answer = await self._get("/payments", query, tier)
        if status == 404:
            return []
        if not isinstance(answer, list):
            raise UnreadableAnswer("the list of payments is not a list")
        return answer

    async def _get(self, path: str, query: Any, tier: str) -> tuple[int, object]:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                token = await self._fresh_token(stale="")
                status, body = await self._call("GET", path, token, tier, params=query)
                if status == 401:  # a token can die in flight: refresh once, try once more
                    token = await self._fresh_token(stale=token)
                    status, body = await self._call("GET", path, token, tier, params=query)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise PortOneUnavailable(type(error).__name__) from None
        return status, _response(status, body)

    async def _fresh_token(self, stale: str) -> str:
        async with self._token_lock:
            if self._token in ("", stale) or time.monotonic() > self._token_good_until:
                status, body = await self._call("POST", "/users/getToken", json=self._credentials)
                answer = _response(status, body)
                try:
                    self._token = str(answer["access_token"])
                    left = float(answer["expired_at"]) - float(answer["now"])
                except (TypeError, KeyError, ValueError):
                    raise UnreadableAnswer("the token") from None
                self._token_good_until = time.monotonic() + left - _TOKEN_REFRESH_SECONDS
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


def _response(status: int, body: bytes) -> Any:
    """Open the envelope: `code` 0 is success, and HTTP 200 alone is none."""
    if status == 401:
        raise PortOneRefused
    if status == 429 or status >= 500:
        raise PortOneUnavailable(f"HTTP {status}")
    try:
        envelope = orjson.loads(body)
        code = envelope["code"]
    except (ValueError, TypeError, KeyError):
        raise UnreadableAnswer(f"HTTP {status} without PortOne's envelope") from None
    if status == 404 and code != 0:
        return None
    if status not in (200, 207) or code != 0 or "response" not in envelope:
        raise UnreadableAnswer(f"HTTP {status}, code {code if isinstance(code, int) else '?'}")
    return envelope["response"]
