"""A page's side of the sandbox, over real HTTP and without a browser: what the SDK's frame and the window send."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.sandbox.conftest import Caller

PAGE_ORIGIN = "http://localhost:3000"


@dataclass
class PageCaller:
    """Opens windows as the SDK's frame does, and chooses as the window's page does."""

    caller: Caller
    opened: dict[str, Any] = field(default_factory=dict)

    async def ask(self, params: dict[str, Any], **how: Any) -> dict[str, Any]:
        """Ask for a window; the answer holds it, or what the callback gets."""
        asked = {
            "user_code": "imp00000000",
            "kind": "payment",
            "provider": "html5_inicis",
            "device": "pc",
            "mode": "overlay",
        }
        page = {"page_url": f"{PAGE_ORIGIN}/shop/checkout", "page_origin": PAGE_ORIGIN}
        given = {"merchant_uid": "order-1", "name": "의자", "amount": 64900} | params
        answered = await self.caller.call("POST", "/v1/windows", json=asked | page | {"params": given} | how)
        assert answered.status in (200, 201), answered.content
        self.opened = answered.content
        return self.opened

    async def open(self, params: dict[str, Any] | None = None, **how: Any) -> str:
        """Open a window; its id."""
        answered = await self.ask(params or {}, **how)
        assert answered["window"], answered
        window: str = answered["window"]
        return window

    async def choose(self, window: str, outcome: str) -> dict[str, Any]:
        """End a window; what its callback gets."""
        answered = await self.caller.call("POST", f"/v1/windows/{window}/outcome", json={"outcome": outcome})
        assert answered.status == 200, answered.content
        data: dict[str, Any] = answered.content["data"]
        return data

    async def end(self, outcome: str, params: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
        """Open a window and end it; what its callback gets."""
        return await self.choose(await self.open(params, **how), outcome)

    async def location(self, window: str) -> str:
        """Return the address that the window's redirect leads to."""
        address = f"{self.caller.url}/v1/windows/{window}/return"
        async with self.caller.session.get(address, allow_redirects=False) as answer:
            assert answer.status == 302
            return answer.headers["Location"]

    async def returned(self, outcome: str, params: dict[str, Any] | None = None, **how: Any) -> dict[str, str]:
        """Open a window on a phone and end it; the query with which the browser comes back."""
        given = {"m_redirect_url": f"{PAGE_ORIGIN}/back"} | (params or {})
        window = await self.open(given, **{"device": "mobile", "mode": "redirect"} | how)
        await self.choose(window, outcome)
        return dict(parse_qsl(urlsplit(await self.location(window)).query, keep_blank_values=True))

    async def payment(self) -> dict[str, Any]:
        """The one payment that there is."""
        (payment,) = (await self.caller.control("payments", "GET")).content["payments"]
        found: dict[str, Any] = payment
        return found

    async def payments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.caller.control("payments", "GET")).content["payments"]
        return found


@pytest.fixture
def page(portone: Caller) -> PageCaller:
    return PageCaller(portone)
