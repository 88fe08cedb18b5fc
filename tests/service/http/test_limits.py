"""The rates of callers are limited, and only configured pages may call."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from aiohttp.test_utils import make_mocked_request

from service.db.pool import Pool
from service.http import client_address
from service.http.client_address import ClientAddresses
from service.rate_limits import Limiter
from service.redis.queue import connect
from service.redis.waiters import TooManyWaiters, Waiters
from service.settings import Settings
from tests.running import RunningService, running_receiver, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.conftest import Logged
from tests.service.http.refusals import is_problem

SHOP = "https://shop.example.test"
COMPLETION = "/payment/complete"
BODY = {"imp_uid": "imp_1", "merchant_uid": "order-1"}
AT_ONCE = {"Prefer": "wait=0"}


@pytest.mark.usefixtures("still_limits")
async def test_completions_beyond_a_clients_rate_do_not_wait(settings: Settings, pool: Pool) -> None:
    """Many buyers share a carrier's address: each notice is kept, and calls beyond the rate are answered at once."""
    limited = settings.model_copy(update={"completions_per_client": 2.0, "completion_wait_seconds": 3.0})
    async with running_receiver(limited) as receiver:
        began = time.monotonic()
        bodies = [{"imp_uid": f"imp_{number}", "merchant_uid": f"order-{number}"} for number in range(25)]
        calls = [asyncio.create_task(receiver.call("POST", COMPLETION, json=body)) for body in bodies]
        done, waiting = await asyncio.wait(calls, timeout=2)
        assert (len(done), len(waiting)) == (23, 2)
        answers = await asyncio.gather(*calls)
        assert time.monotonic() - began >= 3
    assert {status for status, _ in answers} == {202}
    assert await stored.count(pool, "notices") == 25


@pytest.mark.usefixtures("still_limits")
async def test_calls_beyond_the_rate_of_all_such_clients_are_shed(settings: Settings, pool: Pool) -> None:
    """A flood is answered 429 and stores nothing, and a client within its own rate is served beside it."""
    limited = settings.model_copy(
        update={"completions_per_client": 1.0, "completions_per_second": 2.0, "trusted_proxies": ("127.0.0.0/8",)}
    )
    flood, buyer = {"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "198.51.100.9"}
    async with running_receiver(limited) as receiver:
        answers = [await receiver.call("POST", COMPLETION, json=BODY, headers=AT_ONCE | flood) for _ in range(10)]
        assert [status for status, _ in answers] == [202] * 3 + [429] * 7
        for status, body in answers[3:]:
            is_problem(status, body, 429)
        assert (await receiver.call("POST", COMPLETION, json=BODY, headers=AT_ONCE | buyer))[0] == 202
    [row] = await stored.notices(pool, "imp_1")
    assert row["arrivals"] == 4


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


def _client(proxies: list[str], peer: str, forwarded: str | None) -> str:
    headers = {"X-Forwarded-For": forwarded} if forwarded is not None else {}
    return ClientAddresses(proxies).client_address(make_mocked_request("POST", "/", headers=headers).clone(remote=peer))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "52.78.5.241, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "52.78.5.241, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("198.51.100.9", "52.78.5.241", "198.51.100.9"),
        # With ports, in brackets, and IPv4 in IPv6 form: the client's and the proxies' own.
        ("10.0.0.1", "203.0.113.7:50123", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7:50124, 10.0.0.2:443", "203.0.113.7"),
        ("10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, ::ffff:10.0.0.5", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, [::ffff:10.0.0.5]:443", "203.0.113.7"),
        ("10.0.0.1", '"[2001:db8:1:2::7]:50123"', "2001:db8:1:2::"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::ffff:198.51.100.9", "203.0.113.7", "198.51.100.9"),
        # What is no address is the proxy's own: nobody makes himself many clients by it.
        ("10.0.0.1", "no address, , ", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7, unknown, 10.0.0.2", "10.0.0.2"),
        # An IPv6 client counts by its /64.
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::"),
        ("fe80::1%eth0", None, "fe80::"),
    ],
)
def test_whose_address_counts(peer: str, forwarded: str | None, client: str) -> None:
    """The client is the rightmost forwarded address that no trusted proxy has, and only such proxies are believed."""
    assert _client(["10.0.0.0/8"], peer, forwarded) == client
    assert _client(["::ffff:10.0.0.0/104"], peer, forwarded) == client


def test_a_client_without_proxies_counts_by_its_own_address() -> None:
    """IPv6 counts by the /64, and a forwarded address is not believed."""
    assert _client([], "203.0.113.7", "198.51.100.9") == "203.0.113.7"
    assert _client([], "2001:db8:1:2:3:4:5:6", None) == _client([], "2001:db8:1:2:ffff::1", None) == "2001:db8:1:2::"


def test_a_proxy_that_nobody_named_is_warned_of_once(logged: Callable[[ModuleType], Logged]) -> None:
    """An empty TRUSTED_PROXIES behind a proxy makes all buyers one client, so the log names the setting."""
    log, clients = logged(client_address), ClientAddresses([])
    for peer, headers in (
        ("52.78.5.241", {"X-Forwarded-For": "198.51.100.9"}),  # a stranger's own word
        ("10.0.0.1", {}),
    ):
        clients.client_address(make_mocked_request("POST", "/", headers=headers).clone(remote=peer))
    assert log.lines == []
    for _ in range(3):
        request = make_mocked_request("POST", "/", headers={"X-Forwarded-For": "198.51.100.9"})
        assert clients.client_address(request.clone(remote="10.0.0.1")) == "10.0.0.1"
    [warning] = log.of("proxy.not_trusted")
    assert "TRUSTED_PROXIES" in warning["advice"]


async def test_waiting_is_bounded_in_all_by_client_and_by_order(redis_url: str) -> None:
    """Calls that wait are a quarter of all for one client, and 16 for one payment or order."""
    waiters = Waiters(connect(redis_url), 80)
    with contextlib.ExitStack() as stack:
        for number in range(16):
            stack.enter_context(waiters.waiting_for("imp_1", f"client-{number}"))
        with pytest.raises(TooManyWaiters), waiters.waiting_for("imp_1", "client-17"):
            pass
        for number in range(20):
            stack.enter_context(waiters.waiting_for(f"imp_a{number}", "crowd"))
        with pytest.raises(TooManyWaiters), waiters.waiting_for("imp_2", "crowd"):
            pass
        for number in range(80 - 16 - 20):
            stack.enter_context(waiters.waiting_for(f"imp_b{number}", f"client-b{number}"))
        with pytest.raises(TooManyWaiters), waiters.waiting_for("imp_2", "client-c"):
            pass
    with waiters.waiting_for("imp_1", "crowd"):
        pass


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


def test_a_rate_below_one_lets_the_first_call_pass() -> None:
    """A client of a slow limiter has one call at once, and then waits for the next."""
    limiter = Limiter(0.5, clock=lambda: 100.0)
    assert [limiter.wait_seconds("a") for _ in range(2)] == [0.0, pytest.approx(2.0)]
