"""The faults that are planted, one for each alert, on a receiver and a worker of the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import asyncpg
from aiohttp import ClientError, ClientSession, web
from pydantic import SecretStr

from service.db import endpoints
from service.domain.signing import secret_of
from service.redis.queue import Queue, connect
from service.settings import Settings
from tests.alerts.promtool import Pages
from tests.ports import own_port
from tests.receiving import receiving
from tests.running import RunningService, bearer, patient_worker, running_receiver
from tests.sandbox_client import RunningSandbox

RECEIVERS, WORKERS = "portone-orders-receivers", "portone-orders-workers"


@dataclass
class Stage:
    """A receiver, perhaps a worker, and what they answered before the fault."""

    settings: Settings
    sandbox: RunningSandbox
    stack: contextlib.AsyncExitStack
    ports: Mapping[str, int] = field(default_factory=lambda: {RECEIVERS: own_port(), WORKERS: own_port()})
    before: Pages = field(default_factory=dict)
    running: RunningService | None = None
    stopping: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def service(self) -> RunningService:
        assert self.running
        return self.running

    async def start(self, *, worker: bool = True, of_worker: Mapping[str, Any] | None = None, **of_all: Any) -> None:
        """Start a receiver and a worker with these settings, and keep their pages."""
        await self.stack.enter_async_context(self.stopping)
        settings = self.settings.model_copy(update=of_all)
        receiver = settings.model_copy(update={"metrics_port": self.ports[RECEIVERS]})
        self.running = await self.stopping.enter_async_context(running_receiver(receiver))
        self.sandbox.send_webhooks_to(f"{self.running.url}/webhooks/portone/v1")
        if worker:
            update = {"metrics_port": self.ports[WORKERS], **(of_worker or {})}
            await self.stack.enter_async_context(patient_worker(settings.model_copy(update=update)))
        self.before = await self.pages()

    async def pages(self) -> Pages:
        """Return each job's page, as Prometheus would read it now."""
        return {job: await _scrape(port) for job, port in self.ports.items()}

    async def webhook(self, tier: str = "", times: int = 1, **fields: Any) -> None:
        """Send webhooks to the receiver."""
        path = f"/webhooks/portone/v1{'/' if tier else ''}{tier}"
        await asyncio.gather(*(self.service.call("POST", path, json=fields) for _ in range(times)))

    async def execute(self, statement: str, *arguments: Any) -> None:
        connection = await asyncpg.connect(self.settings.database_url.get_secret_value())
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()


async def _scrape(port: int) -> str | None:
    try:
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            return await answer.text()
    except ClientError:
        return None


# What fires beside an alert, because one fault has several signs. Without a worker's port no worker is seen to work.
Plant = Callable[[Stage], Awaitable[set[str]]]
_NO_WORKER = {"NoWorkerWorks"}
# Nobody listens there.
_NO_POSTGRES, _NO_REDIS = SecretStr("postgresql://127.0.0.1:1/none"), SecretStr("redis://127.0.0.1:1/0")


async def _no_worker(stage: Stage) -> set[str]:
    await stage.start(worker=False)
    return set()


async def _overdue(stage: Stage) -> set[str]:
    """A notice waits, and nobody works."""
    await stage.start(worker=False, promise_age_seconds=0.001, time_scale=0.01)
    await stage.webhook(imp_uid="imp_1", merchant_uid=(await stage.service.register("order-1"))["merchant_uid"])
    return _NO_WORKER


async def _parked(stage: Stage) -> set[str]:
    """A webhook comes at the address of a tier that is in no setting."""
    await stage.start(promise_parked=0)
    await stage.service.register("order-1")
    await stage.webhook("XYZ", imp_uid="imp_1", merchant_uid="order-1")
    return set()


async def _ledger(stage: Stage) -> set[str]:
    """PortOne's list cannot be read, so no scan comes to its end."""
    await stage.sandbox.faults(api_answer="500")
    await stage.start(promise_lag_seconds=0.001)
    return {"PortOneDown"}


async def _feed(stage: Stage) -> set[str]:
    """A person's transaction has written events, and stays open."""
    await stage.start(worker=False, promise_feed_lag_seconds=0.001)
    await stage.service.register("order-1")
    writer = await asyncpg.connect(stage.settings.database_url.get_secret_value())
    stage.stack.push_async_callback(writer.close)
    await writer.execute("BEGIN; UPDATE order_events SET who = who WHERE false")
    await stage.service.register("order-2")
    return _NO_WORKER


async def _key(stage: Stage) -> set[str]:
    """The worker has a secret that PortOne refuses."""
    await stage.start(of_worker={"portone_imp_secret": SecretStr("wrong")})
    await stage.webhook(imp_uid="imp_1")
    return set()


async def _portone(stage: Stage) -> set[str]:
    """PortOne answers nothing but errors."""
    await stage.start(time_scale=0.01)
    await stage.sandbox.faults(api_answer="500")
    await stage.service.register("order-1")
    await stage.webhook(imp_uid="imp_1", merchant_uid="order-1")
    return set()


async def _redis(stage: Stage) -> set[str]:
    """Nobody listens where REDIS_URL leads."""
    await stage.start(worker=False, redis_url=_NO_REDIS)
    return set()


async def _postgres(stage: Stage) -> set[str]:
    """Nobody listens where DATABASE_URL leads."""
    await stage.start(worker=False, database_url=_NO_POSTGRES)
    return set()


async def _receiver(stage: Stage) -> set[str]:
    """The receiver stops."""
    await stage.start()
    await stage.stopping.aclose()
    return set()


async def _refused(stage: Stage) -> set[str]:
    """Neither database can keep a webhook."""
    await stage.start(worker=False, database_url=_NO_POSTGRES, redis_url=_NO_REDIS)
    await stage.webhook(imp_uid="imp_1")
    return {"PostgresAway", "RedisAway"}


async def _turned_away(stage: Stage) -> set[str]:
    """More followers wait for the next event than have a place."""
    await stage.start(worker=False, feed_followers=1)
    path = "/events?after=now&wait=1"
    await asyncio.gather(*(stage.service.call("GET", path, headers=bearer()) for _ in range(3)))
    return _NO_WORKER


async def _behind(stage: Stage) -> set[str]:
    """More jobs are queued than workers take."""
    await stage.start(worker=False)
    queue = Queue(connect(stage.settings.redis_url.get_secret_value()))
    stage.stack.push_async_callback(queue.close)
    await asyncio.gather(*(queue.search() for _ in range(201)))
    return _NO_WORKER


async def _endpoint(stage: Stage) -> set[str]:
    """An endpoint answers that it is gone."""
    await stage.start(endpoints_in_private_networks=True)
    gone = await stage.stack.enter_async_context(receiving(_gone))
    connection = await asyncpg.connect(stage.settings.database_url.get_secret_value())
    await endpoints.add(connection, "warehouse", gone.url, (), secret_of(b"k" * 24), oldest=False)
    await connection.close()
    await stage.service.register("order-1")
    return set()


async def _gone(_: Any) -> web.StreamResponse:
    return web.Response(status=410)


async def _fault(stage: Stage) -> set[str]:
    """The program has a bug, where an order is read."""
    await stage.start(worker=False)
    stage.stack.enter_context(patch("service.http.orders.read_or_wait", side_effect=RuntimeError))
    await stage.service.call("GET", "/orders/order-1", headers=bearer())
    return _NO_WORKER


async def _strangers(stage: Stage) -> set[str]:
    """Somebody sends webhooks that name no payment."""
    await stage.start(worker=False)
    await stage.webhook(times=100, imp_uid="")
    return _NO_WORKER


async def _problem(stage: Stage) -> set[str]:
    """A buyer paid another amount."""
    await stage.start()
    await stage.service.register("order-1")
    await stage.sandbox.pay("order-1", 100)
    return set()


async def _unknown_refund(stage: Stage) -> set[str]:
    """A refund was asked for, and no look showed how it ended."""
    await stage.start(worker=False)
    await stage.service.register("order-1")
    await stage.execute(
        "INSERT INTO refunds (imp_uid, merchant_uid, state, kinds, found_at, who, why, by_person, asked_at, ended_at,"
        " ticket, amount, currency, cancellations_before) VALUES ('imp_1', 'order-1', 'refund_unknown',"
        " '{wrong_amount}', now(), 'kim', 'a test', true, now(), now(), 1, 100, 'KRW', 0)"
    )
    return _NO_WORKER


PLANTS: Mapping[str, Plant] = {
    "NoticeOverdue": _overdue,
    "NoticesParked": _parked,
    "LedgerNotScanned": _ledger,
    "FeedHeldBack": _feed,
    "KeyRefused": _key,
    "PortOneDown": _portone,
    "RedisAway": _redis,
    "PostgresAway": _postgres,
    "NoReceiverAnswers": _receiver,
    "NoWorkerWorks": _no_worker,
    "NoticesRefused": _refused,
    "CallsTurnedAway": _turned_away,
    "WorkersBehind": _behind,
    "EndpointNotTold": _endpoint,
    "FaultOfOurs": _fault,
    "StrangersAtTheDoor": _strangers,
    "ProblemOnAnOrder": _problem,
    "RefundOfUnknownEnd": _unknown_refund,
}


@contextlib.asynccontextmanager
async def staged(settings: Settings, sandbox: RunningSandbox) -> AsyncIterator[Stage]:
    """Make a stage, and clear it at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield Stage(settings, sandbox, stack)
