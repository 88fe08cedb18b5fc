"""Calls to the service: an error is one of two exceptions, and a call that may succeed later is made again."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

# Too many calls, a database that is away, or a proxy in front of a service that starts: try again later.
_LATER = frozenset({429, 502, 503, 504})
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 15.0
_LAST_TRY_SECONDS = 1.0


class Refused(Exception):
    """The service refused the call. Decide by `kind`; the message is its sentence for people."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(f"{detail} ({status} {kind})")
        self.status = status
        self.kind = kind
        self.detail = detail


class Unreachable(Exception):
    """The service gave no answer, or only that it cannot now, for as long as the call was willing to try."""


class WrongAnswer(Exception):
    """The answer is not the service's, or not about the order of the call: something sent the call elsewhere."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: correct the service's address, or the proxy before it.")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no refusal."""

    status: int
    headers: Mapping[str, str]
    fields: Any


class Calls:
    """Calls with one key to one service.

    Every call may be made twice: what a lost answer has already done, the second call finds done.
    """

    def __init__(self, url: str, key: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session = session

    async def make(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: object = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        patience: float = 30.0,
    ) -> Answer:
        """Return the answer. `wait`: how long the service was asked to wait. `patience`: how long to try again.

        Raises Refused or WrongAnswer for an answer that trying again would not better; Unreachable when the patience
        is over, or would be before the service's Retry-After.
        """
        ends = time.monotonic() + patience
        for pause in pauses():
            longest = wait + min(_ANSWER_SECONDS, max(ends - time.monotonic(), _LAST_TRY_SECONDS))
            try:
                answer = await self._once(method, path, query, body, headers or {}, longest)
            except (aiohttp.ClientError, TimeoutError) as error:
                reason, least = f"{type(error).__name__}: {error}", 0.0
            else:
                if answer.status not in _LATER:
                    return _accepted(answer)
                reason, least = f"it answers {answer.status}", _retry_after(answer)
            left = ends - time.monotonic()
            if left <= 0 or least > left:
                raise Unreachable(f"{self._url} cannot be reached: {reason}")
            await asyncio.sleep(min(max(pause, least), left))
        raise AssertionError  # pauses never end

    async def _once(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: object,
        headers: Mapping[str, str],
        longest: float,
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(total=longest, sock_connect=_CONNECT_SECONDS)
        async with self._session.request(
            method,
            self._url + path,
            params=query,
            json=body,
            headers={**self._headers, **headers},
            allow_redirects=False,
            timeout=timeout,
        ) as answer:
            is_json = "json" in answer.content_type and answer.status != 304
            fields = await answer.json(content_type=None) if is_json else await answer.text()
            return Answer(answer.status, answer.headers, fields)


def address_of(url: str) -> str:
    """Return the service's address without a slash at its end. Raises ValueError if it is no address."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"The service's address begins with http:// or https://, and {url!r} does not.")
    return url.rstrip("/")


def pauses(choose: Callable[[float, float], float] = random.uniform) -> Iterator[float]:
    """Yield how long to wait before each next try: twice as long each time, and a random part of it."""
    longest = _FIRST_PAUSE_SECONDS
    while True:
        yield choose(longest / 2, longest)
        longest = min(2 * longest, _LONGEST_PAUSE_SECONDS)


def _accepted(answer: Answer) -> Answer:
    if answer.status == 304 or (answer.status < 300 and isinstance(answer.fields, dict)):
        return answer
    if answer.status < 400:
        raise WrongAnswer(
            f"Status {answer.status} with {answer.headers.get('Content-Type')} is no answer of the service"
        )
    fields = answer.fields if isinstance(answer.fields, dict) else {}
    kind = str(fields.get("type", "")).rpartition(":")[2]
    raise Refused(answer.status, kind or "unknown", str(fields.get("detail", "The answer is no problem document.")))


def _retry_after(answer: Answer) -> float:
    seconds = answer.headers.get("Retry-After", "")
    return min(float(seconds), _LONGEST_PAUSE_SECONDS) if seconds.isdecimal() else 0.0
