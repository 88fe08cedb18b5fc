"""`portone-orders notices`: list, show, replay and dismiss notices."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated
from uuid import UUID

import typer

from cli.errors import CommandFailed
from cli.operator import Who, Why, me, open_databases
from cli.order_page import money
from cli.output import AsJson, print_json, print_table, working
from service.db import notice_list
from service.db.notice_list import Listed, Shown
from service.db.pool import Connection, in_transaction
from service.usecases import dismissing, notice_replays

app = typer.Typer()

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")]
Name = Annotated[str, typer.Argument(help="Only those of this order number or imp_uid, or whose id begins so.")]

_COLUMNS = ("id", "from", "imp_uid", "merchant_uid", "received", "tries", "outcome", "payment")


@app.command("list")
def list_notices(
    name: Name = "",
    still_open: Annotated[bool, typer.Option("--open", help="List the open notices instead.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List the parked notices with their reasons, the longest parked first; with a name, those about it.

    In a pipe each notice is one line: whole values, separated by tabs.
    """
    if name:
        listed = _read(lambda db: notice_list.about(db, name, limit))
    else:
        query = notice_list.waiting if still_open else notice_list.parked
        listed = _read(lambda db: query(db, limit))
    if as_json:
        print_json(listed)
        return
    print_table(_COLUMNS, map(_row, listed.notices))
    if len(listed.notices) < listed.total:
        typer.echo(f"These are {len(listed.notices)} of {listed.total}: --limit shows more.", err=True)
    if not listed.notices:
        fate = f"known by {name!r}" if name else "open" if still_open else "parked"
        typer.echo(f"No notice is {fate}.", err=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An order number, an imp_uid, or the first part of an id.")],
    as_json: AsJson = False,
) -> None:
    """Show the notices about a payment or an order, with the payment as stored."""
    listed = _read(lambda db: notice_list.about(db, name, 100))
    if not listed.notices:
        raise CommandFailed(f"No notice is known by the id, imp_uid or order number {name!r}.")
    if as_json:
        print_json(listed)
        return
    for notice in listed.notices:
        typer.echo("\n".join(f"{key}: {getattr(notice, key)}" for key in Shown.__slots__) + "\n")
    if len(listed.notices) < listed.total:
        typer.echo(f"These are the newest {len(listed.notices)} of {listed.total}.", err=True)


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="The notices' ids, or the first part of each.")] = None,
    all_parked: Annotated[bool, typer.Option("--all-parked", help="Every parked notice.")] = False,
    who: Who = "",
    why: Why = "",
) -> None:
    """Make notices due at once, as if they had just arrived. PortOne is asked again, and only its answer counts."""
    if bool(ids) == all_parked:
        raise CommandFailed("Name the notices to replay, or give --all-parked.")
    _require(why)
    with working("Making them due"):
        count = asyncio.run(_replay(ids or [], who or me(), why))
    typer.echo(f"{_notices(count)} looked at again.")


@app.command()
def dismiss(
    ids: Annotated[list[str] | None, typer.Argument(help="The notices' ids, or the first part of each.")] = None,
    store: Annotated[
        str, typer.Option(help="All of this account, or account/tier, that is in no setting; the oldest 1,000.")
    ] = "",
    who: Who = "",
    why: Why = "",
) -> None:
    """End parked notices that are nothing of yours, without a look. Money is found in PortOne's own list all the same.

    Example: portone-orders notices dismiss --store shop-b/abc --why "the other company's shop"
    """
    if bool(ids) == bool(store):
        raise CommandFailed("Name the notices to dismiss, or give --store.")
    _require(why)
    with working("Dismissing them"):
        count = asyncio.run(_dismiss(ids or [], store, who or me(), why))
    typer.echo(f"{_notices(count)} dismissed.")


def _require(why: str) -> None:
    if not why.strip():
        raise CommandFailed("Give a reason with --why: it is recorded.")


def _notices(count: int) -> str:
    return "1 notice is" if count == 1 else f"{count} notices are"


def _read(query: Callable[[Connection], Awaitable[Listed]]) -> Listed:
    async def read() -> Listed:
        async with open_databases() as databases:
            return await in_transaction(databases.pool, query)

    return asyncio.run(read())


async def _named(db: Connection, ids: Sequence[str]) -> list[UUID]:
    """Return the one notice that each text names."""
    named = []
    for text in ids:
        matching = await notice_list.ids_of(db, text)
        if len(matching) != 1:
            problem = "Several notices have ids that begin" if matching else "No notice has an id that begins"
            raise CommandFailed(f"{problem} with {text!r}: give a longer part, as `notices list` shows it.")
        named += matching
    return named


async def _replay(ids: Sequence[str], who: str, why: str) -> int:
    async with open_databases() as databases:
        named = await in_transaction(databases.pool, _named, ids) if ids else None
        replayed = await notice_replays.replay(databases.pool, databases.queue, named, who, why)
        if not replayed.queued:
            typer.echo("Redis is away: the notices are looked at once it is back.")
        return len(replayed.ids)


async def _dismiss(ids: Sequence[str], store: str, who: str, why: str) -> int:
    async with open_databases() as databases:
        return len(await in_transaction(databases.pool, _dismiss_named, ids, store, who, why))


async def _dismiss_named(db: Connection, ids: Sequence[str], store: str, who: str, why: str) -> list[UUID]:
    if store:
        return await dismissing.dismiss_of_store(db, dismissing.named_store(store), who, why)
    return await dismissing.dismiss(db, await _named(db, ids), who, why)


def _row(notice: Shown) -> tuple[str, ...]:
    received = f"{notice.received_at:%Y-%m-%d %H:%M:%S}"
    names = (notice.imp_uid, notice.merchant_uid or "-")
    return (
        str(notice.id),
        notice.source,
        *names,
        received,
        str(notice.tries),
        notice.last_outcome or "-",
        _payment(notice),
    )


def _payment(notice: Shown) -> str:
    """Return the payment as PortOne told it when the notice ended, and what has become of it since."""
    now = _told(notice.payment_status, notice.payment_amount, notice.payment_currency)
    then = _told(notice.then_status, notice.then_amount, notice.then_currency)
    if not then or then == now:
        return now or "not seen"
    return f"{then}, now {now}"


def _told(status: str | None, amount: int | None, currency: str | None) -> str:
    return f"{status} {money(amount, currency)}" if status and amount is not None and currency else ""
