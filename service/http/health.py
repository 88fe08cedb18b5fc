"""The health addresses. `/healthz`: this process lives. `/readyz`: it can accept, for routing (docs/design.md §3).

`/healthz/promise` and `/metrics` measure the promise, for alerts and never for routing. They want a service key that
has the scope `metrics`, and no other.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from service.db.pool import in_transaction
from service.db.promise import measure
from service.http.endpoints import EndpointTable, HttpAnswer
from service.http.field_types import open_words
from service.http.metrics_port import page_response
from service.http.problem_types import POSTGRES_PROBLEMS
from service.http.problems import json_response
from service.http.receiver import RECEIVER, Receiver
from service.usecases.promise import broken_promises
from service.usecases.readiness import PostgresState

endpoints = EndpointTable("health")

Count = Annotated[int, Field(ge=0)]


class AliveAnswer(BaseModel):
    """The word that this process lives."""

    status: Literal["ok"]


class ReadinessAnswer(BaseModel):
    """The databases that can keep a notice."""

    postgres: str = open_words(tuple(PostgresState), "Whether Postgres can be used.")
    redis: str = open_words(("durable", "away or not durable"), "Whether Redis keeps what it accepts.")


class PromiseAnswer(BaseModel):
    """The measure of how well the promise is kept now. Ages are in seconds; null if there is nothing of the kind."""

    broken: list[str] = Field(description="One sentence for each limit that is passed.")
    overdue_seconds: float | None = Field(description="How long the longest starved notice has been due.")
    unregistered_overdue_seconds: float | None = Field(
        description="The same of notices that name no registered order. They may be invented, and raise no alarm."
    )
    open_notices: Count
    parked_notices: Count = Field(description="Without those that wait only for an order that nobody registered.")
    parked_unregistered: Count = Field(
        description="Those that wait only for an order that nobody registered. They raise no alarm."
    )
    open_problems: Count = Field(description="The open problems of registered orders, as `problems list` counts them.")
    unregistered_payments: Count = Field(
        description="Payments that hold money of orders that nobody registered, as far as the settings let it be ours."
    )
    ledger_lag_seconds: float | None = Field(description="Time since the last complete walk of PortOne's list.")
    keys_refused: Count = Field(description="Accounts whose key PortOne refuses to a worker.")
    feed_lag_seconds: float = Field(ge=0, description="How long the feed has held an event back.")


_KEPT: dict[str, Any] = {
    "broken": [],
    "overdue_seconds": None,
    "unregistered_overdue_seconds": None,
    "open_notices": 0,
    "parked_notices": 0,
    "parked_unregistered": 0,
    "open_problems": 0,
    "unregistered_payments": 0,
    "ledger_lag_seconds": 12.5,
    "keys_refused": 0,
    "feed_lag_seconds": 0.0,
}
_BROKEN = _KEPT | {
    "broken": ["a notice has been due for 75 s"],
    "overdue_seconds": 75.2,
    "open_notices": 410,
    "open_problems": 1,
}


@endpoints.add(
    "GET",
    "/healthz",
    "Whether this process lives",
    id="healthz",
    answers={200: HttpAnswer("It does.", AliveAnswer, {"ok": {"status": "ok"}})},
)
async def healthz(request: web.Request) -> web.Response:
    return json_response({"status": "ok"})


@endpoints.add(
    "GET",
    "/readyz",
    "Whether this receiver can accept a notice",
    "One database is enough to accept. Ask this for routing.",
    id="readyz",
    answers={
        200: HttpAnswer(
            "At least one database can keep a notice.",
            ReadinessAnswer,
            {"both": {"postgres": "ok", "redis": "durable"}},
        ),
        503: HttpAnswer(
            "Neither can.", ReadinessAnswer, {"none": {"postgres": "away", "redis": "away or not durable"}}
        ),
    },
)
async def readyz(request: web.Request) -> web.Response:
    """Answer 503 only when neither database can keep a notice."""
    ready = await request.app[RECEIVER].readiness.check()
    return json_response(
        {"postgres": ready.postgres_state, "redis": "durable" if ready.redis else "away or not durable"},
        status=200 if ready.postgres or ready.redis else 503,
    )


@endpoints.add(
    "GET",
    "/healthz/promise",
    "Whether notices are looked at in time",
    "For alerts, never for routing. The settings PROMISE_… are its limits.",
    id="readPromise",
    scope="metrics",
    answers={
        200: HttpAnswer("The promise is kept.", PromiseAnswer, {"kept": _KEPT}),
        503: HttpAnswer("A limit is passed.", PromiseAnswer, {"broken": _BROKEN}),
    },
    problems=POSTGRES_PROBLEMS,
)
async def promise(request: web.Request) -> web.Response:
    """Measure the promise. Answers 503, with the reasons, beyond the configured limits."""
    receiver = request.app[RECEIVER]
    measured = await in_transaction(receiver.pool, measure, receiver.settings.stores, receiver.settings.ours)
    feed_lag_seconds = await receiver.feed.lag_seconds()
    broken = broken_promises(measured, receiver.settings, feed_lag_seconds)
    content = {"broken": broken, **asdict(measured), "feed_lag_seconds": feed_lag_seconds}
    return json_response(content, status=503 if broken else 200)


@endpoints.add(
    "GET",
    "/metrics",
    "The same numbers, and this receiver's own, for Prometheus",
    "A receiver and a worker also have them on a port of their own, METRICS_PORT, without a key. What the databases are"
    " asked for is asked at most every 5 s.",
    id="readMetrics",
    scope="metrics",
    answers={
        200: HttpAnswer(
            "Prometheus' text format. The promise's numbers are NaN while Postgres is away.",
            str,
            media_type="text/plain",
        )
    },
)
async def metrics(request: web.Request) -> web.Response:
    return page_response(await metrics_page(request.app[RECEIVER]))


async def metrics_page(receiver: Receiver) -> bytes:
    """Return the page of this receiver's metrics."""
    await receiver.meter.refresh()
    return receiver.metrics.text()
