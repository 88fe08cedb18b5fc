"""Traces: one for each notice, through receiver, queue, look, commit and delivery, also where they shared a batch."""

import asyncio
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service import tracing
from service.db import endpoints
from service.domain.signing import secret_of
from service.settings import Settings
from tests.receiving import Receiving, receiving
from tests.running import RunningService, patient_worker, running_receiver, until
from tests.sandbox_client import RunningSandbox
from tests.service.conftest import Logged

NOTICES = 100
STEPS = {"receive", "queue", "look", "commit", "deliver"}

Span = dict[str, Any]


def read(file: Path) -> list[Span]:
    """Return the spans of a file, those of a process that still writes included."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def by_trace(spans: list[Span]) -> dict[str, list[Span]]:
    traces = defaultdict(list)
    for span in spans:
        traces[span["trace_id"]].append(span)
    return traces


@pytest.fixture
def traced(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with which receiver and worker write their traces to a file."""
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    return settings.model_copy(update={"trace_file": tmp_path / "spans.jsonl", "endpoints_in_private_networks": True})


async def test_a_payment_has_one_trace_also_in_a_full_batch(traced: Settings, sandbox: RunningSandbox) -> None:
    """A hundred notices are looked at in one batch. Each has a trace of its own, from the webhook to the delivery."""
    assert traced.trace_file
    async with receiving() as told:
        await _add_endpoint(traced, told)
        async with running_receiver(traced) as service:
            await _pay(service, sandbox)
            async with patient_worker(traced):
                await until(lambda: _has_all(told))
    spans = read(traced.trace_file)
    payments = {trace_id: steps for trace_id, steps in by_trace(spans).items() if steps[0]["name"] != "batch"}
    assert len(payments) == NOTICES
    for trace_id, steps in payments.items():
        names = {span["name"]: span for span in steps}
        assert names.keys() == STEPS
        root = names["receive"]
        assert root["parent_id"] is None
        assert {span["parent_id"] for name, span in names.items() if name != "receive"} == {root["span_id"]}
        assert names["receive"]["service"] == "portone-orders-receiver"
        assert names["commit"]["service"] == "portone-orders-worker"
        assert names["look"]["attributes"]["imp_uid"] == root["attributes"]["imp_uid"]
        assert names["commit"]["attributes"]["merchant_uid"] == names["deliver"]["attributes"]["merchant_uid"]
        assert names["commit"]["attributes"]["order.state"] == "paid"
        moments = [names[name]["start_ns"] for name in ("receive", "look", "commit", "deliver")]
        assert moments == sorted(moments)
        assert UUID(trace_id).version == 7  # it is the notice's id
    batches = [span for span in spans if span["name"] == "batch"]
    assert max(len(batch["links"]) for batch in batches) > NOTICES // 2
    assert {link for batch in batches for link in batch["links"]} == payments.keys()
    assert {link for span in spans if span["name"] == "look" for link in span["links"]} == set(by_trace(batches))


async def test_an_outgoing_webhook_carries_its_trace(traced: Settings, sandbox: RunningSandbox) -> None:
    """An outgoing webhook has the header traceparent, by which the receiver's spans join the notice's trace."""
    assert traced.trace_file
    async with receiving() as told:
        await _add_endpoint(traced, told)
        async with running_receiver(traced) as service, patient_worker(traced):
            sandbox.send_webhooks_to(f"{service.url}/webhooks/portone/v1")
            await service.register("order-1")
            await sandbox.pay("order-1", 64900)
            await until(lambda: _is_paid(told))
    headers = {received.data["state"]: received.headers for received in told.received}
    assert "traceparent" not in headers["pending"]  # a registration has no notice
    _, trace_id, span_id, flags = headers["paid"]["traceparent"].split("-")
    [root] = [span for span in read(traced.trace_file) if span["name"] == "receive"]
    assert (trace_id, span_id, flags) == (root["trace_id"], root["span_id"], "01")


async def test_a_share_of_the_traces_is_kept_whole(
    traced: Settings, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a sampler of a half, about half of the traces are kept, and each of these whole."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    assert traced.trace_file
    async with running_receiver(traced) as service:
        await _pay(service, sandbox)
        async with patient_worker(traced):
            for number in range(NOTICES):
                await service.becomes(f"order-{number}", state="paid")
    payments = [steps for steps in by_trace(read(traced.trace_file)).values() if steps[0]["name"] != "batch"]
    assert NOTICES // 5 < len(payments) < NOTICES * 4 // 5
    assert all({span["name"] for span in steps} == STEPS - {"deliver"} for steps in payments)


async def test_a_collector_gets_the_traces(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_TRACES_EXPORTER=otlp a collector gets the spans of a process, the last ones as it ends."""
    requests: list[ExportTraceServiceRequest] = []

    async def collect(request: web.Request) -> web.Response:
        requests.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", collect)
    async with TestServer(app) as collector:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", str(collector.make_url("")).rstrip("/"))
        async with running_receiver(settings) as service:
            assert (await service.call("POST", "/webhooks/portone/v1", json={"imp_uid": "imp_1"}))[0] == 200
    spans = [
        span
        for request in requests
        for part in request.resource_spans
        for scope in part.scope_spans
        for span in scope.spans
    ]
    assert [span.name for span in spans] == ["receive"]
    assert UUID(bytes=spans[0].trace_id).version == 7


@pytest.mark.parametrize(
    ("exporter", "file", "advice"),
    [
        ("zipkin", None, "no package brings zipkin"),
        ("none", Path("/proc/nowhere/spans.jsonl"), "No such file"),
    ],
)
async def test_traces_that_cannot_be_had_stop_nothing(
    exporter: str,
    file: Path | None,
    advice: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[ModuleType], Logged],
) -> None:
    """A wrong exporter or file is an error in the log, and the service runs without traces."""
    lines = logged(tracing)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", exporter)
    async with running_receiver(settings.model_copy(update={"trace_file": file})) as service:
        assert (await service.call("POST", "/webhooks/portone/v1", json={"imp_uid": "imp_1"}))[0] == 200
    [line] = lines.of("traces.not_made")
    assert advice in line["advice"]


def test_nothing_is_imported_without_traces() -> None:
    """A receiver and a worker that trace nothing do not import OpenTelemetry."""
    program = (
        "import sys, service.http.app, workers.main; sys.exit(any('opentelemetry' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def _pay(service: RunningService, sandbox: RunningSandbox) -> None:
    """Pay a hundred orders. Their webhooks wait for a worker."""
    sandbox.send_webhooks_to(f"{service.url}/webhooks/portone/v1")
    names = [f"order-{number}" for number in range(NOTICES)]
    await asyncio.gather(*map(service.register, names))
    await asyncio.gather(*(sandbox.pay(name, 64900) for name in names))


async def _add_endpoint(settings: Settings, told: Receiving) -> None:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    await endpoints.add(connection, "warehouse", told.url, (), secret_of(b"k" * 24), oldest=False)
    await connection.close()


async def _has_all(told: Receiving) -> bool:
    paid = [received for received in told.accepted if received.data["state"] == "paid"]
    return len(paid) == NOTICES


async def _is_paid(told: Receiving) -> bool:
    return any(received.data["state"] == "paid" for received in told.accepted)
