"""The rates of callers are limited, and only configured pages may call."""

import asyncio
import time
from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request

from service.db.pool import Pool
from service.http.client_address import client_address
from service.rate_limits import Limiter
from service.settings import Settings
from tests.running import RunningService, running_receiver, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.http.refusals import is_problem

SHOP = "https://shop.example.test"
COMPLETION = "/payment/complete"
BODY = {"imp_uid": "imp_1", "merchant_uid": "order-1"}
AT_ONCE = {"Prefer": "wait=0"}


@pytest.mark.usefixtures("still_limits")
async def test_completions_beyond_the_rate_are_refused(settings: Settings, pool: Pool) -> None:
    """Completion calls of a client above its rate are answered 429 and store nothing."""
    limited = settings.model_copy(update={"completions_per_client": 2.0})
    async with running_receiver(limited) as receiver:
        calls = (receiver.call("POST", COMPLETION, json=BODY, headers=AT_ONCE) for _ in range(10))
        answers = await asyncio.gather(*calls)
    refused = [(status, body) for status, body in answers if status != 202]
    assert len(refused) == 8
    for status, body in refused:
        is_problem(status, body, 429)
    [row] = await stored.notices(pool, "imp_1")
    assert 1 <= row["arrivals"] <= 2  # two in one batch arrive once


@pytest.mark.usefixtures("still_limits")
async def test_the_rate_of_all_clients_together(settings: Settings) -> None:
    """Calls of all clients together are limited by the common rate."""
    limited = settings.model_copy(update={"completions_per_second": 1.0})
    async with running_receiver(limited) as receiver:
        first, second = [await receiver.call("POST", COMPLETION, json=BODY, headers=AT_ONCE) for _ in range(2)]
    assert (first[0], second[0]) == (202, 429)


async def test_webhooks_beyond_the_rate_are_slowed_not_refused(settings: Settings, pool: Pool) -> None:
    """Webhooks above the rate wait, and all are answered 200, because PortOne sends each once."""
    limited = settings.model_copy(update={"webhooks_per_client": 20.0})
    async with running_receiver(limited) as receiver:
        began = time.monotonic()
        bodies = ({"imp_uid": f"imp_{number}", "status": "paid"} for number in range(30))
        answers = await asyncio.gather(*(receiver.call("POST", "/webhooks/portone/v1", json=body) for body in bodies))
    assert {status for status, _ in answers} == {200}
    assert time.monotonic() - began >= 0.4  # 20 at once, then 20 a second
    assert await stored.count(pool, "notices") == 30


def test_a_limiter_forgets_and_fills() -> None:
    """A limiter's bucket holds one second of its rate, and fills at that rate."""
    now = 100.0
    limiter = Limiter(2.0, 1000.0, clock=lambda: now)
    assert [limiter.wait_seconds("a") for _ in range(3)] == [0.0, 0.0, pytest.approx(0.5)]
    assert limiter.wait_seconds("b") == 0.0
    now += 60.0
    assert [limiter.wait_seconds("a") for _ in range(3)] == [0.0, 0.0, pytest.approx(0.5)]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "52.78.5.241, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "52.78.5.241, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "no address, , ", "no address"),
        ("198.51.100.9", "52.78.5.241", "198.51.100.9"),
    ],
)
def test_whose_address_counts(peer: str, forwarded: str | None, client: str) -> None:
    """The client's address is the rightmost one in X-Forwarded-For that is not a trusted proxy's."""
    headers = {"X-Forwarded-For": forwarded} if forwarded is not None else {}
    request = make_mocked_request("POST", "/", headers=headers).clone(remote=peer)
    assert client_address(request, [ip_network("10.0.0.0/8")]) == client


async def test_cors_for_the_configured_origins_only(settings: Settings) -> None:
    """Only the shop's configured page may read answers, and only those of a completion call."""
    with_origin = settings.model_copy(update={"cors_origins": (SHOP,)})
    async with running_receiver(with_origin) as receiver:
        for method, path, origin, allowed in (
            ("OPTIONS", COMPLETION, SHOP, True),
            ("OPTIONS", COMPLETION, "https://evil.example.test", False),
            ("OPTIONS", COMPLETION, "null", False),
            ("POST", COMPLETION, SHOP, True),
            ("POST", COMPLETION, f"{SHOP}.evil.example.test", False),
            ("GET", "/orders/order-1", SHOP, False),
            ("POST", "/webhooks/portone/v1", SHOP, False),
        ):
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"} | AT_ONCE
            async with receiver.session.request(method, receiver.url + path, headers=headers) as answer:
                allowed_origin = answer.headers.get("Access-Control-Allow-Origin")
                assert allowed_origin == (origin if allowed else None), (method, path, origin)
                assert answer.headers.get("Access-Control-Allow-Credentials") is None


@pytest.mark.parametrize("encoding", ["json", "form"])
async def test_the_consoles_test_button(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, encoding: str
) -> None:
    """The console's test button is answered 200, and leaves one row and no payment or order."""
    sent = await sandbox.control("POST", "console-test", format=encoding)
    assert [delivery["answer_status"] for delivery in sent["deliveries"]] == [200]

    async def looked() -> bool:
        [row] = await stored.notices(pool, "imp_1234567890")
        return bool(row["last_outcome"] == "payment_unknown")

    await until(looked)
    assert (await stored.count(pool, "payments"), await stored.count(pool, "orders")) == (0, 0)


async def test_invented_payments_fill_no_table(receiver: RunningService, pool: Pool) -> None:
    """Notices of unregistered orders share one row for each payment, whatever their number."""
    for number in range(5):
        body = {"imp_uid": "imp_1", "merchant_uid": f"invented-{number}", "status": "paid"}
        assert (await receiver.call("POST", "/webhooks/portone/v1", json=body))[0] == 200
    [row] = await stored.notices(pool, "imp_1")
    assert (row["arrivals"], row["registered"], row["merchant_uid"]) == (5, False, "invented-4")
