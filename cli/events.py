"""`portone-orders events`: follow the feed of changes, as another service would."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.addresses import Addresses
from cli.calls import Server, service_at
from cli.errors import CommandFailed
from cli.order_page import money
from cli.output import AsJson, print_json
from service.domain.event_type import EVENT_TYPES
from service.domain.feed_cursor import read_cursor
from service.domain.order import State
from service.settings import Settings

if TYPE_CHECKING:
    from portone_orders_client import Event

app = typer.Typer(help="Follow the changes of all orders.", no_args_is_help=True)

CursorFile = Annotated[
    Path | None, typer.Option(help="Keep the place in this file, and go on there: nothing is missed.")
]
Start = Annotated[str, typer.Option("--from", help="Where to begin: now, oldest, or behind an event's id (evt_…).")]
AtMost = Annotated[int, typer.Option(min=0, help="End after this many events; 0: never.")]


@dataclass(frozen=True, slots=True)
class EventWish:
    """The events that are wanted: whose and which, from where on, and how many. Empty filters: all."""

    start: str = "now"
    cursor: Path | None = None
    limit: int = 0
    filters: dict[str, Sequence[str]] = field(default_factory=dict)


def _types(incomplete: str) -> list[str]:
    return [name for name in EVENT_TYPES if name.startswith(incomplete)]


@app.command()
def follow(
    orders: Annotated[
        list[str] | None, typer.Option("--order", help="Only events of this order; give one or more.")
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only events of this type, such as order.paid.", autocompletion=_types),
    ] = None,
    state: Annotated[list[State] | None, typer.Option(help="Only events with this state.")] = None,
    start: Start = "now",
    cursor: CursorFile = None,
    limit: AtMost = 0,
    as_json: AsJson = False,
) -> None:
    """Print each event of the feed as it comes, one a line, until Ctrl-C ends it; with --json one object a line.

    With --cursor it goes on behind the last event that was printed, also after a crash or a restart of the service.

    Example: portone-orders events follow --type order.paid --cursor paid.cursor --json
    """
    if unknown := [name for name in types or [] if name not in EVENT_TYPES]:
        raise CommandFailed(f"No event has the type {unknown[0]!r}. The types are {', '.join(EVENT_TYPES)}.")
    filters: dict[str, Sequence[str]] = {"merchant_uid": orders or [], "type": types or [], "state": state or []}
    run_follow(EventWish(start, cursor, limit, filters), as_json=as_json)


def run_follow(wanted: EventWish, *, as_json: bool) -> None:
    """Print the wanted events until Ctrl-C or their limit."""
    if wanted.start not in ("now", "oldest") and read_cursor(wanted.start) is None:
        raise CommandFailed(f"--from must be now, oldest or an event's id (evt_…), not {wanted.start!r}.")
    service = service_at(Addresses.find(Settings.load()))
    asyncio.run(follow_events(service, wanted, print_json if as_json else _print_line))


async def follow_events(service: Server, wanted: EventWish, show: "Callable[[Event], None]") -> None:
    """Show events until it is cancelled, or their limit. Raises CommandFailed if the service does not answer at first.

    An event is saved as read once the next is asked for, so after a crash the last one is shown again.
    """
    from portone_orders_client import FileCursor, MemoryCursor, OrdersClient

    newest = await service.call("GET", "/events?after=now")
    store = FileCursor(wanted.cursor) if wanted.cursor else MemoryCursor()
    start = {"now": str(newest["next"]), "oldest": None}.get(wanted.start, wanted.start)
    async with OrdersClient(service.url, service.key) as orders:
        left = wanted.limit
        async for event in orders.follow(store, start=start, **wanted.filters):
            show(event)
            left -= 1
            if not left:
                await store.save(event.id)
                return


def event_line(event: "Event") -> str:
    """Return an event as one line."""
    what = f"{event.type}, version {event.version}: {event.state}, {money(event.amount, event.currency)}"
    return f"{event.at:%Y-%m-%d %H:%M:%S %Z}  {event.merchant_uid}  {what}"


def _print_line(event: "Event") -> None:
    typer.echo(event_line(event))
