"""With PREPARE_AMOUNT PortOne knows an order's amount before its window opens (docs/portone.md §1, prepare)."""

from datetime import timedelta
from typing import Any

import pytest

from service.db.pool import Pool
from service.domain.payment import ACCOUNT
from service.domain.timetable import Timetable
from service.portone.client import PortOne
from service.redis.budget import Budget
from service.redis.queue import connect
from service.settings import Settings
from service.usecases.preparation import Preparing, prepare_due
from tests.running import RunningService, bearer
from tests.sandbox_client import RunningSandbox

POST, PUT, GET = (f"{method} /payments/prepare" for method in ("POST", "PUT", "GET"))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"prepare_amount": True, "portone_tiers": ("abc",)})


@pytest.fixture
async def preparing(settings: Settings, pool: Pool) -> Any:
    redis = connect(settings.redis_url.get_secret_value())
    portone = PortOne(
        settings.portone_api_url, settings.portone_imp_key, settings.portone_imp_secret.get_secret_value()
    )
    yield Preparing(
        pool, {ACCOUNT: portone}, Budget(redis, 1000), Timetable(backoff_first=timedelta(), backoff_last=timedelta())
    )
    await portone.close()
    await redis.aclose(close_connection_pool=True)


async def _amend(receiver: RunningService, version: int, **changes: Any) -> Any:
    headers = bearer() | {"If-Match": f'"{version}"'}
    status, order = await receiver.call("PATCH", "/orders/order-1", json=changes, headers=headers)
    assert status == 200, order
    return order


async def _calls(sandbox: RunningSandbox) -> list[int]:
    """Return how often POST, PUT and GET were called."""
    calls = (await sandbox.calls())["by_template"]
    return [calls.get(POST, 0), calls.get(PUT, 0), calls.get(f"{GET}/{{merchant_uid}}", 0)]


async def _prepared(preparing: Preparing, tier: str = "") -> Any:
    return await preparing.accounts[ACCOUNT].prepared("order-1", tier)


async def _row(pool: Pool) -> tuple[Any, ...]:
    row = await pool.fetchrow("SELECT outcome, revision, known, tries, due_at IS NULL FROM preparations")
    assert row is not None
    return tuple(row)


@pytest.mark.parametrize(
    ("amount", "currency", "major"), [(64900, "KRW", 64900), (605, "USD", 6.05), (100, "JPY", 100)]
)
async def test_an_amount_is_prepared_in_the_background(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing, amount: int, currency: str, major: float
) -> None:
    """A registered amount is prepared exactly by a worker, not by the registration, and the order shows it."""
    order = await receiver.register("order-1", amount, currency=currency)
    assert (order["prepared"], await _calls(sandbox)) == ("pending", [0, 0, 0])
    assert await prepare_due(preparing, 10) == 1
    assert await _prepared(preparing) == {"merchant_uid": "order-1", "amount": major}
    assert (await receiver.read("order-1"))["prepared"] == "done"
    assert (await receiver.read("order-1"))["version"] == 1
    assert await prepare_due(preparing, 10) == 0
    assert await _row(preparing.pool) == ("done", 1, True, 1, True)


async def test_an_amended_amount_is_changed_with_put(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """A new amount after the first is sent as a change, and a new name is not sent."""
    await receiver.register("order-1", 64900)
    await prepare_due(preparing, 10)
    assert (await _amend(receiver, 1, name="A book"))["prepared"] == "done"
    assert (await _amend(receiver, 2, amount=50000))["prepared"] == "pending"
    assert await prepare_due(preparing, 10) == 1
    assert (await _prepared(preparing))["amount"] == 50000
    assert (await _calls(sandbox))[:2] == [1, 1]


async def test_what_is_registered_already_is_read_back(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """If PortOne has the same amount already, as after a worker's death, the preparation is done."""
    await receiver.register("order-1", 64900)
    await preparing.accounts[ACCOUNT].prepare({"merchant_uid": "order-1", "amount": "64900"}, "")
    assert await prepare_due(preparing, 10) == 1
    assert await _calls(sandbox) == [2, 0, 1]
    assert (await receiver.read("order-1"))["prepared"] == "done"


async def test_another_amount_that_is_registered_already_is_changed(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """If PortOne has another amount, it is changed to the order's."""
    await receiver.register("order-1", 64900)
    await preparing.accounts[ACCOUNT].prepare({"merchant_uid": "order-1", "amount": "100"}, "")
    assert await prepare_due(preparing, 10) == 1
    assert (await _prepared(preparing))["amount"] == 64900
    assert await _calls(sandbox) == [2, 1, 2]


async def test_what_portone_forgot_is_registered_again(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """If a change is answered 404, the amount is registered again."""
    await receiver.register("order-1", 64900)
    await preparing.pool.execute("UPDATE preparations SET known = true")
    assert await prepare_due(preparing, 10) == 1
    assert await _calls(sandbox) == [1, 1, 0]
    assert (await receiver.read("order-1"))["prepared"] == "done"


@pytest.mark.parametrize("answer", ["401", "429", "500", "half_body", "garbage", "reset"])
async def test_a_failure_to_ask_is_tried_again(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing, answer: str
) -> None:
    """After a failure to ask the amount stays pending until PortOne answers."""
    await receiver.register("order-1", 64900)
    await sandbox.faults(api_answer=answer, api_when="after", api_path="/prepare")
    assert await prepare_due(preparing, 10) == 1
    assert (await receiver.read("order-1"))["prepared"] == "pending"
    await sandbox.faults()
    assert await prepare_due(preparing, 10) == 1
    assert (await receiver.read("order-1"))["prepared"] == "done"
    assert (await _prepared(preparing))["amount"] == 64900


async def test_who_is_never_answered_gives_up(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """After the last try the order shows the failure, and amending its amount tries again."""
    await receiver.register("order-1", 64900)
    await preparing.pool.execute("UPDATE preparations SET tries = 35")
    await sandbox.faults(api_answer="500")
    await prepare_due(preparing, 10)
    prepared = (await receiver.read("order-1"))["prepared"]
    assert prepared == "refused: PortOne could not be asked; amend the order to try again"
    assert (await _amend(receiver, 1, amount=1))["prepared"] == "pending"


async def test_a_refusal_is_shown_on_the_order(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """A refusal of PortOne's is shown on the order and not tried again automatically."""
    await receiver.register("order-1", 10**15)
    assert await prepare_due(preparing, 10) == 1
    prepared = (await receiver.read("order-1"))["prepared"]
    assert prepared.startswith("refused: ")
    assert "amount" in prepared
    assert await prepare_due(preparing, 10) == 0
    assert await _row(preparing.pool) == ("refused", 1, False, 1, True)


async def test_an_amendment_while_portone_is_asked_comes_after(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """A newer amount waits while an older one is being sent, so that it arrives last."""
    await receiver.register("order-1", 64900)

    class Amending(PortOne):
        """PortOne. While it is asked, the order is amended and another worker tries to prepare it."""

        taken = -1

        async def prepare(self, form: Any, tier: str) -> Any:
            await _amend(receiver, 1, amount=50000)
            type(self).taken = await prepare_due(preparing, 10)
            return await super().prepare(form, tier)

    portone = Amending(sandbox.url, sandbox.imp_key, sandbox.imp_secret)
    try:
        parts = Preparing(preparing.pool, {ACCOUNT: portone}, preparing.budget, preparing.times)
        assert await prepare_due(parts, 10) == 1
    finally:
        await portone.close()
    assert Amending.taken == 0
    assert (await receiver.read("order-1"))["prepared"] == "pending"
    assert await prepare_due(preparing, 10) == 1
    assert (await _prepared(preparing))["amount"] == 50000
    assert await _row(preparing.pool) == ("done", 2, True, 1, True)


async def test_what_a_dead_worker_held_is_taken_up_again(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """After a dead worker's claim has ended, the next worker prepares the amount."""
    await receiver.register("order-1", 64900)
    await preparing.pool.execute(
        "UPDATE preparations SET claimed_at = now() - interval '9 s', due_at = now() - interval '1 s', tries = 1"
    )
    assert await prepare_due(preparing, 10) == 1
    assert await _row(preparing.pool) == ("done", 1, True, 2, True)


async def test_each_tier_has_its_own_amount(
    receiver: RunningService, sandbox: RunningSandbox, preparing: Preparing
) -> None:
    """An order of a sub-store is prepared under its Tier header."""
    await receiver.register("order-1", 64900, tier="abc")
    await prepare_due(preparing, 10)
    assert (await _prepared(preparing, "abc"))["amount"] == 64900
    assert await _prepared(preparing) is None


class TestNotWanted:
    """Orders without PREPARE_AMOUNT."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"prepare_amount": False})

    async def test_nothing_is_prepared(self, receiver: RunningService, preparing: Preparing) -> None:
        """The order shows null, before and after an amendment."""
        order = await receiver.register("order-1")
        assert order["prepared"] is None
        assert (await _amend(receiver, 1, amount=1))["prepared"] is None
        assert await prepare_due(preparing, 10) == 0

    async def test_what_was_prepared_once_follows_its_order(
        self, receiver: RunningService, preparing: Preparing
    ) -> None:
        """A prepared amount still follows its order after the setting was switched off."""
        await receiver.register("order-1")
        await preparing.pool.execute("INSERT INTO preparations (merchant_uid) VALUES ('order-1')")
        await prepare_due(preparing, 10)
        assert (await _amend(receiver, 1, amount=1))["prepared"] == "pending"
