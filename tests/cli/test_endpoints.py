"""`portone-orders endpoints`: endpoints are added, shown, tested, rotated, disabled and replayed."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from typer.testing import CliRunner

from cli.errors import CommandFailed
from cli.main import app
from service.db.pool import Pool
from service.domain.feed_cursor import read_cursor
from service.settings import Settings
from tests.receiving import Received, receiving
from tests.running import until
from tests.service import stored
from tests.service.telling import running_deliverer, state_of, write_events


class Command:
    """`portone-orders endpoints …` in its own thread, because it has its own event loop."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    async def __call__(self, *words: str, **variables: str) -> list[str]:
        """Return the lines that it prints. Raises the error that it would print."""
        environment = {**self.environment, "ENDPOINTS_IN_PRIVATE_NETWORKS": "true", **variables}
        result = await asyncio.to_thread(CliRunner().invoke, app, ["endpoints", *words], env=environment)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output.splitlines()


@pytest.fixture
def command(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)  # away from a developer's .env
    return Command(
        {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "REDIS_URL": settings.redis_url.get_secret_value(),
        }
    )


async def test_a_secret_is_shown_once(command: Command, pool: Pool) -> None:
    """`add` prints a secret; `list` and `show` never do; what was done is recorded."""
    *_, secret = await command("add", "warehouse", "http://10.0.0.7/hooks", "--types", "order.paid", "--who", "kim")
    assert secret.startswith("whsec_")
    shown = [*await command("list"), *await command("show", "warehouse")]
    assert "warehouse  ok  http://10.0.0.7/hooks  delivered 0" in shown
    assert any(line.split() == ["types", "order.paid"] for line in shown)
    assert not [line for line in shown if secret in line or "whsec" in line]
    assert await pool.fetchval("SELECT who || ' ' || action || ' ' || subject FROM operator_actions") == (
        "kim endpoints.add warehouse"
    )


async def test_what_cannot_be_added(command: Command) -> None:
    """A bad name, type or URL, a private address without the setting, and a taken name are refused in a sentence."""
    await command("add", "a", "https://a.example/")
    for words, sentence in (
        (("add", "a", "https://a.example/"), "already"),
        (("add", "A b", "https://a.example/"), "lower-case"),
        (("add", "b", "https://a.example/", "--types", "order.sold"), "order.paid"),
        (("add", "b", "ftp://a.example/"), "https://"),
        (("show", "b"), "no endpoint 'b'"),
        (("replay", "a", "--from", "yesterday"), "event's id"),
    ):
        with pytest.raises(CommandFailed, match=sentence):
            await command(*words)
    with pytest.raises(CommandFailed, match="open internet"):
        await command("add", "b", "https://127.0.0.1/", ENDPOINTS_IN_PRIVATE_NETWORKS="false")


async def test_two_secrets_live_while_one_is_replaced(command: Command, database_url: str, pool: Pool) -> None:
    """After `rotate` both secrets verify; a third must wait, unless the old one is to end at once."""
    async with receiving() as endpoint:
        *_, first = await command("add", "warehouse", endpoint.url, "--oldest")
        *_, second = await command("rotate", "warehouse")
        await command("test", "warehouse")
        for secret in (first, second):
            assert Webhook(secret).verify(endpoint.received[-1].body, endpoint.received[-1].headers)
        with pytest.raises(CommandFailed, match="--now"):
            await command("rotate", "warehouse")
        *_, third = await command("rotate", "warehouse", "--now")
        await command("test", "warehouse")
        assert len(endpoint.received[-1].headers["webhook-signature"].split()) == 1
        assert Webhook(third).verify(endpoint.received[-1].body, endpoint.received[-1].headers)


async def test_a_test_is_a_webhook_like_any_other(command: Command, pool: Pool, database_url: str) -> None:
    """A test has each field of a real event, a type and an id of its own, and the same id in its header."""
    await write_events(pool, [("order-1", 1)])
    async with receiving() as endpoint, running_deliverer(database_url):
        *_, secret = await command("add", "warehouse", endpoint.url, "--oldest")

        async def has_come() -> bool:
            return bool(endpoint.accepted)

        await until(has_come)
        await command("test", "warehouse")
    real, test = endpoint.received
    message = Webhook(secret).verify(test.body, test.headers)
    assert message["type"] == message["data"]["type"] == "endpoint.test"
    assert message["timestamp"] == message["data"]["at"]
    assert list(test.data) == list(real.data)
    assert {name: type(value) for name, value in test.data.items()} == {
        name: type(value) for name, value in real.data.items()
    }
    assert test.data["state"] == "pending"
    assert test.data["id"] == test.headers["webhook-id"]
    assert read_cursor(test.data["id"]) is None


async def test_a_test_says_what_was_answered(command: Command) -> None:
    """`test` prints the answer of an endpoint that works, fails with that of one that does not, and both are logged."""
    status = 200

    async def answer(_: Received) -> web.StreamResponse:
        return web.Response(status=status, text="broken: \x1b[31m")

    async with receiving(answer) as endpoint:
        await command("add", "warehouse", endpoint.url)
        [line] = await command("test", "warehouse")
        assert line.startswith("warehouse answered 200 in ")
        status = 500
        with pytest.raises(CommandFailed, match=r"answered 500 .*: broken:  "):
            await command("test", "warehouse")
    lines = await command("show", "warehouse", "--failed")
    assert "a test  500" in lines[-1]
    assert "\x1b" not in "".join(lines)


async def test_a_replay_sends_a_range_again(command: Command, pool: Pool, database_url: str) -> None:
    """`replay` sends the range's orders again, each to its newest event, under the ids of before."""
    await write_events(pool, [("order-1", 1), ("order-2", 1), ("order-3", 1), ("order-2", 2)])
    async with receiving() as endpoint, running_deliverer(database_url):
        await command("add", "warehouse", endpoint.url, "--oldest")

        async def deliveries(count: int) -> None:
            async def have_come() -> bool:
                return len(endpoint.accepted) >= count and not (await state_of(pool)).late

            await until(have_come)

        await deliveries(4)
        assert await command("replay", "warehouse", "--from", "evt_2", "--to", "evt_2") == [
            "1 event is sent again to warehouse, with what followed in their orders."
        ]
        await deliveries(6)
        assert endpoint.versions("order-2") == [1, 2, 1, 2]
        [line] = await command("replay", "warehouse", "--from", "2000-01-01")
        assert line.startswith("4 events are sent again")
        await deliveries(10)
        [line] = await command("replay", "warehouse", "--from", "2100-01-01")
        assert line.startswith("Nothing is sent again")
    assert [received.event_id for received in endpoint.accepted if received.order == "order-3"] == [3, 3]


async def test_a_replay_counts_what_is_sent(command: Command, pool: Pool, database_url: str) -> None:
    """Events that the endpoint does not want do not count and move nothing back; an end that is no event is named."""
    await write_events(pool, [("order-1", 1), ("order-1", 2), ("order-2", 1), ("order-3", 1), ("order-3", 2)])
    async with receiving() as endpoint, running_deliverer(database_url):
        await command("add", "warehouse", endpoint.url, "--oldest", "--types", "order.failed")

        async def deliveries(count: int) -> None:
            async def have_come() -> bool:
                state = await state_of(pool)
                return len(endpoint.accepted) >= count and state.told_to == 5 and not state.late

            await until(have_come)

        await deliveries(2)
        [line] = await command("replay", "warehouse", "--from", "evt_1", "--to", "evt_4")
        assert line.startswith("1 event is sent again")
        await deliveries(3)
        [line] = await command("replay", "warehouse", "--from", "evt_3", "--to", "evt_4")
        assert line.startswith("Nothing is sent again")
        assert not (await state_of(pool)).late
        for words, sentence in (
            (("--from", "evt_ffffff"), "no event evt_ffffff. The newest is evt_5"),
            (("--from", "evt_1", "--to", "evt_9"), "no event evt_9"),
            (("--from", "evt_4", "--to", "evt_2"), "evt_4 comes after evt_2"),
        ):
            with pytest.raises(CommandFailed, match=sentence):
                await command("replay", "warehouse", *words)
    assert [received.order for received in endpoint.accepted] == ["order-1", "order-3", "order-1"]


async def test_an_endpoint_is_removed(command: Command, pool: Pool, database_url: str) -> None:
    """`remove` asks, unless --yes is given; then nothing of the endpoint is left but who removed it."""
    status = 500

    async def answer(_: Received) -> web.StreamResponse:
        return web.Response(status=status)

    await write_events(pool, [("order-1", 1)])
    async with receiving(answer) as endpoint, running_deliverer(database_url):
        await command("add", "warehouse", endpoint.url, "--oldest")

        async def is_late() -> bool:
            return bool((await state_of(pool)).late)

        await until(is_late)
        with pytest.raises(AssertionError, match="Remove warehouse"):  # nobody answers the question
            await command("remove", "warehouse")
        assert len(await command("list")) == 1
        await command("remove", "warehouse", "--yes", "--who", "kim")
    assert await command("list") == ["There are no endpoints: add one with `endpoints add`."]
    for name in ("endpoints", "late_orders", "delivery_attempts"):
        assert await stored.count(pool, name) == 0
    actions = await pool.fetch("SELECT who, action, subject FROM operator_actions ORDER BY id DESC LIMIT 1")
    assert [tuple(row) for row in actions] == [("kim", "endpoints.remove", "warehouse")]
    with pytest.raises(CommandFailed, match="no endpoint 'warehouse'"):
        await command("remove", "warehouse", "--yes")


async def test_a_disabled_endpoint_misses_nothing(command: Command, pool: Pool, database_url: str) -> None:
    """`disable` ends deliveries; after `enable` the endpoint gets what it has missed."""
    async with receiving() as endpoint, running_deliverer(database_url):
        await command("add", "warehouse", endpoint.url)
        await command("disable", "warehouse")
        await write_events(pool, [("order-1", 1), ("order-1", 2)])
        [line] = await command("list")
        assert "disabled by a person" in line
        assert not endpoint.received
        await command("enable", "warehouse")

        async def has_caught_up() -> bool:
            return (await state_of(pool)).delivered == 2

        await until(has_caught_up)
    assert endpoint.versions("order-1") == [1, 2]
