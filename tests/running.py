"""Run the whole service in this process: a receiver on a free loopback port, and a worker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import asyncpg
from aiohttp import ClientResponse, ClientSession

from service.http.app import set_up
from service.settings import Settings
from workers.main import run_worker

SERVICE_KEY = "test-service-key"
# How long a test waits for what must happen. No test asserts this time, and the slowest machine needs less.
_PATIENCE_SECONDS = 40.0


class RunningService:
    """The service as its callers see it."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.url = url
        self.session = session

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Make a call. Returns the status and the body, parsed if it is JSON."""
        async with self.session.request(method, self.url + path, allow_redirects=False, **options) as answer:
            return answer.status, await _body(answer)

    async def register(self, merchant_uid: str, amount: int = 64900, **terms: Any) -> Any:
        order = {"merchant_uid": merchant_uid, "amount": amount, **terms}
        status, body = await self.call("POST", "/orders", json=order, headers=bearer())
        assert status in (200, 201), body
        return body

    async def read(self, merchant_uid: str) -> Any:
        status, body = await self.call("GET", f"/orders/{quote(merchant_uid, safe='')}", headers=bearer())
        assert status == 200, body
        return body

    async def becomes(self, merchant_uid: str, seconds: float = _PATIENCE_SECONDS, **expected: Any) -> Any:
        """Wait until the order has these facts, and return it."""
        order: dict[str, Any] = {}

        async def has_become() -> bool:
            order.update(await self.read(merchant_uid))
            return expected.items() <= order.items()

        try:
            await until(has_become, seconds)
        except TimeoutError:
            raise AssertionError(f"{merchant_uid} did not become {expected} within {seconds} s: {order}") from None
        return order

    async def complete(self, imp_uid: str, merchant_uid: str, **options: Any) -> tuple[int, Any]:
        body = {"imp_uid": imp_uid, "merchant_uid": merchant_uid}
        return await self.call("POST", "/payment/complete", json=body, **options)

    async def decided(self, imp_uid: str, merchant_uid: str) -> tuple[int, Any]:
        """Repeat a completion call until its answer is not 202, since a busy machine may not have asked PortOne yet."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (answer := await self.complete(imp_uid, merchant_uid, headers={"Prefer": "wait=1"}))[0] == 202:
                pass
        return answer


async def until(
    condition: Callable[[], Awaitable[bool]], seconds: float = _PATIENCE_SECONDS, pause_seconds: float = 0.02
) -> None:
    """Wait until the condition is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it becomes true in other processes
            await asyncio.sleep(pause_seconds)


async def waits(receiver: RunningService, work: str, count: int) -> bool:
    """Return whether this many calls wait at a kind of work."""
    _, page = await receiver.call("GET", "/metrics", headers=bearer())
    return f'work_waiting{{work="{work}"}} {count:.1f}' in page


def bearer(key: str = SERVICE_KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# A test waits for PortOne's answer as long as the service lets it: a busy machine may need that.
PATIENT = {"Prefer": "wait=20"}


async def _body(answer: ClientResponse) -> Any:
    return await answer.json() if "json" in answer.content_type else await answer.text()


@contextlib.asynccontextmanager
async def running_receiver(settings: Settings, port: int = 0) -> AsyncIterator[RunningService]:
    runner = await set_up(settings, shutdown_seconds=1)
    try:
        await runner.listen("127.0.0.1", port)
        host, port = runner.addresses[0][:2]
        async with ClientSession() as session:
            yield RunningService(f"http://{host}:{port}", session)
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def running_worker(settings: Settings) -> AsyncIterator[None]:
    working = asyncio.create_task(run_worker(settings))
    try:
        yield
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


@contextlib.asynccontextmanager
async def patient_worker(settings: Settings) -> AsyncIterator[None]:
    """A worker whose first walk of each ledger is due in a (scaled) minute, so that the test's own notice is first."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        await connection.execute(
            "INSERT INTO ledger_scans (account, tier, next_at)"
            " SELECT s.*, now() + $3::interval FROM unnest($1::text[], $2::text[]) AS s",
            [store.account for store in settings.stores],
            [store.tier for store in settings.stores],
            timedelta(minutes=1) * settings.time_scale,
        )
    finally:
        await connection.close()
    async with running_worker(settings):
        yield
