"""`portone-orders endpoints`: set up, look at and test the endpoints that are told of each change."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from uuid import uuid4

import typer

from cli.endpoint_lines import attempt_line, endpoint_line, endpoint_lines
from cli.errors import CommandFailed
from cli.operator import Who, Why, me, open_databases
from cli.output import AsJson, print_json, working
from service.db import endpoints, operator_actions
from service.db.endpoints import WebhookEndpoint
from service.db.pool import Connection, in_transaction
from service.domain.delivery import DeliveryAttempt
from service.domain.event_type import EVENT_TYPES
from service.domain.feed_cursor import cursor_of, read_cursor
from service.domain.signing import SECRET_BYTES, secret_of, signed_headers
from service.outgoing.sender import Sender, UnusableUrl, check_url
from service.usecases import endpoint_changes, replaying
from service.usecases.endpoint_turn import message_of_test

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="The endpoint's name.")]
Result = TypeVar("Result")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_OLD_SECRET_LIVES = timedelta(days=1)
_KEEP = "Keep the secret now, for the receiver's library of Standard Webhooks: it is never shown again."


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name for it, such as `warehouse`.")],
    url: Annotated[str, typer.Argument(help="Where to POST each event: an https URL.")],
    types: Annotated[str, typer.Option(help="Only events of these types, comma-separated; else of every type.")] = "",
    oldest: Annotated[bool, typer.Option("--oldest", help="Tell it of everything since the beginning.")] = False,
    who: Who = "",
    why: Why = "set up by hand",
) -> None:
    """Add an endpoint, and print the secret that its receiver verifies webhooks with.

    It is told of what changes from now on.

    Example: portone-orders endpoints add warehouse https://warehouse.example/hooks --types order.paid,order.cancelled
    """
    wanted = _types(types)
    if not _NAME.fullmatch(name):
        raise CommandFailed("A name has lower-case letters, digits, - and _, and at most 63 of them.")
    secret = _new_secret()

    async def insert(db: Connection) -> None:
        if not await endpoints.add(db, name, url, wanted, secret, oldest=oldest):
            raise CommandFailed(f"There is an endpoint {name!r} already.")
        await operator_actions.append(db, who or me(), why, "endpoints.add", [name])

    asyncio.run(_in_database(insert, url=url))
    typer.echo(f"Added {name}. {_KEEP}")
    typer.echo(secret)


@app.command("list")
def list_endpoints(as_json: AsJson = False) -> None:
    """Print a line for each endpoint: its state, what it got, and what it has not got yet."""
    rows = asyncio.run(_in_database(endpoints.read))
    if as_json:
        print_json({"endpoints": rows})
        return
    typer.echo("\n".join(map(endpoint_line, rows)) or "There are no endpoints: add one with `endpoints add`.")


@app.command()
def show(
    name: Name,
    attempts: Annotated[int, typer.Option(min=0, max=10_000, help="At most this many attempts.")] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="Show only attempts that failed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print an endpoint and its newest attempts, the newest first. Secrets are never shown."""

    async def read(db: Connection) -> tuple[WebhookEndpoint, list[endpoints.ShownAttempt]]:
        return await _one(db, name), await endpoints.attempts(db, name, attempts, failed=failed)

    endpoint, shown = asyncio.run(_in_database(read))
    if as_json:
        print_json({"endpoint": endpoint, "attempts": shown})
        return
    typer.echo("\n".join([*endpoint_lines(endpoint), *map(attempt_line, shown)]))


@app.command()
def disable(name: Name, who: Who = "", why: Why = "disabled by hand") -> None:
    """Send an endpoint nothing more. It keeps its place, so that `enable` misses nothing."""
    asyncio.run(_change(name, "endpoints.disable", who, why, lambda db: endpoints.disable(db, name)))
    typer.echo(f"{name} is disabled. A delivery that is under way may still arrive.")


@app.command()
def enable(name: Name, who: Who = "", why: Why = "enabled by hand") -> None:
    """Send an endpoint everything that it has missed, and what comes."""
    asyncio.run(_change(name, "endpoints.enable", who, why, lambda db: endpoints.enable(db, name)))
    typer.echo(f"{name} is enabled, and gets what it has missed.")


@app.command()
def rotate(
    name: Name,
    now: Annotated[bool, typer.Option("--now", help="End the old secret at once, because others may know it.")] = False,
    who: Who = "",
    why: Why = "rotated by hand",
) -> None:
    """Give an endpoint a new secret and print it. The old one signs beside it for a day."""
    secret = _new_secret()

    async def replace_secret(db: Connection) -> None:
        if not await endpoints.rotate(db, name, secret, timedelta() if now else _OLD_SECRET_LIVES):
            raise CommandFailed(f"Two secrets of {name} live already: wait until the older ends, or give --now.")

    asyncio.run(_change(name, "endpoints.rotate", who, why, replace_secret))
    typer.echo(("The old secret has ended. " if now else "The old secret signs for another day. ") + _KEEP)
    typer.echo(secret)


@app.command()
def replay(
    name: Name,
    first: Annotated[
        str, typer.Option("--from", help="The first event: its id (evt_…), or a time such as 2026-11-27T09:00Z.")
    ],
    last: Annotated[str, typer.Option("--to", help="The last event: its id (evt_…), or a time; else the newest.")] = "",
    who: Who = "",
    why: Why = "replayed by hand",
) -> None:
    """Send a range of events again, under their ids of before.

    Each order in the range is sent from its first event there to its newest, so that none ends with an old one.
    """

    async def its_range(db: Connection) -> tuple[int, int]:
        begin, end = await _event(db, first), await _event(db, last) if last else await endpoints.newest(db)
        if last and begin > end:
            raise CommandFailed(f"The range is empty: {first} comes after {last}.")
        return begin, end

    begin, end = asyncio.run(_change(name, "endpoints.replay", who, why, its_range))
    with working("Making its events due"):
        count = asyncio.run(_replay(name, begin, end))
    if not count:
        typer.echo(f"Nothing is sent again: {name} was told of no event of its types in this range.")
        return
    events = "1 event is" if count == 1 else f"{count} events are"
    typer.echo(f"{events} sent again to {name}, with what followed in their orders.")


async def _replay(name: str, begin: int, end: int) -> int:
    async with open_databases() as databases:
        return await replaying.replay(databases.pool, name, begin, end)


@app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    who: Who = "",
    why: Why = "removed by hand",
) -> None:
    """Remove an endpoint for good, with its secrets and its log. What it has not got yet is never sent to it.

    `disable` keeps all that.
    """
    asyncio.run(_in_database(lambda db: _one(db, name)))
    if not yes:
        typer.confirm(f"Remove {name}? What it has not got yet is never sent to it.", abort=True)
    asyncio.run(_change(name, "endpoints.remove", who, why, lambda db: endpoints.remove(db, name)))
    typer.echo(f"{name} is removed. A delivery that is under way may still arrive.")


@app.command()
def test(name: Name) -> None:
    """Send an endpoint an event of the type `endpoint.test` from here, and print what it answers."""
    with working("Waiting for its answer"):
        attempt = asyncio.run(_test(name))
    seconds = f"in {attempt.seconds * 1000:.0f} ms"
    if not attempt.is_delivered:
        what = f"answered {attempt.status} {seconds}" if attempt.status else f"gave no answer {seconds}"
        raise CommandFailed(f"{name} {what}: {attempt.failure or 'no text'}")
    typer.echo(f"{name} answered {attempt.status} {seconds}.")


async def _test(name: str) -> DeliveryAttempt:
    at, message_id = datetime.now(UTC), f"test_{uuid4().hex}"
    body = message_of_test(message_id, at)
    async with open_databases() as databases:
        settings = databases.settings
        endpoint = await in_transaction(databases.pool, _one, name)
        live = await in_transaction(databases.pool, endpoints.secrets, name)
        sender = Sender(settings.endpoint_timeout_seconds, private=settings.endpoints_in_private_networks)
        try:
            headers = signed_headers(live, message_id, int(at.timestamp()), body)
            attempt = await sender.send(endpoint.url, headers, body)
        finally:
            await sender.close()
        await in_transaction(databases.pool, endpoints.log_test, name, at, attempt)
        return attempt


async def _change(
    name: str, action: str, who: str, why: str, change: Callable[[Connection], Awaitable[Result]]
) -> Result:
    """Change an endpoint that exists, and record who did it and why."""

    async def change_and_record(db: Connection) -> Result:
        await _one(db, name)
        return await endpoint_changes.recorded(db, name, action, who or me(), why, change)

    return await _in_database(change_and_record)


async def _in_database(work: Callable[[Connection], Awaitable[Result]], url: str | None = None) -> Result:
    """Do the work in a transaction. Raises CommandFailed first, if webhooks may not be sent to the URL."""
    async with open_databases() as databases:
        if url is not None:
            try:
                check_url(url, private=databases.settings.endpoints_in_private_networks)
            except UnusableUrl as error:
                raise CommandFailed(f"The URL cannot be used: {error}.") from None
        return await in_transaction(databases.pool, work)


async def _one(db: Connection, name: str) -> WebhookEndpoint:
    named = await endpoints.read(db, [name])
    if not named:
        raise CommandFailed(f"There is no endpoint {name!r}: see `portone-orders endpoints list`.")
    return named[0]


async def _event(db: Connection, text: str) -> int:
    """Return the number of the event that a text names, by its id or by a time."""
    if (event_id := read_cursor(text)) is not None:
        if not await endpoints.has_event(db, event_id):
            raise CommandFailed(f"There is no event {text}. The newest is {cursor_of(await endpoints.newest(db))}.")
        return event_id
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"Give an event's id (evt_…), or a time such as 2026-11-27T09:00Z, not {text!r}.") from None
    return await endpoints.event_at(db, at if at.tzinfo else at.replace(tzinfo=UTC))


def _types(text: str) -> Sequence[str]:
    types = [part for part in (part.strip() for part in text.split(",")) if part]
    if unknown := [name for name in types if name not in EVENT_TYPES]:
        raise CommandFailed(f"No event has the type {unknown[0]!r}. The types are {', '.join(EVENT_TYPES)}.")
    return types


def _new_secret() -> str:
    return secret_of(secrets.token_bytes(SECRET_BYTES))
