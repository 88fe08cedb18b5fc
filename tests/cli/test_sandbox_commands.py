"""`sandbox` acts as buyers, the console and the network, and plays every scenario."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.errors import CommandFailed
from cli.main import app
from cli.sandbox import sandbox as group
from cli.sandbox_scenarios import SCENARIOS, line_of
from cli.sandbox_stage import Stage
from service.settings import Settings
from tests.cli.conftest import Commands, commands_of
from tests.cli.dev_run import command
from tests.ports import own_port
from tests.sandbox_client import RunningSandbox

# The orders of each scenario at its end, in the order of registration.
ENDS: dict[str, list[dict[str, Any]]] = {
    "paid": [{"state": "paid", "paid_amount": 64900, "version": 2}],
    "tampered-amount": [{"state": "mismatched", "paid_amount": 0, "kinds": ["wrong_amount"]}],
    "tampered-currency": [{"state": "mismatched", "paid_amount": 0, "kinds": ["wrong_currency"]}],
    "test-channel": [{"state": "pending", "paid_amount": 0, "kinds": ["test_channel"]}],
    "virtual-account": [{"state": "paid", "paid_amount": 64900, "version": 3}],
    "expired-account": [{"state": "awaiting_deposit", "paid_amount": 0}],
    "late-deposit": [{"state": "cancelled", "paid_amount": 0, "cancelled_amount": 0}],
    "partial-refunds": [{"state": "partially_cancelled", "paid_amount": 64900, "cancelled_amount": 15000}],
    "full-refund": [{"state": "cancelled", "paid_amount": 64900, "cancelled_amount": 64900}],
    "failed-then-paid": [{"state": "paid", "version": 3}],
    "two-windows": [{"state": "paid", "paid_amount": 64900, "kinds": ["duplicate_payment"]}],
    "replayed-payment": [{"state": "paid"}, {"state": "pending", "paid_amount": 0, "version": 1}],
    "console-test": [],
    "webhook-five-times": [{"state": "paid", "version": 2}],
    "webhook-never": [{"state": "paid", "paid_amount": 64900}],
    "paid-before-registered": [{"state": "paid", "paid_amount": 64900}],
    "tier": [{"state": "paid", "tier": "abc"}],
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_ends_as_it_says(
    name: str, settings: Settings, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scenario played against a receiver and a worker ends with the expected orders, and prints them."""
    monkeypatch.chdir(tmp_path)
    scale = 0.02 if name == "webhook-never" else 1  # the minute until reconciliation, in a second
    tiered = settings.model_copy(update={"portone_tiers": ("abc",), "time_scale": scale})
    async with commands_of(tiered, sandbox) as commands:
        output = await commands.run("sandbox", "play", name)
        orders = [await commands.service.read(uid) for uid in registered(output)]
    for order, expected in zip(orders, ENDS[name], strict=True):
        kinds = [problem["kind"] for problem in order["problems"]]
        assert order | {"kinds": kinds} == order | {"kinds": []} | expected
        assert f"{order['merchant_uid']}: {order['state']} (version {order['version']})" in output


def registered(output: str) -> list[str]:
    marker = "The shop registers "
    return [line.partition(marker)[2].partition(",")[0] for line in output.splitlines() if marker in line]


async def test_the_test_button_is_answered_200(commands: Commands) -> None:
    """The console's test button is answered 200, by command and in the scenario."""
    assert "answered 200" in await commands.run("sandbox", "play", "console-test")
    assert "answered 200" in await commands.run("sandbox", "webhook", "--console-test")


async def test_every_scenario_is_listed_on_one_line(commands: Commands) -> None:
    """`--list` prints each scenario in one line that ends with a full stop."""
    output = await commands.run("sandbox", "play", "--list")
    assert [line.split()[0] for line in output.splitlines()] == list(SCENARIOS)
    assert all(line_of(played).endswith(".") and "\n" not in line_of(played) for played in SCENARIOS.values())
    assert ENDS.keys() == SCENARIOS.keys()


async def test_a_scenario_that_ends_otherwise_is_an_error(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an order does not become what it must, the command prints its actual state."""
    monkeypatch.setattr(Stage, "patience_seconds", 0.3)
    await commands.sandbox.faults(hide_payments=True)
    with pytest.raises(CommandFailed, match=r"reads state=pending.* but should read state=paid"):
        await commands.run("sandbox", "play", "paid")


async def test_a_payment_is_opened_failed_and_paid(commands: Commands) -> None:
    """open, fail and pay move one payment, which its order can name, and a failure sends no webhook."""
    opened = await commands.run("sandbox", "open", "order-1", "64900", "--pay-method", "paypal")
    imp_uid = opened.split()[0]
    assert await commands.run("sandbox", "fail", "order-1") == f"{imp_uid}  order-1  failed  64900 KRW  paypal\n"
    paid = await commands.run("sandbox", "pay", imp_uid)
    assert paid.startswith(f"{imp_uid}  order-1  paid")
    assert "webhook (json, paid)" in paid
    assert (await commands.run("sandbox", "list", "order-1")).startswith(f"{imp_uid}  order-1  paid")


async def test_the_wrong_money_can_be_paid(commands: Commands) -> None:
    """A new payment may have another currency, a tier and the test channel."""
    output = await commands.run("sandbox", "pay", "a", "6.00", "--currency", "USD", "--tier", "abc", "--test-channel")
    assert "6.00 USD  card  tier abc  test channel" in output
    with pytest.raises(CommandFailed, match="need a new payment: give its AMOUNT"):
        await commands.run("sandbox", "pay", "a", "--currency", "USD")


async def test_an_account_is_issued_expires_and_takes_a_deposit(commands: Commands) -> None:
    """The commands issue, expire and deposit move a virtual account."""
    assert "ready, account issued" in await commands.run("sandbox", "issue", "order-1", "64900")
    assert "ready, account issued" in await commands.run("sandbox", "expire", "order-1")
    assert "  paid  " in await commands.run("sandbox", "deposit", "order-1")


async def test_money_is_given_back_in_part_and_in_full(commands: Commands) -> None:
    """The command refund refunds the amount, or without one all that is left."""
    await commands.run("sandbox", "pay", "order-1", "64900")
    assert "refunded so far: 10000 KRW" in await commands.run("sandbox", "refund", "order-1", "10000")
    assert "refunded so far: 64900 KRW" in await commands.run("sandbox", "refund", "order-1", "--reason", "torn")
    with pytest.raises(CommandFailed, match="이미 전액취소된"):
        await commands.run("sandbox", "refund", "order-1")


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ((), ["json"]),
        (("--webhook", "form"), ["form"]),
        (("--webhook", "both", "--times", "2"), ["form", "form", "json", "json"]),
        (("--times", "3", "--late", "0.01"), ["json"] * 3),
        (("--webhook", "never"), []),
    ],
)
async def test_a_webhook_is_sent_as_asked(commands: Commands, options: tuple[str, ...], sent: list[str]) -> None:
    """A webhook is sent as JSON or form, once, several times, late or never, and printed with its answer."""
    output = await commands.run("sandbox", "pay", "order-1", "64900", *options)
    deliveries = (await commands.sandbox.webhooks())["deliveries"]
    assert sorted(delivery["format"] for delivery in deliveries) == sent
    assert output.count("answered 200") == len(sent)


async def test_a_webhook_is_sent_again(commands: Commands) -> None:
    """A webhook can be sent again in both encodings, with another status, to any address."""
    await commands.run("sandbox", "open", "order-1", "64900")
    url = f"{commands.service.url}/webhooks/portone/v1"
    output = await commands.run(
        *("sandbox", "webhook", "order-1", "--as", "both", "--times", "2", "--status", "paid", "--url", url)
    )
    assert output.count("answered 200") == 4
    assert output.count("(form, paid)") == 2


async def test_what_cannot_be_done_is_one_sentence(commands: Commands) -> None:
    """An unknown payment or scenario, a wrong amount, or a wrong address is reported in one sentence."""
    nobody = f"http://127.0.0.1:{own_port()}"
    words: tuple[str, ...]
    for words, variables, sentence in (
        (("pay", "order-9"), {}, "has no payment 'order-9'"),
        (("pay", "order-9", "much"), {}, "'much' is not an amount"),
        (("webhook",), {}, "Name a payment"),
        (("play", "x"), {}, "no scenario 'x'.*--list"),
        (("list",), {"SANDBOX_URL": nobody}, "sandbox at .* does not answer .*: start it with"),
        (("list",), {"SANDBOX_URL": commands.service.url}, "There is nothing at this address"),
        (("play", "tier", "--tier", "zzz"), {}, "tier is not configured: add it to PORTONE_TIERS"),
    ):
        with pytest.raises(CommandFailed, match=sentence):
            await commands.run("sandbox", *words, **variables)


async def test_serve_runs_the_sandbox_alone(tmp_path: Path) -> None:
    """`sandbox serve` runs until SIGTERM with the sandbox's own options and help."""
    async with command(tmp_path, "sandbox", "serve", "--imp-key", "mine") as run:
        line = await run.until("sandbox listening on")
        assert await run.end() == 0
    assert line.startswith("sandbox listening on http://127.0.0.1:")
    async with command(tmp_path, "sandbox", "serve", "--help") as run:
        await run.until("--webhook-url")
        assert await run.rest() == 0


def test_every_command_teaches_with_an_example() -> None:
    """Each command's help has an example that begins with the command's name."""
    for registered_command in group.registered_commands:
        assert registered_command.callback
        name = registered_command.name or registered_command.callback.__name__
        assert f"Example: portone-orders sandbox {name}" in (registered_command.callback.__doc__ or "")
    assert CliRunner().invoke(app, ["sandbox", "--help"]).exit_code == 0
