"""`portone-orders problems`: list the open problems, refund or accept a payment, or resolve its problems."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.errors import CommandFailed
from cli.settings_source import load_settings
from service.settings import Settings

if TYPE_CHECKING:
    from service.db.orders import StoredOrder
    from service.db.pool import Pool
    from service.db.problems import OpenProblem

problems = typer.Typer(
    name="problems",
    help="List payments with problems, have them refunded, accept them, or leave them as they are.",
    no_args_is_help=True,
)

_SHOWN_MAX = 1_000

ImpUid = Annotated[str, typer.Argument(help="The payment, as `problems list` names it.", metavar="IMP_UID")]
Who = Annotated[str, typer.Option(help="Who decides this: a name that others will recognise.")]
Why = Annotated[str, typer.Option(help="The reason, in a few words; both are kept forever.")]
Result = TypeVar("Result")


@problems.command("list")
def list_problems() -> None:
    """Print the open problems: the money held, the state of a refund, and who has resolved them."""
    from service.db.pool import in_transaction
    from service.db.problems import open_problems

    rows = _with_pool(load_settings(), lambda pool: in_transaction(pool, lambda db: open_problems(db, _SHOWN_MAX)))
    typer.echo("\n".join(_line(problem) for problem in rows) or "There are no open problems.")
    if len(rows) == _SHOWN_MAX:
        typer.echo(f"These are the first {_SHOWN_MAX}; there may be more.")


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
    order = _with_pool(settings, lambda pool: _accept(pool, imp_uid, who, why, settings.allow_test_channel))
    now = f"{order.settlement.state} (version {order.version})"
    typer.echo(f"Accepted: {imp_uid} of {order.terms.merchant_uid}, which is {now}.")


async def _accept(pool: "Pool", imp_uid: str, who: str, why: str, allow_test_channel: bool) -> "StoredOrder":
    from service.db import payments
    from service.db.pool import in_transaction
    from service.usecases import acceptance

    payment = await in_transaction(pool, payments.one, imp_uid)
    if payment is None:
        raise CommandFailed(f"No payment is stored as {imp_uid!r}.")
    word = acceptance.Acceptance(imp_uid, who, why)
    accepted = await acceptance.accept(pool, payment.merchant_uid, None, word, allow_test_channel=allow_test_channel)
    return accepted.order


@problems.command()
def resolve(imp_uid: ImpUid, who: Who, why: Why) -> None:
    """Mark a payment's problems as seen and leave them as they are. No policy refunds the payment any more."""
    who, why = _require(who, why)
    rows = _with_pool(load_settings(), lambda pool: _resolve(pool, imp_uid, who, why))
    if not rows:
        raise CommandFailed(f"{imp_uid} has no open problem: see `portone-orders problems list`.")
    typer.echo("\n".join(f"Resolved: {problem.kind} of {imp_uid}, {problem.merchant_uid}" for problem in rows))


async def _resolve(pool: "Pool", imp_uid: str, who: str, why: str) -> "list[OpenProblem]":
    from service.db import operator_actions
    from service.db.pool import Connection, in_transaction
    from service.db.problems import open_problems
    from service.db.problems import resolve as write

    async def work(db: Connection) -> "list[OpenProblem]":
        rows = await open_problems(db, _SHOWN_MAX, imp_uid)
        await write(db, rows, who, why)
        await operator_actions.append(db, who, why, "problems.resolve", [imp_uid] if rows else [])
        return rows

    return await in_transaction(pool, work)


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


def _line(problem: "OpenProblem") -> str:
    from service.domain.money import to_major

    parts = [problem.kind, problem.merchant_uid, problem.imp_uid]
    if problem.held is not None and problem.currency is not None:
        parts.append(f"holds {to_major(problem.held, problem.currency)} {problem.currency}")
    if problem.refund_state is not None:
        parts.append(f"refund {problem.refund_state}: {problem.refund_note}")
    if problem.resolved_at is not None:
        parts.append(f"resolved {problem.resolved_at:%Y-%m-%d %H:%M} by {problem.resolved_who}: {problem.resolved_why}")
    return "  ".join(parts)
