"""Receiver and worker have their metrics on ports of their own."""

import asyncio
import re

import pytest
from aiohttp import ClientSession

from service.db import promise
from service.settings import Settings
from tests.ports import own_port
from tests.running import patient_worker, running_receiver
from tests.sandbox_client import RunningSandbox


async def scrape(port: int) -> str:
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return await answer.text()


def value(page: str, sample: str) -> float:
    """Return a sample's value; 0 if there is none."""
    found = re.search(rf"^portone_orders_{re.escape(sample)} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_both_show_the_life_of_a_payment(settings: Settings, sandbox: RunningSandbox) -> None:
    """A payment shows in the receiver's metrics and in the worker's, each on its own port and without a key."""
    ports = own_port(), own_port()
    of_receiver, of_worker = (settings.model_copy(update={"metrics_port": port}) for port in ports)
    async with running_receiver(of_receiver) as service, patient_worker(of_worker):
        sandbox.send_webhooks_to(f"{service.url}/webhooks/portone/v1")
        await service.register("order-1")
        await sandbox.pay("order-1", 64900, imp_uid="imp_1")
        await service.becomes("order-1", state="paid")
        await service.decided("imp_1", "order-1")
        receiver, worker = await asyncio.gather(*map(scrape, ports))
    assert value(receiver, "notices_accepted_total") >= 2
    assert value(receiver, "completion_answer_seconds_count") >= 1
    assert value(receiver, 'pool_wait_seconds_count{pool="intake"}') >= 1
    assert value(receiver, 'database_ready{database="redis"}') == 1
    assert value(receiver, 'processes{condition="works",kind="receiver"}') == 1
    assert value(worker, 'notice_looks_total{fate="handled",outcome="looked"}') >= 1
    assert value(worker, "notice_commit_seconds_count") >= 1
    assert value(worker, 'portone_call_seconds_count{account="default",result="answered"}') >= 1
    assert value(worker, 'work_batches_total{work="verification"}') >= 1
    assert value(worker, "process_resident_memory_bytes") == 0  # its name has no prefix of ours


async def test_reading_often_asks_the_databases_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All who read the metrics at the same time, or within seconds, share one measure."""
    measures = 0
    measure = promise.measure

    async def counted(*args: object, **named: object) -> object:
        nonlocal measures
        measures += 1
        return await measure(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(promise, "measure", counted)
    port = own_port()
    async with running_receiver(settings.model_copy(update={"metrics_port": port})):
        await asyncio.gather(*(scrape(port) for _ in range(20)))
        await scrape(port)
    assert measures == 1


async def test_a_taken_port_keeps_nobody_from_working(settings: Settings) -> None:
    """A receiver whose METRICS_PORT is taken accepts all the same, and the first one's metrics stay."""
    shared = settings.model_copy(update={"metrics_port": own_port()})
    async with running_receiver(shared), running_receiver(shared) as second:
        assert (await second.call("POST", "/webhooks/portone/v1", json={"imp_uid": "imp_1"}))[0] == 200
        page = await scrape(shared.metrics_port)
    assert value(page, "notices_accepted_total") == 0
