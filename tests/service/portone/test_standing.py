"""A refused key is a fault with a name of its own: in the log, in the process's report and in the promise."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from service.db import processes
from service.db.pool import Pool, in_transaction
from service.errors import PortOneRefused, PortOneUnavailable, UnreadableAnswer
from service.portone.standing import Standing
from service.settings import Settings
from tests.running import bearer, running_receiver, running_worker, until


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standing(clock: Clock) -> Standing:
    return Standing("shop-b", clock)


async def raising(error: Exception) -> None:
    raise error


async def answer() -> str:
    return "answer"


async def refuse(standing: Standing, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(PortOneRefused):
            await standing.note(raising(PortOneRefused()))


async def test_a_refused_key_is_logged_once_a_minute(standing: Standing, clock: Clock) -> None:
    """A minute of refused calls has one line in the log, which names the account and its setting."""
    with capture_logs() as logs:
        await refuse(standing, times=100)
        clock.now = 59.0
        await refuse(standing)
        assert len(logs) == 1
        clock.now = 61.0
        await refuse(standing, times=100)
    assert [line["event"] for line in logs] == ["portone.key_refused"] * 2
    assert (logs[0]["account"], logs[0]["log_level"]) == ("shop-b", "error")
    assert logs[0]["advice"] == "correct shop-b in PORTONE_ACCOUNTS, and restart the workers"
    assert logs[0]["since"] == logs[1]["since"]


async def test_an_answer_ends_the_fault(standing: Standing) -> None:
    """The first answer is logged once, and the next refusal has a line of its own at once."""
    with capture_logs() as logs:
        await refuse(standing)
        assert await standing.note(answer()) == "answer"
        await standing.note(answer())
        assert standing.refused_at is None
        await refuse(standing)
    assert [line["event"] for line in logs] == [
        "portone.key_refused",
        "portone.key_accepted",
        "portone.key_refused",
    ]


@pytest.mark.parametrize("error", [PortOneUnavailable("HTTP 503"), UnreadableAnswer("HTML")])
async def test_a_portone_that_is_down_says_nothing_of_the_key(standing: Standing, error: Exception) -> None:
    """A failure of another kind neither begins nor ends the fault."""
    with pytest.raises(type(error)):
        await standing.note(raising(error))
    assert standing.refused_at is None
    await refuse(standing)
    with pytest.raises(type(error)):
        await standing.note(raising(error))
    assert standing.refused_at is not None


async def test_a_call_without_an_answer_begins_an_absence_that_any_answer_ends(standing: Standing) -> None:
    """PortOne is away since the first call that it did not answer, until it answers or refuses."""
    for end in (standing.note(answer()), refuse(standing)):
        with pytest.raises(PortOneUnavailable):
            await standing.note(raising(PortOneUnavailable("HTTP 503")))
        since = standing.away_at
        assert since is not None
        with pytest.raises(PortOneUnavailable):
            await standing.note(raising(PortOneUnavailable("HTTP 503")))
        assert standing.away_at == since
        await end
        assert standing.away_at is None


@pytest.fixture
async def wrong_secret(settings: Settings) -> AsyncIterator[Settings]:
    async with running_worker(settings.model_copy(update={"portone_imp_secret": SecretStr("wrong")})):
        yield settings


async def test_a_wrong_secret_is_named_in_promise_and_metrics_within_seconds(
    wrong_secret: Settings, pool: Pool
) -> None:
    """A worker with a wrong secret breaks the promise and shows in the metrics before any notice has come."""
    async with running_receiver(wrong_secret) as receiver:

        async def is_broken() -> bool:
            status, body = await receiver.call("GET", "/healthz/promise", headers=bearer())
            return status == 503 and body["broken"] == ["PortOne refuses 1 of our keys"]

        await until(is_broken, seconds=10)
        _, metrics = await receiver.call("GET", "/metrics", headers=bearer())
    assert "promise_keys_refused 1.0" in metrics
    workers = [one for one in await in_transaction(pool, processes.read) if one.kind == "worker"]
    assert [list(worker.refused_accounts) for worker in workers] == [["default"]]
