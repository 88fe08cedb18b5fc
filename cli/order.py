"""`portone-orders order`: register, withdraw, read and follow orders, as another service would."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from cli import amounts
from cli.addresses import Addresses
from cli.amounts import read_amount
from cli.calls import CallRefused, Server, service_at
from cli.errors import CommandFailed
from cli.order_page import history_lines, money, page
from cli.order_story import story_lines
from service.domain.ids import can_stand_in_address
from service.settings import Settings

if TYPE_CHECKING:
    from service.db.order_events import Event
    from service.db.order_story import Attempt, WaitingNotice

order = typer.Typer(
    name="order",
    help="Register, withdraw, read and follow orders. All ask the running service over HTTP, at the environment's"
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
) -> None:
    """Register an order before it is paid. Repeating it changes nothing; other terms for the same order are refused.

    Example: portone-orders order register order-1 64900 --name "Blue socks"

    Example: portone-orders order register order-2 6.00 --currency USD
    """
    terms = {"merchant_uid": merchant_uid, "amount": read_amount(amount, currency), "currency": currency}
    options = {"name": name, "account": account, "tier": tier, "allow_billing_key_issue": allow_billing_key_issue}
    body = terms | {key: value for key, value in options.items() if value}
    service = service_at(Addresses.find(Settings.load()))
    _print(page(asyncio.run(service.call("POST", "/orders", body))))


@order.command()
def withdraw(
    merchant_uid: MerchantUid,
    force: Annotated[
        bool, typer.Option("--force", help="Do not ask PortOne, and withdraw although an account may take a deposit.")
    ] = False,
    who: Annotated[str, typer.Option(help="Who forces it; it is recorded.")] = "",
    why: Annotated[str, typer.Option(help="The reason to force it; it is recorded.")] = "",
) -> None:
    """Close an order that nobody paid. PortOne is asked first: money that is there or on its way keeps it open.

    Example: portone-orders order withdraw order-1
    """
    if force and not (who.strip() and why.strip()):
        raise CommandFailed("Give --who and --why with --force: both are recorded.")
    body = {"force": True, "who": who.strip(), "why": why.strip()} if force else {}
    service = service_at(Addresses.find(Settings.load()))
    patient = replace(service, headers=service.headers | _PATIENT)
    _print(page(asyncio.run(patient.call("POST", f"{_path(merchant_uid)}/withdraw", body))))


@order.command()
def show(merchant_uid: MerchantUid) -> None:
    """Show an order: state, amounts, problems, all its payments, the notices that wait, and its versions.

    Payments, notices and versions are read from Postgres: from DATABASE_URL, or from the database of a running
    `make run`. Without either they are left out.

    Example: portone-orders order show order-1
    """
    addresses = Addresses.find(Settings.load())
    found = asyncio.run(read(service_at(addresses), merchant_uid))
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
    cursor: Annotated[
        Path | None, typer.Option(help="Keep the place in this file, and go on there: nothing is missed.")
    ] = None,
    oldest: Annotated[bool, typer.Option("--oldest", help="Begin with the oldest change, not the next.")] = False,
) -> None:
    """Print every change of an order as it comes, one a line, until Ctrl-C ends it.

    Example: portone-orders order follow

    Example: portone-orders order follow --oldest --cursor .run/changes
    """
    service = service_at(Addresses.find(Settings.load()))
    asyncio.run(print_changes(service, cursor, merchant_uids or [], typer.echo, oldest=oldest))


async def print_changes(
    service: Server, cursor: Path | None, merchant_uids: list[str], echo: Callable[[str], None], *, oldest: bool
) -> None:
    """Print changes until it is cancelled. Raises CommandFailed if the service does not answer at first."""
    from portone_orders_client import FileCursor, MemoryCursor, OrdersClient

    newest = await service.call("GET", "/events?after=now")
    store, start = FileCursor(cursor) if cursor else MemoryCursor(), None if oldest else str(newest["next"])
    key = service.headers.get("Authorization", "").removeprefix("Bearer ")
    async with OrdersClient(service.url, key) as orders:
        async for event in orders.follow(store, start=start, merchant_uid=merchant_uids):
            what = f"{event.type}, version {event.version}: {event.state}, {money(event.amount, event.currency)}"
            echo(f"{event.at:%Y-%m-%d %H:%M:%S %Z}  {event.merchant_uid}  {what}")


async def read(service: Server, merchant_uid: str) -> dict[str, object]:
    """Return the order as the service answers it. Raises CommandFailed if it is not registered."""
    try:
        return await service.call("GET", _path(merchant_uid))
    except CallRefused as refused:
        if refused.status != 404:
            raise
        raise CommandFailed(f"No order is registered as {merchant_uid!r} at {service.url}.") from refused


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


def _path(merchant_uid: str) -> str:
    """Return the order's address. Raises CommandFailed for a number that can stand in none."""
    if not merchant_uid or not can_stand_in_address(merchant_uid):
        raise CommandFailed(f"No order has the number {merchant_uid!r}: it cannot stand in an address.")
    return f"/orders/{quote(merchant_uid, safe='')}"


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
