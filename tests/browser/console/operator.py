"""A person at the console: a browser's context, and all that it must not do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from tests.browser.console.orders import ServiceWithOrders
from tests.browser.visitor import PATIENCE_MS


@dataclass
class Operator:
    """One page of the console, with what the browser complained of, and where it sent requests."""

    context: BrowserContext
    page: Page
    made: ServiceWithOrders
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()
    """Other origins that a test visits."""

    @classmethod
    @asynccontextmanager
    async def arrive(cls, browser: Browser, made: ServiceWithOrders, **device: Any) -> AsyncIterator["Operator"]:
        """Open a context. Leaving checks that no request left the service, and that no policy was violated."""
        options = {"locale": "en-US", "viewport": {"width": 1240, "height": 860}} | device
        context = await browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        operator = cls(context, await context.new_page(), made)
        context.on("request", operator._note_request)
        context.on("console", operator._note_complaint)
        context.on("weberror", lambda error: operator.complaints.append(error.error.message))
        yield operator
        await context.close()
        allowed = (made.url, *operator.allowed)
        assert [url for url in operator.requests if not url.startswith(allowed)] == [], "A request left the service."
        assert [text for text in operator.complaints if "Content Security Policy" in text] == []

    async def open(self, path: str = "") -> None:
        await self.page.goto(f"{self.made.url}/console{path}")

    async def sign_in(self, key: str | None = None) -> None:
        await self.open()
        await self.page.get_by_label("Service key").fill(key or await self.made.make_key())
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.get_by_role("heading", name="Today").wait_for()

    async def find(self, text: str) -> None:
        """Type an order's number or an imp_uid into the search of every page."""
        await self.page.get_by_role("search").get_by_label("Order number, imp_uid or notice id").fill(text)
        await self.page.get_by_role("button", name="Find").click()
        await self.page.get_by_role("heading", name="Story").wait_for()

    async def do(self, name: str, why: str) -> None:
        """Follow an operation's link, give the reason, and press the button."""
        await self.page.get_by_role("link", name=name).first.click()
        await self.page.get_by_role("heading", name="What will happen").wait_for()
        await self.page.get_by_label("The reason, in a few words").fill(why)
        await self.page.get_by_role("button", name=name).click()
        await self.page.get_by_role("status").wait_for()

    def _note_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _note_complaint(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)
