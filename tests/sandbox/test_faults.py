import asyncio
import time

import aiohttp
import pytest

from tests.sandbox.conftest import Caller, Clock, Shop

CUT_OFF = (aiohttp.ClientError, ConnectionError)


@pytest.mark.parametrize("kind", ["401", "429", "500", "503"])
async def test_an_error_is_answered_for_as_many_calls_as_asked(portone: Caller, kind: str) -> None:
    """The next N calls fail in an envelope, the one after is right again."""
    imp_uid = await portone.pay()
    await portone.control("faults", api_answer=kind, api_times=2)
    answers = [await portone.v1(f"/payments/{imp_uid}") for _ in range(3)]
    assert [answer.status for answer in answers] == [int(kind), int(kind), 200]
    assert answers[0].code == -1


@pytest.mark.parametrize(
    ("kind", "status", "body"), [("502", 502, "<html>"), ("garbage", 200, '{"code": 0'), ("wrong_shape", 200, "paid")]
)
async def test_a_body_can_be_no_envelope(portone: Caller, kind: str, status: int, body: str) -> None:
    """HTML, broken JSON and JSON of another shape come with the status that fits them."""
    await portone.control("faults", api_answer=kind)
    async with portone.session.get(f"{portone.url}/payments/imp_1", headers=portone.headers) as answer:
        assert answer.status == status
        assert body in await answer.text()


async def test_half_a_body_ends_in_a_cut_connection(portone: Caller) -> None:
    """The length is promised and half of it comes."""
    imp_uid = await portone.pay()
    await portone.control("faults", api_answer="half_body")
    with pytest.raises(aiohttp.ClientPayloadError):
        await portone.v1(f"/payments/{imp_uid}")


async def test_a_reset_connection_answers_nothing(portone: Caller) -> None:
    """The caller sees its connection end, on one path if only that is named."""
    imp_uid = await portone.pay()
    await portone.control("faults", api_answer="reset", api_path="/payments/imp_")
    with pytest.raises(CUT_OFF):
        await portone.v1(f"/payments/{imp_uid}")
    assert (await portone.v1("/payments/find/order-1")).status == 200


async def test_a_call_hangs_until_the_switches_are_cleared(portone: Caller) -> None:
    """No answer comes and nothing is done; clearing cuts the connection and the next call is right."""
    imp_uid = await portone.pay()
    await portone.control("faults", api_answer="hang")
    # A POST: aiohttp's client repeats a GET whose connection ended, by itself and once.
    hung = asyncio.create_task(portone.cancel(imp_uid=imp_uid))
    while (await portone.control("calls", method="GET")).content["in_flight"] == 0:
        assert not hung.done()
    await portone.control("faults", method="DELETE")
    with pytest.raises(CUT_OFF):
        await hung
    assert (await portone.v1(f"/payments/{imp_uid}")).response["status"] == "paid"


async def test_a_refund_can_happen_and_its_answer_be_lost(portone: Caller) -> None:
    """With api_when=after the call does its work before it fails."""
    imp_uid = await portone.pay()
    await portone.control("faults", api_answer="500", api_when="after", api_times=1)
    assert (await portone.cancel(imp_uid=imp_uid)).status == 500
    assert (await portone.v1(f"/payments/{imp_uid}")).response["status"] == "cancelled"


async def test_chance_is_repeatable(portone: Caller) -> None:
    """The same seed fails the same calls, and about as many as the probability says."""
    imp_uid = await portone.pay()

    async def statuses() -> list[int]:
        await portone.control("faults", api_answer="500", api_probability=0.5, seed=7)
        return [(await portone.v1(f"/payments/{imp_uid}")).status for _ in range(40)]

    first = await statuses()
    assert 8 < first.count(500) < 32
    assert await statuses() == first


async def test_latency_is_waited_out(portone: Caller) -> None:
    """An answer takes at least as long as the switch says."""
    await portone.control("faults", latency_seconds=0.05)
    started = time.monotonic()
    await portone.v1("/payments/imp_1")
    assert time.monotonic() - started >= 0.05


async def test_stale_reads_answer_the_past(portone: Caller, clock: Clock) -> None:
    """Reads show the state of S seconds ago, 404 when there was none; the control API shows the truth."""
    imp_uid = await portone.open()
    clock.now += 10
    await portone.control(f"payments/{imp_uid}/pay")
    await portone.control("faults", stale_seconds=5)
    assert (await portone.v1(f"/payments/{imp_uid}")).response["status"] == "ready"
    assert (await portone.v1("/payments/find/order-1")).response["status"] == "ready"
    truth = await portone.control("payments?merchant_uid=order-1", method="GET")
    assert [payment["status"] for payment in truth.content["payments"]] == ["paid"]
    await portone.control("faults", stale_seconds=15)
    assert (await portone.v1(f"/payments/{imp_uid}")).status == 404


async def test_payments_can_be_hidden_and_lose_their_sandbox_field(portone: Caller) -> None:
    """Hidden ones are 404 and absent from batches; the switch takes `sandbox` out of every answer."""
    first, second = await portone.pay("order-1"), await portone.pay("order-2")
    await portone.control("faults", hide_payments=[first], omit_sandbox=True)
    assert (await portone.v1(f"/payments/{first}")).status == 404
    batch = await portone.v1(f"/payments?imp_uid[]={first}&imp_uid[]={second}")
    assert (batch.status, ["sandbox" in payment for payment in batch.response]) == (207, [False])
    await portone.control("faults", hide_payments=True)
    assert (await portone.v1(f"/payments/{second}")).status == 404


async def test_switches_are_set_together_and_one_by_one(portone: Caller, shop: Shop) -> None:
    """A switch that a request does not name stays as it was; null is off, and DELETE switches all off."""
    off = (await portone.control("faults", method="GET")).content
    await portone.control("faults", api_answer="500", api_times=3, webhook_drop=True)
    changed = await portone.control("faults", api_answer=None, api_times=None, latency_seconds=0.5)
    assert changed.content == off | {"webhook_drop": True, "latency_seconds": 0.5}
    assert (await portone.control("faults", method="DELETE")).content == off
