"""`portone-orders problems`: list the open problems, refund or accept a payment, or resolve its problems."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.errors import CommandFailed
from cli.output import AsJson, print_json, working
from cli.problem_lines import problem_line
from cli.settings_source import load_settings
from service.settings import Settings

if TYPE_CHECKING:
    from service.db.orders import StoredOrder
    from service.db.pool import Pool
    from service.db.problems import OpenProblem, Page

problems = typer.Typer(
    name="problems",
    help="List payments with problems, have them refunded, accept them, or leave them as they are.",
    no_args_is_help=True,
)

ImpUid = Annotated[str, typer.Argument(help="The payment, as `problems list` names it.", metavar="IMP_UID")]
Who = Annotated[str, typer.Option(help="Who decides this: a name that others will recognise.")]
Why = Annotated[str, typer.Option(help="The reason, in a few words; both are kept forever.")]
Result = TypeVar("Result")


@problems.command("list")
def list_problems(
    foreign: Annotated[bool, typer.Option("--foreign", help="List money of unregistered orders instead.")] = False,
    resolved: Annotated[bool, typer.Option("--resolved", help="Also list what a person has resolved.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 1_000,
    after: Annotated[str, typer.Option(help="With --foreign: go on after this imp_uid.")] = "",
    number: Annotated[str, typer.Option(help="With --foreign: only order numbers that begin so.")] = "",
    since: Annotated[datetime | None, typer.Option(help="With --foreign: only payments begun since (UTC).")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the open problems of our orders: the money held, the state of a refund, and who has resolved them.

    Money of orders that nobody registered is only counted here, and listed by --foreign, as far as ORDER_PREFIXES and
    PAYMENTS_SINCE let it be ours.

    Example: portone-orders problems list --foreign --number shop- --limit 100
    """
    from service.db.problems import Page

    settings = load_settings()
    page = Page(limit, after, number, since.replace(tzinfo=UTC) if since else None)
    if not foreign and page != Page(limit):
        raise CommandFailed("--after, --number and --since narrow the list that --foreign prints: add --foreign.")
    what = page if foreign else limit
    with working("Reading problems"):
        rows, total, others = _with_pool(settings, lambda pool: _listed(pool, settings, what, resolved=resolved))
    if as_json:
        print_json({"problems": rows, "total": total, "unregistered_payments": others})
        return
    typer.echo("\n".join(problem_line(problem) for problem in rows) or _NONE[foreign])
    if len(rows) == limit and total > limit:
        more = f"--after {rows[-1].imp_uid} goes on" if foreign else "--limit shows more"
        typer.echo(f"These are {len(rows)} of {total}: {more}.", err=True)
    if others and not foreign:
        typer.echo(f"Beside these, {_payments(others)} money of unregistered orders: see --foreign.", err=True)


_NONE = {False: "There are no open problems.", True: "There is no such money of unregistered orders."}


def _payments(count: int) -> str:
    return "1 payment holds" if count == 1 else f"{count} payments hold"


async def _listed(
    pool: "Pool", settings: Settings, what: "Page | int", *, resolved: bool
) -> "tuple[list[OpenProblem], int, int]":
    """Return the list, how many there are of its kind, and how many payments hold money of unregistered orders."""
    from service.db import problems
    from service.db.pool import Connection, in_transaction
    from service.db.promise import PROBLEMS_COUNTED_MAX

    async def read(db: Connection) -> "tuple[list[OpenProblem], int, int]":
        counts = await problems.count(db, settings.ours, PROBLEMS_COUNTED_MAX)
        others = counts.unregistered_payments
        if isinstance(what, int):
            return await problems.of_orders(db, what, resolved=resolved), counts.open_problems, others
        return await problems.unregistered(db, settings.ours, what, resolved=resolved), others, others

    return await in_transaction(pool, read)


@problems.command()
def refund(imp_uid: ImpUid, who: Who, why: Why) -> None:
    """Have a payment's whole remaining balance refunded by a worker, whatever the policy (`ON_…`) says.

    As an automatic refund, it is sent once, after a fresh look, 10 minutes after the problem was found or later.
    """
    from service.domain.timetable import Timetable
    from service.usecases.refund_intents import Intents

    settings, (who, why) = load_settings(), _require(who, why)
    times = Timetable().scaled(settings.time_scale)
    recorded = _with_pool(
        settings,
        lambda pool: Intents(
            pool, accounts=settings.accounts.keys(), allow_test_channel=settings.allow_test_channel, times=times
        ).intend_by_person(imp_uid, who, why),
    )
    typer.echo(
        f"Recorded: {imp_uid} of {recorded.merchant_uid} is to be refunded ({', '.join(recorded.kinds)}). A worker "
        f"asks PortOne after {recorded.due_at:%Y-%m-%d %H:%M:%S %Z}, if the payment is still the same."
    )


@problems.command()
def accept(imp_uid: ImpUid, who: Who, why: Why) -> None:
    """Keep a payment as it is: its amount becomes the order's, and the order is open again if it was closed.

    Only a payment of another amount, or of a closed order, can be kept so. A refund that was not sent is withdrawn.
    """
    settings, (who, why) = load_settings(), _require(who, why)
    order = _with_pool(settings, lambda pool: _accept(pool, imp_uid, who, why, settings))
    now = f"{order.settlement.state} (version {order.version})"
    typer.echo(f"Accepted: {imp_uid} of {order.terms.merchant_uid}, which is {now}.")


async def _accept(pool: "Pool", imp_uid: str, who: str, why: str, settings: Settings) -> "StoredOrder":
    from service.redis.queue import Queue, connect
    from service.usecases import acceptance
    from service.usecases.announcing import announce

    word = acceptance.Acceptance(imp_uid, who, why)
    accepted = await acceptance.accept_payment(pool, word, allow_test_channel=settings.allow_test_channel)
    if redis_url := settings.redis_url.get_secret_value():
        queue = Queue(connect(redis_url))
        await announce(queue, [accepted.order.terms.merchant_uid])
        await queue.close()
    return accepted.order


@problems.command()
def resolve(imp_uid: ImpUid, who: Who, why: Why) -> None:
    """Mark a payment's problems as seen and leave them as they are. No policy refunds the payment any more."""
    who, why = _require(who, why)
    from service.usecases import resolving

    rows = _with_pool(load_settings(), lambda pool: resolving.resolve(pool, imp_uid, who, why))
    if not rows:
        raise CommandFailed(f"{imp_uid} has no open problem: see `portone-orders problems list`.")
    typer.echo("\n".join(f"Resolved: {problem.kind} of {imp_uid}, {problem.merchant_uid or '-'}" for problem in rows))


def _require(who: str, why: str) -> tuple[str, str]:
    if not (who.strip() and why.strip()):
        raise CommandFailed("Give --who and --why: neither may be empty.")
    return who.strip(), why.strip()


def _with_pool(settings: Settings, work: "Callable[[Pool], Awaitable[Result]]") -> Result:
    return asyncio.run(_run(settings.require("database_url").database_url.get_secret_value(), work))


async def _run(database_url: str, work: "Callable[[Pool], Awaitable[Result]]") -> Result:
    from service.db.pool import open_pool
    from service.errors import NotAcceptable, NotRefundable, OrderNotRegistered

    pool = await open_pool(database_url, 1)
    try:
        return await work(pool)
    except (NotRefundable, NotAcceptable, OrderNotRegistered) as error:
        raise CommandFailed(str(error)) from error
    finally:
        await pool.close()
