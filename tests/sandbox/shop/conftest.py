"""The shop in a sandbox beside the whole service, over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from sandbox.config import SandboxConfig, ShopConfig
from service.settings import Settings
from tests.ports import own_port
from tests.running import SERVICE_KEY, RunningService, patient_worker, running_receiver
from tests.sandbox_client import RunningSandbox, running_sandbox


@dataclass
class ShopCaller:
    """A page of the shop: calls its back end, and reads its timeline."""

    sandbox: RunningSandbox
    service: RunningService
    session: ClientSession

    @property
    def url(self) -> str:
        return f"{self.sandbox.url}/shop"

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, f"{self.url}{path}", allow_redirects=False, **options) as answer:
            raw = await answer.read()
            return answer.status, orjson.loads(raw) if answer.content_type == "application/json" else raw.decode()

    async def order(self, **choice: Any) -> str:
        """Register an order; its number."""
        status, checkout = await self.call("POST", "/api/orders", json=choice)
        assert status == 201, checkout
        return str(checkout["merchant_uid"])

    async def report(self, merchant_uid: str, kind: str, **evidence: Any) -> None:
        body = {"kind": kind, "evidence": evidence}
        status, answered = await self.call("POST", f"/api/orders/{merchant_uid}/seen", json=body)
        assert status == 200, answered

    @asynccontextmanager
    async def timeline(self, merchant_uid: str, after: int = 0) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The order's events, each parsed; `after` is what a browser that connects again sends."""
        headers = {"Last-Event-ID": str(after)} if after else {}
        address = f"{self.url}/api/orders/{merchant_uid}/events"
        async with self.session.get(address, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "text/event-stream"
            yield (orjson.loads(line.removeprefix(b"data: ")) async for line in answer.content if line[:5] == b"data:")

    async def until(self, merchant_uid: str, kind: str, **expected: Any) -> list[dict[str, Any]]:
        """The events up to the first of this kind with this evidence."""
        events = []
        async with self.timeline(merchant_uid) as coming:
            async for event in coming:
                events.append(event)
                if event["kind"] == kind and expected.items() <= event["evidence"].items():
                    break
        return events


@pytest.fixture
async def shop(database_url: str, redis_url: str) -> AsyncIterator[ShopCaller]:
    """The receiver, the worker, and a sandbox whose shop registers its orders there."""
    port = own_port()
    service_url = f"http://127.0.0.1:{port}"
    config = SandboxConfig(webhook_url=f"{service_url}/webhooks/portone/v1", shop=ShopConfig(service_url, SERVICE_KEY))
    async with running_sandbox(config) as sandbox, ClientSession() as session:
        settings = Settings(
            _env_file=None,
            database_url=database_url,
            redis_url=redis_url,
            portone_api_url=sandbox.url,
            portone_imp_key=sandbox.imp_key,
            portone_imp_secret=sandbox.imp_secret,
            service_keys=(SERVICE_KEY,),
            checkout_secrets=("a secret of the tests, long enough",),
            return_url=f"{sandbox.url}/shop/return",
            cors_origins=(sandbox.url,),
        )
        async with running_receiver(settings, port) as service, patient_worker(settings):
            yield ShopCaller(sandbox, service, session)
