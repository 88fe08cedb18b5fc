"""`order` registers and reads as another service would, and explains in a sentence when it cannot."""

import asyncio
import os
from pathlib import Path

import pytest
from portone_orders_client import FileCursor

from cli.addresses import Addresses
from cli.calls import Server
from cli.errors import CommandFailed
from cli.events import EventWish, event_line, follow_events
from service.db.pool import Pool
from service.settings import Settings
from tests.cli.conftest import Commands
from tests.ports import own_port
from tests.running import bearer, until


async def test_a_registered_order_is_printed(commands: Commands) -> None:
    """Registering prints the order as stored, and the service has it."""
    output = await commands.run("order", "register", "주문/1", "6.00", "--currency", "USD", "--name", "A book")
    assert output.startswith("주문/1: pending (version 1)\n")
    assert "amount      6.00 USD" in output
    assert (await commands.service.read("주문/1"))["name"] == "A book"


async def test_an_order_is_registered_for_a_billing_key(commands: Commands) -> None:
    """An order may allow a payment that issues a billing key, and its page says so."""
    output = await commands.run("order", "register", "order-1", "64900", "--allow-billing-key-issue")
    assert "  allows      a payment that issues a billing key" in output.splitlines()
    assert (await commands.service.read("order-1"))["allow_billing_key_issue"]
    assert "allows" not in await commands.run("order", "register", "order-2", "64900")


async def test_changes_are_followed(commands: Commands, tmp_path: Path) -> None:
    """`order follow` prints each change as it comes, and goes on from its file without a gap or a repetition."""
    service = Server(commands.service.url, "The service", "start it", "BASE_URL", bearer())
    cursor, place = FileCursor(tmp_path / "cursor"), tmp_path / "cursor"

    async def next_change() -> str:
        before, lines = await cursor.load(), asyncio.Queue[str]()
        wanted = EventWish("oldest", place)
        following = asyncio.create_task(
            follow_events(service, wanted, lambda event: lines.put_nowait(event_line(event)))
        )
        line = await asyncio.wait_for(lines.get(), 40)

        async def is_kept() -> bool:
            return await cursor.load() != before

        await until(is_kept)
        following.cancel()
        await asyncio.wait([following])
        return line.partition("  ")[2]

    await commands.run("order", "register", "order-1", "64900")
    assert await next_change() == "order-1  order.registered, version 1: pending, 64900 KRW"
    await commands.run("order", "register", "order-2", "6.00", "--currency", "USD")
    assert await next_change() == "order-2  order.registered, version 1: pending, 6.00 USD"


async def test_registering_again_changes_nothing_and_other_terms_are_refused(commands: Commands) -> None:
    """Repeating the same terms changes nothing, and other terms are refused in one sentence."""
    await commands.run("order", "register", "order-1", "64900")
    assert "(version 1)" in await commands.run("order", "register", "order-1", "64900")
    with pytest.raises(CommandFailed, match=r"registered already, with other terms\. \(amount\)"):
        await commands.run("order", "register", "order-1", "100")


async def test_a_number_that_no_address_can_name_has_a_sentence(commands: Commands) -> None:
    """`.`, `..` and an empty number are refused in one sentence by each command that names an order."""
    for number in ("", ".", ".."):
        for command in ("show", "withdraw"):
            with pytest.raises(CommandFailed, match="it cannot stand in an address"):
                await commands.run("order", command, number)
    with pytest.raises(CommandFailed, match="no address could name the order"):
        await commands.run("order", "register", "..", "100")


async def test_a_paid_order_is_shown_with_its_payment_and_history(commands: Commands) -> None:
    """`order show` prints state, amounts, the deciding payment, problems, and each version with its time."""
    await commands.run("order", "register", "order-1", "64900")
    payment = await commands.sandbox.pay("order-1", 64900)
    await commands.service.becomes("order-1", state="paid")
    lines = [line.split() for line in (await commands.run("order", "show", "order-1")).splitlines()]
    assert lines[0] == ["order-1:", "paid", "(version", "2)"]
    assert ["paid", "64900", "KRW"] in lines
    assert ["problems", "none"] in lines
    assert any(line[:3] == ["payment", f"{payment['imp_uid']},", "paid,"] for line in lines)
    history = lines[lines.index(["history"]) + 1 :]
    assert [(line[0], line[4]) for line in history[::2]] == [("1", "pending"), ("2", "paid")]
    assert history[1] == ["by", "its", "registration"]
    assert " ".join(history[3]).endswith(f": PortOne said {payment['imp_uid']} paid 64900 KRW")
    assert (history[3][0], history[3][3:5]) == ("by", ["looked", "at"])


async def test_the_orders_other_payments_are_shown(commands: Commands) -> None:
    """`order show` lists the payments that do not decide, each with its state and amount."""
    await commands.run("order", "register", "order-1", "64900")
    failed = (await commands.run("sandbox", "fail", "order-1", "64900", "--webhook", "json")).split()[0]
    await commands.sandbox.pay("order-1", 64900)
    await commands.service.becomes("order-1", state="paid")
    output = await commands.run("order", "show", "order-1")
    assert f"  other       {failed}, failed, 64900 KRW" in output.splitlines()
    assert output.count("  other ") == 1


async def test_a_payment_found_by_reconciliation_is_called_so(commands: Commands, pool: Pool) -> None:
    """`order show` says which payments no notice had announced before reconciliation found them."""
    await commands.run("order", "register", "order-1", "64900")
    imp_uid = (await commands.run("sandbox", "pay", "order-1", "64900", "--webhook", "never")).split()[0]
    await pool.execute("UPDATE ledger_scans SET next_at = now()")
    await commands.service.becomes("order-1", state="paid")
    output = await commands.run("order", "show", "order-1")
    assert f"  found       {imp_uid} by reconciliation, " in output
    announced = (await commands.run("sandbox", "pay", "order-2", "64900")).split()[0]
    await commands.run("order", "register", "order-2", "64900")
    await commands.service.becomes("order-2", state="paid")
    assert f"{announced} by reconciliation" not in await commands.run("order", "show", "order-2")


async def test_waiting_notices_and_the_tier_are_shown(commands: Commands, pool: Pool) -> None:
    """`order show` names each notice that is due or parked, with its reason, and the order's tier."""
    await commands.run("order", "register", "order-1", "64900")
    await pool.execute("UPDATE orders SET tier = 'abc'")
    await pool.execute(
        "INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, parked_at, last_outcome)"
        " VALUES (gen_random_uuid(), 'webhook', 'imp_lost', 'order-1', true, now(), 'payment_unknown')"
    )
    output = await commands.run("order", "show", "order-1")
    [waiting] = [line for line in output.splitlines() if line.startswith("  waiting ")]
    assert ", webhook about imp_lost, parked: payment_unknown, received " in waiting
    assert "  tier        abc" in output.splitlines()


async def test_an_old_version_shows_what_portone_said_then(commands: Commands, settings: Settings) -> None:
    """After a refund the version that was paid, and its notice, still show `paid`; the notice adds what it is now."""
    await commands.run("order", "register", "order-1", "64900")
    imp_uid = (await commands.sandbox.pay("order-1", 64900))["imp_uid"]
    await commands.service.becomes("order-1", state="paid")
    await commands.sandbox.move(imp_uid, "cancel", amount=900)
    await commands.service.becomes("order-1", state="partially_cancelled")
    said = [
        line.partition("PortOne said ")[2] for line in (await commands.run("order", "show", "order-1")).splitlines()
    ]
    assert [text for text in said if text] == [
        f"{imp_uid} paid 64900 KRW",
        f"{imp_uid} cancelled 64900 KRW, refunded 900 KRW",
    ]
    redis = settings.redis_url.get_secret_value()
    listed = await commands.run("notices", "list", imp_uid, REDIS_URL=redis)
    notices = [line.split("\t") for line in listed.splitlines()]
    assert {line[-1] for line in notices} == {"cancelled 64900 KRW", "paid 64900 KRW, now cancelled 64900 KRW"}


async def test_problems_are_shown(commands: Commands) -> None:
    """`order show` prints a problem with its payment."""
    await commands.run("order", "register", "order-1", "64900")
    payment = await commands.sandbox.pay("order-1", 100)
    await commands.service.becomes("order-1", state="mismatched")
    assert f"wrong_amount ({payment['imp_uid']})" in await commands.run("order", "show", "order-1")


async def test_an_order_is_withdrawn(commands: Commands) -> None:
    """`order withdraw` prints the closed order, and says in one sentence why it cannot."""
    await commands.run("order", "register", "order-1", "64900")
    assert "closed: withdrawn" in await commands.run("order", "withdraw", "order-1")
    await commands.run("order", "register", "order-2", "64900")
    await commands.sandbox.pay("order-2", 64900)
    with pytest.raises(CommandFailed, match="The order has been paid"):
        await commands.run("order", "withdraw", "order-2")


async def test_a_withdrawal_is_forced_with_who_and_why(commands: Commands) -> None:
    """`order withdraw --force` needs who and why, and works while an account takes a deposit."""
    await commands.run("order", "register", "order-1", "64900")
    imp_uid = (await commands.sandbox.open("order-1", 64900, pay_method="vbank"))["imp_uid"]
    await commands.sandbox.move(imp_uid, "issue")
    with pytest.raises(CommandFailed, match="still takes a deposit"):
        await commands.run("order", "withdraw", "order-1")
    with pytest.raises(CommandFailed, match="Give --who and --why"):
        await commands.run("order", "withdraw", "order-1", "--force")
    await commands.run("order", "withdraw", "order-1", "--force", "--who", "kim", "--why", "the buyer called")
    assert "by its withdrawal by kim: the buyer called" in await commands.run("order", "show", "order-1")


async def test_without_a_database_the_history_is_left_out(commands: Commands) -> None:
    """Without a known Postgres the order is shown, and a line says why its history is not."""
    await commands.run("order", "register", "order-1", "64900")
    output = await commands.run("order", "show", "order-1", DATABASE_URL=None)
    assert "history     not shown" in output


async def test_what_keeps_it_from_asking_is_one_sentence(commands: Commands) -> None:
    """An unknown order, a wrong key, a service that is down, or a wrong address is reported in one sentence."""
    nobody = f"http://127.0.0.1:{own_port()}"
    for variables, sentence in (
        ({}, "No order is registered as 'order-9'"),
        ({"SERVICE_KEY": "wrong"}, "refuses the key: set SERVICE_KEY"),
        ({"SERVICE_KEY": None}, "refuses the key: set SERVICE_KEY"),
        ({"BASE_URL": nobody}, "does not answer .*: start it with `make run`"),
        ({"BASE_URL": commands.sandbox.url}, "is not the service: correct BASE_URL"),
        ({"BASE_URL": "nonsense"}, "BASE_URL is not an address"),
    ):
        with pytest.raises(CommandFailed, match=sentence) as failed:
            await commands.run("order", "show", "order-9", **variables)
        assert "\n" not in str(failed.value)


def _settings(state_dir: Path) -> Settings:
    return Settings(_env_file=None, state_dir=state_dir, port=8090, host="::", service_keys=("a", "b"))


def test_by_default_the_addresses_are_those_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses come from HOST, PORT, SANDBOX_PORT and SERVICE_KEYS, not from a `dev` that has ended."""
    for name in ("BASE_URL", "SERVICE_KEY", "SANDBOX_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "env").write_text("export BASE_URL=http://127.0.0.1:1\n", "utf-8")
    addresses = Addresses.find(_settings(tmp_path))
    assert addresses == Addresses("http://[::1]:8090", "a", "http://127.0.0.1:8081", "")


def test_a_running_dev_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running `dev`'s env file counts, but BASE_URL of another service excludes its key and its database."""
    for name in ("BASE_URL", "SERVICE_KEY", "SANDBOX_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "lock").write_text(str(os.getpid()), "utf-8")
    text = "export BASE_URL=http://127.0.0.1:1\nexport SERVICE_KEY='k k'\nexport DATABASE_URL=postgresql://db/o\n"
    (tmp_path / "env").write_text(text, "utf-8")
    addresses = Addresses.find(_settings(tmp_path))
    assert (addresses.base_url, addresses.service_key, addresses.database_url) == (
        "http://127.0.0.1:1",
        "k k",
        "postgresql://db/o",
    )
    monkeypatch.setenv("BASE_URL", "https://orders.example/")
    addresses = Addresses.find(_settings(tmp_path))
    assert (addresses.base_url, addresses.service_key, addresses.database_url) == ("https://orders.example", "a", "")
