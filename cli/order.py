"""`portone-orders order`: register, withdraw, read and follow orders, as another service would."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import amounts
from cli.addresses import Addresses
from cli.amounts import read_amount
from cli.calls import service_at
from cli.errors import CommandFailed
from cli.events import CursorFile, EventWish, run_follow
from cli.order_import import import_orders
from cli.order_page import history_lines, page
from cli.order_reads import list_orders, order_path, read_order, watch
from cli.order_story import story_lines
from cli.output import AsJson, print_json, working
from service.settings import Settings

if TYPE_CHECKING:
    from service.db.order_events import Event
    from service.db.order_story import Attempt, WaitingNotice

order = typer.Typer(
    name="order",
    short_help="Register, import, withdraw, list, watch and follow orders.",
    help="Register, import, withdraw, list, read and follow orders, over HTTP: at the environment's"
    " BASE_URL with its SERVICE_KEY, or those of a running `make run`, or http://HOST:PORT with the first of"
    " SERVICE_KEYS.",
    no_args_is_help=True,
)

_SHOWN_VERSIONS = 100
_SHOWN_NOTICES = 20
# The longest that the service waits for PortOne: a person may.
_PATIENT = {"Prefer": "wait=20"}

MerchantUid = Annotated[str, typer.Argument(help="The order's number, 1 to 255 characters.", metavar="MERCHANT_UID")]
Amount = Annotated[str, typer.Argument(help=amounts.HELP)]


@order.command()
def register(
    merchant_uid: MerchantUid,
    amount: Amount,
    currency: Annotated[str, typer.Option(help="An ISO 4217 code.")] = "KRW",
    name: Annotated[str, typer.Option(help="What the buyer buys, as text for people.")] = "",
    account: Annotated[str, typer.Option(help="A PortOne account of PORTONE_ACCOUNTS.")] = "",
    tier: Annotated[str, typer.Option(help="A sub-store's tier code.")] = "",
    allow_billing_key_issue: Annotated[
        bool, typer.Option("--allow-billing-key-issue", help="A payment that issues a billing key pays the order too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Register an order before it is paid. Repeating it changes nothing; other terms for the same order are refused.

    Example: portone-orders order register order-1 64900 --name "Blue socks"

    Example: portone-orders order register order-2 6.00 --currency USD
    """
    terms = {"merchant_uid": merchant_uid, "amount": read_amount(amount, currency), "currency": currency}
    options = {"name": name, "account": account, "tier": tier, "allow_billing_key_issue": allow_billing_key_issue}
    body = terms | {key: value for key, value in options.items() if value}
    service = service_at(Addresses.find(Settings.load()))
    _show(asyncio.run(service.call("POST", "/orders", body)), as_json=as_json)


@order.command()
def withdraw(
    merchant_uid: MerchantUid,
    force: Annotated[
        bool, typer.Option("--force", help="Do not ask PortOne, and withdraw although an account may take a deposit.")
    ] = False,
    who: Annotated[str, typer.Option(help="Who forces it; it is recorded.")] = "",
    why: Annotated[str, typer.Option(help="The reason to force it; it is recorded.")] = "",
    as_json: AsJson = False,
) -> None:
    """Close an order that nobody paid. PortOne is asked first: money that is there or on its way keeps it open.

    Example: portone-orders order withdraw order-1
    """
    if force and not (who.strip() and why.strip()):
        raise CommandFailed("Give --who and --why with --force: both are recorded.")
    body = {"force": True, "who": who.strip(), "why": why.strip()} if force else {}
    service = service_at(Addresses.find(Settings.load()))
    patient = replace(service, headers=service.headers | _PATIENT)
    with working("Asking PortOne for its payments"):
        withdrawn = asyncio.run(patient.call("POST", f"{order_path(merchant_uid)}/withdraw", body))
    _show(withdrawn, as_json=as_json)


@order.command()
def show(merchant_uid: MerchantUid, as_json: AsJson = False) -> None:
    """Show an order: state, amounts, problems, all its payments, the notices that wait, and its versions.

    Payments, notices and versions are read from Postgres: from DATABASE_URL, or from the database of a running
    `make run`. Without either they are left out.

    Example: portone-orders order show order-1
    """
    addresses = Addresses.find(Settings.load())
    found = asyncio.run(read_order(service_at(addresses), merchant_uid))
    if as_json:
        story = asyncio.run(_story(addresses.database_url, merchant_uid)) if addresses.database_url else ([], [], [])
        print_json({"order": found, **dict(zip(("payments", "notices", "history"), story, strict=True))})
        return
    _print(page(found))
    if not addresses.database_url:
        typer.echo("  history     not shown: it is in Postgres, and DATABASE_URL is not set")
        return
    attempts, waiting, events = asyncio.run(_story(addresses.database_url, merchant_uid))
    if not events:
        raise CommandFailed("The database in DATABASE_URL does not have this order: correct DATABASE_URL.")
    _print(story_lines(found["imp_uid"], attempts, waiting, _SHOWN_NOTICES))
    _print(history_lines(events))


@order.command()
def follow(
    merchant_uids: Annotated[
        list[str] | None, typer.Argument(help="Only these orders.", metavar="[MERCHANT_UID]...")
    ] = None,
    cursor: CursorFile = None,
    oldest: Annotated[bool, typer.Option("--oldest", help="Begin with the oldest change, not the next.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print every change of an order as it comes, one a line, until Ctrl-C ends it. `events follow` can do more.

    Example: portone-orders order follow

    Example: portone-orders order follow --oldest --cursor .run/changes
    """
    wanted = EventWish("oldest" if oldest else "now", cursor, filters={"merchant_uid": merchant_uids or []})
    run_follow(wanted, as_json=as_json)


order.command("list")(list_orders)
order.command()(watch)
order.command("import")(import_orders)


async def _story(database_url: str, merchant_uid: str) -> "tuple[list[Attempt], list[WaitingNotice], list[Event]]":
    from service.db.order_events import history
    from service.db.order_story import attempts, waiting
    from service.db.pool import in_transaction, open_pool

    pool = await open_pool(database_url, 1)
    try:
        return (
            await in_transaction(pool, attempts, merchant_uid),
            await in_transaction(pool, waiting, merchant_uid, _SHOWN_NOTICES),
            await in_transaction(pool, history, merchant_uid, _SHOWN_VERSIONS),
        )
    finally:
        await pool.close()


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        _print(page(found))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
