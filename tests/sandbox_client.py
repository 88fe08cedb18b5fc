"""The sandbox for a test: its address, its keys, and a client of its control API over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, web

from sandbox.app import create_app
from sandbox.config import SandboxConfig
from sandbox.world import WORLD


class RunningSandbox:
    """PortOne in this process, on a free loopback port."""

    def __init__(self, url: str, app: web.Application, config: SandboxConfig, session: ClientSession) -> None:
        self.url, self.app, self._session = url, app, session
        self.imp_key, self.imp_secret = config.imp_key, config.imp_secret

    def send_webhooks_to(self, url: str | None) -> None:
        """Set the console's Endpoint URL. With None, the default, no webhook is sent."""
        self.app[WORLD].sender.webhook_url = url

    async def control(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Call `/_control/{path}`. A refusal fails the test."""
        parameters: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        async with self._session.request(method, f"{self.url}/_control/{path}", **parameters) as answer:
            content: dict[str, Any] = await answer.json()
            assert answer.status < 400, f"{method} {path} answered {answer.status}: {content}"
            return content

    async def open(self, merchant_uid: str, amount: float, **terms: Any) -> dict[str, Any]:
        """Open a window, whose payment is `ready`. Terms: currency, tier, sandbox (test channel), imp_uid, fields …"""
        return await self.control("POST", "payments", merchant_uid=merchant_uid, amount=amount, **terms)

    async def pay(self, merchant_uid: str, amount: float, **terms: Any) -> dict[str, Any]:
        """Open a window and pay. Returns once its webhook, if any, was answered."""
        return await self.control("POST", "pay", merchant_uid=merchant_uid, amount=amount, **terms)

    async def move(self, imp_uid: str, action: str, **options: Any) -> dict[str, Any]:
        """Move a payment: pay, fail, issue, deposit, cancel, finish-cancel, expire, abandon or set."""
        return await self.control("POST", f"payments/{imp_uid}/{action}", **options)

    async def faults(self, **switches: Any) -> dict[str, Any]:
        """Set these fault switches and keep the others. Without any, switch all off."""
        return await self.control("POST" if switches else "DELETE", "faults", **switches)

    async def send_webhook(self, imp_uid: str, **options: Any) -> dict[str, Any]:
        """Send a payment's webhook again. Options: times, format (json, form, both), status, tier, url."""
        return await self.control("POST", "webhooks/send", imp_uid=imp_uid, **options)

    async def webhooks(self) -> dict[str, Any]:
        """Return every delivery so far."""
        return await self.control("GET", "webhooks")

    async def calls(self) -> dict[str, Any]:
        """Return how often each V1 call was made."""
        return await self.control("GET", "calls")


@asynccontextmanager
async def running_sandbox(config: SandboxConfig) -> AsyncIterator[RunningSandbox]:
    app = create_app(config)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with ClientSession() as session:
            yield RunningSandbox(f"http://{host}:{port}", app, config, session)
    finally:
        await runner.cleanup()
