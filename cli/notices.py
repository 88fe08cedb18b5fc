"""`portone-orders notices`: list, show and replay notices."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CommandFailed
from cli.operator import Who, Why, me, open_databases
from service.db import notice_list, operator_actions
from service.db.notice_list import Shown
from service.db.pool import Connection, in_transaction
from service.errors import RedisUnavailable

app = typer.Typer(help="List the parked or the open notices, show them, and replay them.")

Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")]


@app.command("list")
def list_notices(
    still_open: Annotated[bool, typer.Option("--open", help="List the open notices instead.")] = False,
    limit: Limit = 50,
) -> None:
    """List the parked notices with their reasons, the longest parked first."""
    query = notice_list.waiting if still_open else notice_list.parked
    notices = asyncio.run(_read(lambda db: query(db, limit)))
    Console().print(_table(notices) if notices else f"No notice is {'open' if still_open else 'parked'}.")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A notice's id, or a payment's imp_uid.")]) -> None:
    """Show the notices about a payment, with the payment as stored."""
    notices = asyncio.run(_read(lambda db: notice_list.about(db, name, 100)))
    if not notices:
        raise CommandFailed(f"No notice is known by the id or imp_uid {name!r}.")
    for notice in notices:
        typer.echo("\n".join(f"{key}: {getattr(notice, key)}" for key in Shown.__slots__) + "\n")


@app.command()
def replay(
    ids: Annotated[list[UUID] | None, typer.Argument(help="The notices' ids.")] = None,
    all_parked: Annotated[bool, typer.Option("--all-parked", help="Every parked notice.")] = False,
    who: Who = "",
    why: Why = "",
) -> None:
    """Make notices due at once, as if they had just arrived. PortOne is asked again, and only its answer counts."""
    if bool(ids) == all_parked:
        raise CommandFailed("Name the notices to replay, or give --all-parked.")
    if not why.strip():
        raise CommandFailed("Give a reason with --why: it is recorded.")
    typer.echo(f"{asyncio.run(_replay(ids or [], who or me(), why))} notices will be looked at again.")


async def _read(query: Callable[[Connection], Awaitable[list[Shown]]]) -> list[Shown]:
    async with open_databases() as databases:
        return await in_transaction(databases.pool, query)


async def _replay(ids: list[UUID], who: str, why: str) -> int:
    async def replay_and_record(db: Connection) -> list[UUID]:
        named = ids or [notice.id for notice in await notice_list.parked(db, 1_000)]
        replayed = await notice_list.replay(db, named)
        await operator_actions.append(db, who, why, "notices.replay", [str(notice_id) for notice_id in replayed])
        return replayed

    async with open_databases() as databases:
        replayed = await in_transaction(databases.pool, replay_and_record)
        try:
            for start in range(0, len(replayed), 100):
                await databases.queue.put(replayed[start : start + 100])
        except RedisUnavailable:
            typer.echo("Redis is away: the notices are looked at once it is back.")
        return len(replayed)


def _table(notices: list[Shown]) -> Table:
    table = Table("id", "from", "imp_uid", "merchant_uid", "received", "tries", "outcome", "payment")
    for row in notices:
        look = f"{row.payment_status} {row.payment_amount} {row.payment_currency}" if row.payment_status else "not seen"
        received = f"{row.received_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            str(row.id), row.source, row.imp_uid, row.merchant_uid or "", received, str(row.tries),
            row.last_outcome or "", look,
        )  # fmt: skip
    return table
