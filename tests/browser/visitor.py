"""A visitor of a shop's page: a browser's context, and all that it must not do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Dialog, FrameLocator, Page, Request, Route
from playwright.async_api import Error as PlaywrightError

from tests.browser.merchant import PLAIN, Merchant
from tests.sandbox_client import RunningSandbox

PORTONE_SCRIPT = "https://cdn.iamport.kr/v1/iamport.js"
PHONE: dict[str, Any] = {
    "user_agent": "Mozilla/5.0 (Linux; Android 15; SM-S936N) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
}
PATIENCE_MS = 20_000
OPEN_FRAME = ".imp-dialog iframe >> visible=true"


@dataclass
class Visitor:
    """One page, with what it said in dialogs, what went wrong in it, and where it sent requests."""

    context: BrowserContext
    page: Page
    sandbox: RunningSandbox
    merchant: Merchant
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Uncaught exceptions, and errors and policy violations on the console."""
    requests: list[str] = field(default_factory=list)
    _dialog_came: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def arrive(
        cls, browser: Browser, sandbox: RunningSandbox, merchant: Merchant, **device: Any
    ) -> AsyncIterator["Visitor"]:
        """Open a context. Leaving checks that no request left the machine and that no policy was violated."""
        context = await browser.new_context(locale="ko-KR", **{"viewport": {"width": 1180, "height": 860}} | device)
        context.set_default_timeout(PATIENCE_MS)
        visitor = cls(context, await context.new_page(), sandbox, merchant)
        context.on("request", visitor._note_request)
        # The context's own events come from every page of it, also from a pop-up.
        context.on("dialog", visitor._take_dialog)
        context.on("weberror", lambda error: visitor.errors.append(error.error.message))
        context.on("console", visitor._note_console)
        yield visitor
        foreign = [url for url in visitor.requests if not _is_here(url)]
        await context.close()
        assert foreign == [], "A request left the machine."
        assert [error for error in visitor.errors if "Content Security Policy" in error] == []

    async def visit_plain_page(self, script: str | None = None, body: str = PLAIN) -> None:
        """Go to a page that has loaded the SDK and done nothing with it."""
        address = self.merchant.add_page("/", script or f"{self.sandbox.url}/v1/iamport.js", body)
        await self.page.goto(address)

    async def answer_portones_script(self, query: str = "") -> None:
        """Answer PortOne's own script's address with the sandbox's, inside this browser."""
        async with ClientSession() as session, session.get(f"{self.sandbox.url}/v1/iamport.js{query}") as answer:
            script = await answer.text()

        async def fulfil(route: Route) -> None:
            await route.fulfill(body=script, content_type="text/javascript; charset=utf-8")

        await self.context.route(PORTONE_SCRIPT, fulfil)

    async def init(self, user_code: str = "imp00000000") -> None:
        await self.page.evaluate("(code) => IMP.init(code)", user_code)

    async def visit_ready_page(self, user_code: str = "imp00000000") -> None:
        """Go to a page that has initialised the SDK."""
        await self.visit_plain_page()
        await self.init(user_code)

    async def open_window(self, **params: Any) -> FrameLocator:
        """Go to a page, and request a payment there; return the window over the page."""
        await self.visit_ready_page()
        await self.request_pay(**params)
        return self.window

    async def request_pay(self, function: str = "request_pay", **params: Any) -> dict[str, Any]:
        """Call the SDK with a callback that keeps its results; return the parameters as the SDK left them."""
        given = {"merchant_uid": "order-1", "name": "의자", "amount": 64900} | params
        script = """([name, params]) => {
            window.results ??= [];
            window.params = params;
            IMP[name](params, (result) => results.push(result));
        }"""
        await self.page.evaluate(script, [function, given])
        return given

    async def request_pay_by_button(self, kind: str, **params: Any) -> None:
        """Let the SDK draw a provider's button for a payment."""
        given = {"merchant_uid": "order-1", "amount": 64900} | params
        script = """([kind, params]) => {
            window.results = [];
            IMP.loadUI(kind, params, (result) => results.push(result));
        }"""
        await self.page.evaluate(script, [kind, given])

    @property
    def window(self) -> FrameLocator:
        """The window over the page."""
        return self.page.frame_locator(OPEN_FRAME)

    async def choose(self, outcome: str) -> None:
        """Press an outcome's button in the window over the page."""
        await self.window.locator(f"[data-outcome={outcome}]").click()

    async def result(self, number: int = 1) -> dict[str, Any]:
        """Return what the callback got when it was called for the last time, which must be the `number`th."""
        await self.page.wait_for_function("(number) => window.results?.length >= number", arg=number)
        results: list[dict[str, Any]] = await self.page.evaluate("results")
        assert len(results) == number
        return results[-1]

    async def payments(self) -> list[dict[str, Any]]:
        """Return the sandbox's payments."""
        payments: list[dict[str, Any]] = (await self.sandbox.control("GET", "payments"))["payments"]
        return payments

    async def payment(self) -> dict[str, Any]:
        """Return the sandbox's only payment."""
        (payment,) = await self.payments()
        return payment

    async def windows(self) -> list[dict[str, Any]]:
        """Return the windows that the sandbox has opened."""
        windows: list[dict[str, Any]] = (await self.sandbox.control("GET", "window"))["windows"]
        return windows

    async def dialog(self) -> str:
        """Return the latest dialog's text, waiting for one."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            await self._dialog_came.wait()
        return self.dialogs[-1]

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    async def _take_dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        with contextlib.suppress(PlaywrightError):  # headless Chromium has sometimes closed it by then
            await dialog.accept()
        self._dialog_came.set()

    def _note_request(self, request: Request) -> None:
        self.requests.append(request.url)


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return (
        parts.scheme in ("data", "blob", "about", "file")
        or parts.hostname in ("localhost", "127.0.0.1")
        or url == PORTONE_SCRIPT
    )
