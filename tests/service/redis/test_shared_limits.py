"""Receivers that share a client's rate let it have that rate once, and no request waits for Redis."""

import time
from collections.abc import AsyncIterator, Callable
from types import ModuleType

import pytest
from arq.connections import ArqRedis

from service.rate_limits import Limiter
from service.redis import shared_limits
from service.redis.queue import connect
from service.redis.shared_limits import CLIENTS_MAX, OVERDRAWN_SECONDS_MAX, SharedLimits
from service.settings import Settings
from tests.running import bearer, running_receiver, until
from tests.service.conftest import Logged

RATE = 100.0
CLIENT = "203.0.113.7"
KEY = f"portone-orders:limit:checkout:{CLIENT}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    client = connect(redis_url)
    yield client
    await client.aclose(close_connection_pool=True)


def receiver(redis: ArqRedis, rate: float = RATE) -> tuple[Limiter, SharedLimits]:
    """Return a receiver's limiter, whose own clock stands still, and what settles it."""
    limiter = Limiter(rate, clock=lambda: 100.0, shared=True)
    return limiter, SharedLimits(redis, {"checkout": limiter})


def take(limiter: Limiter, calls: int) -> int:
    """Make calls; return how many were allowed."""
    return sum(limiter.wait_seconds(CLIENT) == 0 for _ in range(calls))


async def test_what_one_receiver_allowed_another_does_not(redis: ArqRedis) -> None:
    """A client that has used up its rate at one receiver has only what came in since at another."""
    began = time.monotonic()
    (one, settling_one), (other, settling_other) = receiver(redis), receiver(redis)
    assert take(one, 150) == RATE
    await settling_one.settle()
    assert take(other, 10) == 10  # it does not know yet
    await settling_other.settle()
    seconds = time.monotonic() - began
    assert take(other, 150) <= RATE * seconds + 5  # the share that costs Redis nothing


async def test_an_overdrawn_bucket_is_paid_back_and_not_for_ever(redis: ArqRedis) -> None:
    """A client that many receivers let through at once is kept out for a bounded time."""
    for _ in range(20):
        limiter, settling = receiver(redis)
        take(limiter, 100)
        await settling.settle()
    wait = limiter.wait_seconds(CLIENT)
    assert 0 < wait <= OVERDRAWN_SECONDS_MAX + 0.02
    assert 0 < await redis.pttl(KEY) <= (OVERDRAWN_SECONDS_MAX + 1) * 1000 + 1


async def test_a_small_share_costs_redis_nothing(redis: ArqRedis) -> None:
    """A client within a twentieth of its rate leaves no key, and no script is sent."""
    limiter, settling = receiver(redis)
    take(limiter, 5)
    await settling.settle()
    assert (settling.rounds, await redis.keys("portone-orders:limit:*")) == (0, [])
    take(limiter, 1)
    await settling.settle()
    assert (settling.rounds, await redis.exists(KEY)) == (1, 1)


async def test_a_round_is_one_script_of_bounded_size(redis: ArqRedis) -> None:
    """Many clients are settled by one script for each round, a bounded number at a time, and none is forgotten."""
    limiter, settling = receiver(redis, 10.0)
    clients = {f"198.51.100.{number}" for number in range(CLIENTS_MAX + 50)}
    for client in clients:
        limiter.wait_seconds(client)
    await settling.settle()
    assert (settling.rounds, settling.settled) == (1, CLIENTS_MAX)
    await settling.settle()
    await settling.settle()
    assert (settling.rounds, settling.settled) == (2, CLIENTS_MAX + 50)


async def test_without_redis_each_receiver_counts_alone(logged: Callable[[ModuleType], Logged]) -> None:
    """While Redis is away a receiver goes on by its own buckets, says so once, and says when it shares again."""
    log = logged(shared_limits)
    nowhere = connect("redis://127.0.0.1:1/0")
    limiter, settling = receiver(nowhere)
    for _ in range(3):
        assert take(limiter, 20) == 20
        await settling.settle()
    assert take(limiter, 100) == 40
    assert [event for event, _ in log.lines] == ["limits.not_shared"]
    await nowhere.aclose(close_connection_pool=True)


def test_a_limiter_that_is_not_shared_owes_nothing() -> None:
    """Rates that protect one receiver are its own."""
    limiter = Limiter(RATE, clock=lambda: 100.0)
    take(limiter, 100)
    assert limiter.owing(10) == {}


async def test_receivers_settle_by_themselves(settings: Settings, redis: ArqRedis) -> None:
    """A running receiver tells Redis of a client soon after its calls."""
    async with running_receiver(settings.model_copy(update={"checkouts_per_client": 0.01})) as running:
        answers = [(await running.call("GET", "/checkout/order-1", headers=bearer("x")))[0] for _ in range(2)]
        assert answers == [401, 429]

        async def is_told() -> bool:
            return bool(await redis.exists("portone-orders:limit:checkout:127.0.0.1"))

        await until(is_told)
