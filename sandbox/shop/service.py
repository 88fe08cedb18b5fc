"""The calls that the shop's back end makes to the service, each bounded in time."""

from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from sandbox.config import ShopConfig

TIMEOUT = aiohttp.ClientTimeout(total=10)


class ServiceAnswer(NamedTuple):
    """Status and JSON body of an answer; status 503 and no body when there was none."""

    status: int
    body: dict[str, Any]


class OrderService:
    """The service's public API under the shop's key. It must be open while it is called."""

    def __init__(self, config: ShopConfig) -> None:
        self.url, self._key = config.service_url, config.service_key
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the connections' pool."""
        headers = {"Authorization": f"Bearer {self._key}"}
        self._session = aiohttp.ClientSession(headers=headers, timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def register(self, order: dict[str, Any]) -> ServiceAnswer:
        """Register an order before its payment window opens: `POST /orders`."""
        return await self._call("POST", "/orders", json=order)

    async def read(self, merchant_uid: str) -> ServiceAnswer:
        """Read an order's verified state: `GET /orders/{merchant_uid}`."""
        return await self._call("GET", f"/orders/{quote(merchant_uid, safe='')}")

    async def _call(self, method: str, path: str, **options: Any) -> ServiceAnswer:
        if self._session is None:
            raise RuntimeError("The shop's client was not opened.")
        try:
            async with self._session.request(method, self.url + path, allow_redirects=False, **options) as answer:
                body = await answer.json(content_type=None)
                return ServiceAnswer(answer.status, body if isinstance(body, dict) else {})
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return ServiceAnswer(503, {})
