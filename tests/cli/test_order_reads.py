"""`order list`, `order watch` and `events follow` read as another service would, for people and for programs."""

import asyncio
import json
from pathlib import Path

import pytest

from cli.errors import CommandFailed
from tests.cli.conftest import Commands


async def test_orders_are_listed_and_narrowed(commands: Commands) -> None:
    """In a pipe each order is one line of whole values; filters, a limit and --json work together."""
    for number in range(1, 4):
        await commands.run("order", "register", f"order-{number}", "64900")
    payment = await commands.sandbox.pay("order-2", 100)
    await commands.service.becomes("order-2", state="mismatched")
    lines = [line.split("\t") for line in (await commands.run("order", "list")).splitlines()]
    assert [line[:4] for line in lines] == [
        ["order-1", "pending", "-", "64900 KRW"],
        ["order-2", "mismatched", "-", "64900 KRW"],
        ["order-3", "pending", "-", "64900 KRW"],
    ]
    assert lines[1][6:8] == [payment["imp_uid"], "wrong_amount"]
    assert "These are the first 2: --limit shows more." in await commands.run("orders", "list", "--limit", "2")
    for words in (("--problems",), ("--state", "mismatched", "--since", "1h"), ("--problem", "wrong_amount")):
        listed = json.loads(await commands.run("order", "list", "--json", *words))
        assert [order["merchant_uid"] for order in listed["orders"]] == ["order-2"]
        assert not listed["more"]
    assert "No order is like this." in await commands.run("order", "list", "--state", "paid")
    with pytest.raises(CommandFailed, match=r"--since must be like 30m"):
        await commands.run("order", "list", "--since", "yesterday")


async def test_an_order_is_watched_until_it_is_settled(commands: Commands) -> None:
    """Each version is printed until no order waits for its buyer; the exit code says whether all may be delivered."""
    for number in (1, 2, 3):
        await commands.run("order", "register", f"order-{number}", "64900")
    watching = asyncio.create_task(commands.run_to_end("order", "watch", "order-1", "order-2", "--json"))
    await commands.sandbox.pay("order-1", 64900)
    await commands.service.becomes("order-1", state="paid")
    await commands.sandbox.pay("order-2", 100)
    code, output = await watching
    states = {order["merchant_uid"]: order["state"] for order in map(json.loads, output.splitlines())}
    assert (code, states) == (1, {"order-1": "paid", "order-2": "mismatched"})
    assert (await commands.run("order", "watch", "order-1")).endswith("version 2: paid, 64900 KRW of 64900 KRW\n")
    code, output = await commands.run_to_end("order", "watch", "order-3", "--for", "0.2")
    assert code == 1
    assert output.endswith("The time is up, and order-3 still waits.\n")
    with pytest.raises(CommandFailed, match="No order is registered as 'order-9'"):
        await commands.run("order", "watch", "order-1", "order-9")


async def test_events_are_followed_from_a_file(commands: Commands, tmp_path: Path) -> None:
    """Filters narrow the feed, and the cursor's file goes on behind the last event that was printed."""
    for number in (1, 2):
        await commands.run("order", "register", f"order-{number}", "64900")
    words = ("events", "follow", "--from", "oldest", "--cursor", "place", "--limit", "1", "--json")
    first = json.loads(await commands.run(*words, "--type", "order.registered"))
    second = json.loads(await commands.run(*words, "--type", "order.registered"))
    assert [(event["merchant_uid"], event["type"]) for event in (first, second)] == [
        ("order-1", "order.registered"),
        ("order-2", "order.registered"),
    ]
    assert (tmp_path / "place").read_text() == second["id"]
    await commands.sandbox.pay("order-1", 64900)
    line = await commands.run(*words[:-1], "--order", "order-1", "--state", "paid")
    assert "order-1  order.paid, version 2: paid, 64900 KRW" in line
    last = await commands.run("events", "follow", "--from", first["id"], "--limit", "1")
    assert "order-2" in last


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--type", "order.eaten"), "No event has the type 'order.eaten'. The types are order.registered"),
        (("--from", "yesterday"), "--from must be now, oldest or an event's id"),
    ],
)
async def test_a_place_or_type_that_is_none_is_refused(
    commands: Commands, words: tuple[str, ...], sentence: str
) -> None:
    """A type or place that the feed does not know is refused in a sentence that says what it knows."""
    with pytest.raises(CommandFailed, match=sentence):
        await commands.run("events", "follow", *words)
