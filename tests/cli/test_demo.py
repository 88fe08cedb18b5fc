"""`demo` lets buyers come to the sandbox, and counts what they did and what became of their orders."""

import asyncio
import json
from random import Random

import pytest

from cli.calls import Server
from cli.demo import Traffic, run_demo
from cli.demo_buyers import FAILURES, USUAL, Buyer, BuyerVisit, choose
from cli.errors import CommandFailed
from cli.sandbox_calls import Control
from service.db.pool import Pool
from service.settings import Settings
from tests.cli.conftest import Commands
from tests.running import bearer, patient_worker, running_receiver
from tests.sandbox_client import RunningSandbox


async def test_every_kind_of_buyer_reaches_the_end_of_their_order(settings: Settings, sandbox: RunningSandbox) -> None:
    """Each kind of buyer leaves an order in the state that such buyers lead to."""
    control = Control(Server(sandbox.url, "The sandbox", "start it", "SANDBOX_URL"))
    ends = {
        "pays_by_card": "paid",
        "pays_and_leaves": "paid",
        "changes_their_mind": "partially_cancelled",
        "is_declined": "paid",
        "pays_another_amount": "mismatched",
        "pays_twice": "paid",
        "gets_five_webhooks": "paid",
        "pays_by_deposit": "paid",
        "pays_too_early": "paid",
        "leaves_the_window": "pending",
        "invents_a_payment": "pending",
        "loses_the_webhook": "pending",
    }
    assert {buyer.__name__ for buyer in (*USUAL, *FAILURES)} == set(ends)

    async with running_receiver(settings) as receiver, patient_worker(settings):  # a lost webhook stays lost
        sandbox.send_webhooks_to(f"{receiver.url}/webhooks/portone/v1")
        service = Server(receiver.url, "The service", "start it", "BASE_URL", bearer())

        async def serve(buyer: Buyer) -> None:
            visit = BuyerVisit.new(service, control, "demo-")
            await buyer(visit)
            await receiver.becomes(visit.merchant_uid, state=ends[buyer.__name__])

        await asyncio.gather(*map(serve, (*USUAL, *FAILURES)))


async def test_a_demo_runs_for_its_time_and_tells(commands: Commands, pool: Pool) -> None:
    """Buyers come at the rate that was asked for, their orders change, and the end tells what happened."""
    answer = json.loads(await commands.run("demo", "--rate", "20", "--for", "1", "--failures", "0.5", "--json"))
    buyers = sum(answer["buyers"].values())
    assert buyers > 0
    assert answer["failed"] == {}
    assert answer["changes"]["order.registered"] >= 1
    assert await pool.fetchval("SELECT count(*) FROM orders WHERE merchant_uid LIKE 'demo-%'") == buyers + 1


async def test_a_service_that_does_not_see_the_sandbox_gets_no_traffic(
    settings: Settings, sandbox: RunningSandbox, pool: Pool
) -> None:
    """If the first order is not seen to be paid, nobody else comes, and a sentence says what to start."""
    control = Control(Server(sandbox.url, "The sandbox", "start it", "SANDBOX_URL"))
    async with running_receiver(settings) as receiver:  # nobody asks PortOne
        service = Server(receiver.url, "The service", "start it", "BASE_URL", bearer())
        with pytest.raises(CommandFailed, match="does not see what is paid at the sandbox at"):
            await run_demo(service, control, Traffic(), rate=1, seconds=1, failures=0, patience_seconds=0)
    assert await pool.fetchval("SELECT count(*) FROM orders") == 1


def test_failures_come_as_often_as_was_asked_for() -> None:
    """The share of failures is kept, and every kind of buyer comes."""
    rng = Random(1)
    chosen = [choose(0.2, rng) for _ in range(5_000)]
    share = sum(buyer in FAILURES for buyer in chosen) / len(chosen)
    assert 0.17 < share < 0.23
    assert set(chosen) == {*USUAL, *FAILURES}
    assert not {choose(0.0, rng) for _ in range(500)} & set(FAILURES)
