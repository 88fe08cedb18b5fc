"""`portone-orders sandbox`: run the stand-in for PortOne, and act as its buyers, its console and the network."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from cli import amounts
from cli.addresses import Addresses
from cli.amounts import read_amount
from cli.calls import sandbox_at
from cli.errors import CommandFailed
from cli.output import AsJson, print_json, working
from cli.sandbox_calls import AS_PORTONE_DOES, Control, Encoding, Moved, Webhook, delivery_line, payment_line
from service.settings import Settings

Result = TypeVar("Result")

sandbox = typer.Typer(
    name="sandbox",
    short_help="Run the stand-in for PortOne, pay in it, send its webhooks, play scenarios.",
    help="Run the stand-in for PortOne, pay in it, send its webhooks, play scripted scenarios. All commands but"
    " `serve` talk to the sandbox at SANDBOX_URL, or to that of a running `make run`, or to"
    " http://127.0.0.1:SANDBOX_PORT.",
    no_args_is_help=True,
)

# The sandbox takes an amount as PortOne writes it, which is as a person does.
_CURRENCY = "KRW"

MerchantUid = Annotated[str, typer.Argument(help="The order's number.", metavar="MERCHANT_UID")]
Name = Annotated[str, typer.Argument(help="An imp_uid; or a merchant_uid, for its latest payment.", metavar="PAYMENT")]
NameOrOrder = Annotated[
    str,
    typer.Argument(
        help="An imp_uid; or a merchant_uid, for its latest payment, or with AMOUNT for a new one.", metavar="PAYMENT"
    ),
]
_UNIT = amounts.HELP
Amount = Annotated[str, typer.Argument(help=_UNIT, metavar="AMOUNT")]
AmountOfNew = Annotated[str, typer.Argument(help=f"Open a new payment of this amount first. {_UNIT}", metavar="AMOUNT")]
Currency = Annotated[str, typer.Option(help="The currency of a new payment, an ISO 4217 code.")]
Tier = Annotated[str, typer.Option(help="The tier of a new payment, a sub-store's code.")]
TestChannel = Annotated[bool, typer.Option("--test-channel", help="Make a new payment on the test channel.")]
How = Annotated[
    Encoding | None,
    typer.Option("--webhook", help="Send its webhook this way. The default: as PortOne would, if at all."),
]
Times = Annotated[int, typer.Option(help="Send the webhook this many times, all at once.", min=1, max=1000)]
Late = Annotated[float, typer.Option(help="Wait this many seconds before the webhook.", min=0, max=3600)]


@sandbox.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def serve(context: typer.Context) -> None:
    """Run the stand-in alone: PortOne's V1 API, its webhook sender and fault switches (`sandbox serve --help`).

    Example: portone-orders sandbox serve --webhook-url http://127.0.0.1:8080/webhooks/portone/v1
    """
    from cli.serve import become_sandbox

    become_sandbox(["--port", str(Settings.load().sandbox_port), *context.args])


@sandbox.command("open")
def open_payment(
    merchant_uid: MerchantUid,
    amount: Amount,
    currency: Currency = "",
    tier: Tier = "",
    test_channel: TestChannel = False,
    pay_method: Annotated[str, typer.Option(help="card, trans, vbank, kakaopay …")] = "",
) -> None:
    """Open a payment window. Its payment is `ready`, and no webhook is sent.

    Example: portone-orders sandbox open order-1 64900
    """
    read_amount(amount, currency or _CURRENCY)
    terms = _terms(currency, tier, test_channel) | {"pay_method": pay_method}
    typer.echo(payment_line(_run(lambda control: control.open(merchant_uid, amount, **terms))))


@sandbox.command()
def pay(
    payment: NameOrOrder,
    amount: AmountOfNew = "",
    currency: Currency = "",
    tier: Tier = "",
    test_channel: TestChannel = False,
    webhook: How = None,
    times: Times = 1,
    late: Late = 0,
) -> None:
    """Pay an open payment, or with AMOUNT a new one, also of the wrong amount, currency or channel.

    Example: portone-orders sandbox pay order-1 64900

    Example: portone-orders sandbox pay order-1 6.00 --currency USD --webhook form --times 5
    """
    _move("pay", payment, amount, _terms(currency, tier, test_channel), _webhook(webhook, times, late))


@sandbox.command()
def fail(
    payment: NameOrOrder,
    amount: AmountOfNew = "",
    currency: Currency = "",
    tier: Tier = "",
    reason: Annotated[str, typer.Option(help="The reason that the buyer sees.")] = "",
    webhook: How = None,
    times: Times = 1,
    late: Late = 0,
) -> None:
    """Let a payment fail. PortOne sends no webhook for that; it may still be paid later.

    Example: portone-orders sandbox fail order-1 64900 --reason "Not enough money"
    """
    options = {"reason": reason} if reason else {}
    _move("fail", payment, amount, _terms(currency, tier), _webhook(webhook, times, late), **options)


@sandbox.command()
def issue(
    payment: NameOrOrder,
    amount: AmountOfNew = "",
    currency: Currency = "",
    tier: Tier = "",
    webhook: How = None,
    times: Times = 1,
    late: Late = 0,
) -> None:
    """Issue a virtual account, which then waits for its deposit: see `sandbox deposit`.

    Example: portone-orders sandbox issue order-1 64900
    """
    _move("issue", payment, amount, _terms(currency, tier), _webhook(webhook, times, late))


@sandbox.command()
def deposit(payment: Name, webhook: How = None, times: Times = 1, late: Late = 0) -> None:
    """Deposit the money into a virtual account that was issued.

    Example: portone-orders sandbox deposit order-1
    """
    _move("deposit", payment, "", {}, _webhook(webhook, times, late))


@sandbox.command()
def expire(payment: Name) -> None:
    """Let a virtual account's due time pass. PortOne changes no status and sends no webhook.

    Example: portone-orders sandbox expire order-1
    """
    _move("expire", payment, "", {}, AS_PORTONE_DOES)


@sandbox.command()
def refund(
    payment: Name,
    amount: Annotated[
        str, typer.Argument(help=f"The part to refund; the default is all that is left. {_UNIT}", metavar="AMOUNT")
    ] = "",
    reason: Annotated[str, typer.Option(help="The reason; it is kept with the payment.")] = "",
    webhook: How = None,
    times: Times = 1,
    late: Late = 0,
) -> None:
    """Refund money from PortOne's console, or close a virtual account that nobody paid into.

    Example: portone-orders sandbox refund order-1 10000 --reason "One pair was torn"
    """
    options = {key: value for key, value in (("amount", amount), ("reason", reason)) if value}
    _move("cancel", payment, "", {}, _webhook(webhook, times, late), **options)


@sandbox.command("webhook")
def send_webhook(
    payment: Annotated[
        str, typer.Argument(help="An imp_uid; or a merchant_uid, for its latest payment.", metavar="PAYMENT")
    ] = "",
    sending: Annotated[Encoding, typer.Option("--as", help="The encoding.")] = Encoding.JSON,
    times: Times = 1,
    late: Late = 0,
    status: Annotated[str, typer.Option(help="Send this status instead of the payment's: it proves nothing.")] = "",
    tier: Annotated[str, typer.Option(help="Send it to this tier's address instead of the payment's.")] = "",
    url: Annotated[str, typer.Option(help="Send it to this address instead.")] = "",
    console_test: Annotated[
        bool, typer.Option("--console-test", help="Send the dummy body of the console's test button instead.")
    ] = False,
) -> None:
    """Send a payment's webhook again: as JSON, form or both, several times, late, or to another address.

    Example: portone-orders sandbox webhook order-1 --as both --times 5

    Example: portone-orders sandbox webhook --console-test
    """
    if bool(payment) == console_test:
        raise CommandFailed("Name a payment, or give --console-test.")

    async def send(control: Control) -> list[dict[str, Any]]:
        if console_test:
            return await control.send_console_test(sending)
        target = await control.find(payment)
        options = {"status": status, "tier": tier, "url": url}
        return await control.send(target["imp_uid"], Webhook(sending, times, late), **options)

    with working("Waiting for the webhooks' answers"):
        deliveries = _run(send)
    for delivery in deliveries:
        typer.echo(delivery_line(delivery))


@sandbox.command("list")
def list_payments(
    merchant_uid: Annotated[str, typer.Argument(help="List only this order's payments.", metavar="MERCHANT_UID")] = "",
    as_json: AsJson = False,
) -> None:
    """List the payments, the oldest first: imp_uid, merchant_uid, status, amount, method.

    Example: portone-orders sandbox list order-1
    """
    payments = _run(lambda control: control.payments(merchant_uid))
    if as_json:
        print_json({"payments": payments})
        return
    typer.echo("\n".join(payment_line(payment) for payment in payments) or "There are no payments.")


def _scenarios(incomplete: str) -> list[str]:
    from cli.sandbox_scenarios import SCENARIOS

    return [name for name in SCENARIOS if name.startswith(incomplete)]


@sandbox.command()
def play(
    scenario: Annotated[
        str, typer.Argument(help="A name from --list.", metavar="SCENARIO", autocompletion=_scenarios)
    ] = "",
    list_them: Annotated[bool, typer.Option("--list", help="List the scenarios, one line each.")] = False,
    tier: Annotated[
        str, typer.Option(help="The tier for the scenario `tier`; the default is the first of PORTONE_TIERS.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="With --list: print JSON, for programs.")] = False,
) -> None:
    """Play a scenario against the running service: register its order, make its payments, wait for the right state.

    The exit code is 1 if the order ends in another state.

    Example: portone-orders sandbox play tampered-amount
    """
    from cli.sandbox_scenarios import SCENARIOS, line_of, perform

    if list_them and as_json:
        print_json({"scenarios": {name: line_of(played) for name, played in SCENARIOS.items()}})
        return
    if list_them:
        typer.echo("\n".join(f"{name:<24}{line_of(played)}" for name, played in SCENARIOS.items()))
        return
    if scenario not in SCENARIOS:
        mistake = f"There is no scenario {scenario!r}" if scenario else "Name a scenario"
        raise CommandFailed(f"{mistake}: `portone-orders sandbox play --list` lists them.")
    asyncio.run(perform(scenario, Settings.load(), tier, typer.echo))


def _terms(currency: str, tier: str, test_channel: bool = False) -> dict[str, Any]:
    return {"currency": currency, "tier": tier, "sandbox": test_channel}


def _webhook(sending: Encoding | None, times: int, late: float) -> Webhook:
    """Return how to send the webhook. Several or late webhooks without an encoding are JSON, PortOne's default."""
    if sending is None and (times, late) != (1, 0):
        sending = Encoding.JSON
    return Webhook(sending, times, late)


def _move(action: str, name: str, amount: str, terms: dict[str, Any], webhook: Webhook, /, **options: Any) -> None:
    """Open a payment if an amount is given, move it, and print it and the deliveries of its webhooks."""
    if not amount and any(terms.values()):
        raise CommandFailed("--currency, --tier and --test-channel need a new payment: give its AMOUNT too.")

    async def move(control: Control) -> Moved:
        if amount:
            read_amount(amount, terms["currency"] or _CURRENCY)
        payment = await (control.open(name, amount, **terms) if amount else control.find(name))
        if part := options.get("amount"):
            read_amount(part, payment["currency"])
        return await control.move(payment["imp_uid"], action, webhook, **options)

    with working("Waiting for the webhooks' answers"):
        moved = _run(move)
    typer.echo("\n".join([payment_line(moved.payment), *(delivery_line(delivery) for delivery in moved.deliveries)]))


def _run(work: Callable[[Control], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        return await work(Control(sandbox_at(Addresses.find(Settings.load()))))

    return asyncio.run(run())
