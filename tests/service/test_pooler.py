"""Poolers that lose our settings are named, and never taken for a Postgres that is away (docs/pooler.md)."""

import re
from collections.abc import Mapping

import pytest
from pydantic import SecretStr

from cli.checks.databases import check_postgres
from faults.pooler import CONFIGURATION
from service.db.sessions import SETTINGS
from service.settings import Settings
from tests.poolers import give_settings, lossy_pooler
from tests.running import bearer, running_receiver, running_worker

_LOST = f"a pooler before it loses the settings of our sessions ({', '.join(SETTINGS)})"


def _behind(url: str, settings: Settings) -> Settings:
    return settings.model_copy(update={"database_url": SecretStr(url), "direct_database_url": SecretStr("")})


@pytest.mark.parametrize("refuses", [False, True])
async def test_lost_settings_are_named(settings: Settings, database_url: str, *, refuses: bool) -> None:
    """Registrations are answered 503 with the settings' names, webhooks are kept in Redis, and `doctor` says it too."""
    async with lossy_pooler(database_url, refuses=refuses) as url:
        unfit = _behind(url, settings)
        async with running_receiver(unfit) as receiver:
            order = {"merchant_uid": "order-1", "amount": 1}
            status, problem = await receiver.call("POST", "/orders", json=order, headers=bearer())
            _, ready = await receiver.call("GET", "/readyz")
            webhook, _ = await receiver.call("POST", "/webhooks/portone/v1", json={"imp_uid": "imp_1"})
        [sentence] = await check_postgres(unfit)
    assert (status, problem["type"]) == (503, "urn:portone-orders:problem:pooler-unfit")
    assert _LOST in problem["detail"]
    assert ready == {"postgres": "behind an unfit pooler", "redis": "durable"}
    assert webhook == 200
    assert sentence.endswith(f"{_LOST}: set them in the pooler, as docs/pooler.md says.")


async def test_settings_of_the_user_are_as_good(settings: Settings, database_url: str) -> None:
    """Where Postgres itself gives the sessions their settings, all works behind a pooler that keeps whole sessions."""
    await give_settings(database_url)
    async with lossy_pooler(database_url) as url:
        behind = _behind(url, settings)
        async with running_receiver(behind) as receiver, running_worker(behind):
            await receiver.register("order-1")
            status, page = await receiver.call("GET", "/events", headers=bearer())
        assert await check_postgres(behind) == []
    assert status == 200
    assert [event["merchant_uid"] for event in page["events"]] == ["order-1"]


def test_the_example_gives_each_setting() -> None:
    """deploy/pgbouncer/pgbouncer.ini sets what our sessions set, to the same values, and ignores the same names."""
    text = CONFIGURATION.read_text("utf-8")
    [query] = re.findall(r"connect_query='(.*)'", text)
    given: Mapping[str, str] = dict(re.findall(r"SET (\w+) = (\w+)", query))
    [ignored] = re.findall(r"ignore_startup_parameters = (.*)", text)
    assert {name: re.sub(r"^(\d+)000$", r"\1s", value) for name, value in given.items()} == SETTINGS
    assert ignored.split(", ") == list(SETTINGS)
