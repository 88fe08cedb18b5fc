"""`portone-orders notices`: what was said, how it ended, and again, please."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CommandFailed
from cli.operator import Who, Why, desk, me
from service.db import notice_list, operator_actions
from service.db.notice_list import Shown
from service.db.pool import Connection, in_transaction
from service.errors import RedisUnavailable

app = typer.Typer(help="The notices: those that wait for a person, those still open, and replaying them.")

Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many at the most.")]


@app.command("list")
def list_notices(
    still_open: Annotated[bool, typer.Option("--open", help="Those still open instead of those parked.")] = False,
    limit: Limit = 50,
) -> None:
    """List the parked notices with their reasons, the longest parked first."""
    ask = notice_list.waiting if still_open else notice_list.parked
    found = asyncio.run(_find(lambda db: ask(db, limit)))
    Console().print(_table(found) if found else f"No notice is {'open' if still_open else 'parked'}.")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A notice's id, or a payment's imp_uid.")]) -> None:
    """Show the notices about a payment, with what was seen of it."""
    found = asyncio.run(_find(lambda db: notice_list.about(db, name, 100)))
    if not found:
        raise CommandFailed(f"No notice is known by the id or imp_uid {name!r}.")
    for notice in found:
        typer.echo("\n".join(f"{key}: {getattr(notice, key)}" for key in Shown.__slots__) + "\n")


@app.command()
def replay(
    ids: Annotated[list[UUID] | None, typer.Argument(help="The notices' ids.")] = None,
    all_parked: Annotated[bool, typer.Option("--all-parked", help="Every parked notice.")] = False,
    who: Who = "",
    why: Why = "",
) -> None:
    """Make notices due at once, as if they had just come. PortOne is asked again; nothing else is believed."""
    if bool(ids) == all_parked:
        raise CommandFailed("Name the notices to replay, or give --all-parked.")
    if not why.strip():
        raise CommandFailed("Say why, with --why: it is written down.")
    typer.echo(f"{asyncio.run(_replay(ids or [], who or me(), why))} notices will be looked at again.")


async def _find(ask: Callable[[Connection], Awaitable[list[Shown]]]) -> list[Shown]:
    async with desk() as at:
        return await in_transaction(at.pool, ask)


async def _replay(ids: list[UUID], who: str, why: str) -> int:
    async def again(db: Connection) -> list[UUID]:
        named = ids or [notice.id for notice in await notice_list.parked(db, 1_000)]
        replayed = await notice_list.replay(db, named)
        await operator_actions.append(db, who, why, "notices.replay", [str(one) for one in replayed])
        return replayed

    async with desk() as at:
        replayed = await in_transaction(at.pool, again)
        try:
            for start in range(0, len(replayed), 100):
                await at.queue.put(replayed[start : start + 100])
        except RedisUnavailable:
            typer.echo("Redis is away: the notices are looked at once it is back.")
        return len(replayed)


def _table(found: list[Shown]) -> Table:
    table = Table("id", "from", "imp_uid", "merchant_uid", "received", "tries", "outcome", "payment")
    for one in found:
        seen = f"{one.payment_status} {one.payment_amount} {one.payment_currency}" if one.payment_status else "not seen"
        received = f"{one.received_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            str(one.id), one.source, one.imp_uid, one.merchant_uid or "", received, str(one.tries),
            one.last_outcome or "", seen,
        )  # fmt: skip
    return table
