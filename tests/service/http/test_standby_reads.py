"""Reads that a standby may answer say how old they are, and everything else is answered by the primary."""

import re
from typing import Any

import pytest
from pydantic import SecretStr

from service.db.pool import Pool
from service.settings import Settings
from tests.conftest import Stores
from tests.running import RunningService, bearer, running_receiver, until


class Reader:
    """Reads with a key, and keeps the age that an answer says."""

    def __init__(self, receiver: RunningService) -> None:
        self._receiver = receiver

    async def age(self, path: str, cache_control: str = "", **headers: str) -> str | None:
        """Return the answer's `Age`, None if it is as of now."""
        headers |= {"Cache-Control": cache_control} if cache_control else {}
        url = self._receiver.url + path
        async with self._receiver.session.get(url, headers=bearer() | headers) as answer:
            assert answer.status == 200, await answer.text()
            return answer.headers.get("Age")

    async def has_age(self, path: str = "/orders") -> bool:
        return await self.age(path) is not None


def _with_standby(settings: Settings, url: str, **more: Any) -> Settings:
    return settings.model_copy(update={"read_database_url": SecretStr(url), **more})


async def test_what_a_standby_may_answer_has_an_age(settings: Settings) -> None:
    """Walks and histories have an Age, and so has an order for who asks for no more. All else is as of now."""
    with_standby = _with_standby(settings, settings.database_url.get_secret_value())
    async with running_receiver(with_standby) as receiver:
        await receiver.register("order-1")
        reader = Reader(receiver)
        await until(reader.has_age)  # the receiver's first report must be there
        for path in ("/orders", "/orders?state=pending", "/orders/order-1/history"):
            assert re.fullmatch("[0-5]", await reader.age(path) or ""), path
            assert await reader.age(path, "no-cache") is None, path
        for path in ("/orders?updated_since=2026-01-01T00:00:00Z", "/orders?merchant_uid=order-1", "/orders/order-1"):
            assert await reader.age(path) is None, path
        assert re.fullmatch("[0-5]", await reader.age("/orders/order-1", "max-age=60") or "")
        assert await reader.age("/orders/order-1", "max-age=0") is None
        assert await reader.age("/orders/order-1", "max-age=60", **{"If-None-Match": '"7"'}) is None
        assert (await receiver.call("GET", "/orders/nothing", headers=bearer()))[0] == 404


async def test_an_order_that_the_standby_lacks_may_be_new(settings: Settings, database_url: str, pool: Pool) -> None:
    """An order that a recent standby does not have is read from the primary."""
    await pool.execute("CREATE SCHEMA lagging")
    await pool.execute("CREATE TABLE lagging.orders (LIKE public.orders INCLUDING ALL)")
    # Past a pooler, if there is one: PgBouncer takes no search_path from a client.
    url = f"{database_url}?search_path=lagging,public"
    async with running_receiver(_with_standby(settings, url)) as receiver:
        await receiver.register("order-1")
        reader = Reader(receiver)
        await until(lambda: reader.has_age("/orders/order-1/history"))
        assert await reader.age("/orders/order-1", "max-age=60") is None


@pytest.mark.parametrize("standby", ["behind", "away"])
async def test_without_a_recent_standby_the_primary_answers(settings: Settings, stores: Stores, standby: str) -> None:
    """A standby that has none of the receiver's reports, or does not answer, is left alone."""
    # The template of the tests' databases: it has our tables, and nobody reports there.
    urls = {"behind": stores.postgres.url(), "away": "postgresql://nobody@127.0.0.1:1/nothing"}
    async with running_receiver(_with_standby(settings, urls[standby])) as receiver:
        await receiver.register("order-1")
        reader = Reader(receiver)
        for path in ("/orders/order-1", "/orders", "/orders/order-1/history"):
            assert await reader.age(path, "max-age=60") is None, path
