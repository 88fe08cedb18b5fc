"""Read orders over HTTP: one, a list (`order list`), or some until they are settled (`order watch`)."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer

from cli.addresses import Addresses
from cli.ago import read_ago
from cli.calls import CallRefused, Server, service_at
from cli.errors import CommandFailed
from cli.exit_codes import ExitCode
from cli.order_page import money
from cli.output import AsJson, print_json, print_table, working
from service.domain.ids import can_stand_in_address
from service.domain.order import EXPIRES, ProblemKind, State
from service.settings import Settings

if TYPE_CHECKING:
    from portone_orders_client import Order, OrdersClient

_COLUMNS = ("merchant_uid", "state", "closed", "amount", "paid", "refunded", "payment", "problems", "changed")
_STYLES: dict[str, str] = {
    State.PAID: "green",
    State.MISMATCHED: "bold red",
    State.FAILED: "red",
    State.CANCELLED: "yellow",
    State.PARTIALLY_CANCELLED: "yellow",
}
_PAGE_MAX = 500


def list_orders(
    merchant_uids: Annotated[list[str] | None, typer.Argument(help="Only these.", metavar="[MERCHANT_UID]...")] = None,
    state: Annotated[list[State] | None, typer.Option(help="Only orders in this state; give one or more.")] = None,
    problem: Annotated[list[ProblemKind] | None, typer.Option(help="Only orders with this problem.")] = None,
    problems: Annotated[bool, typer.Option("--problems", help="Only orders with any problem.")] = False,
    since: Annotated[str, typer.Option(help="Only what changed since: 30m, 12h, 2d, or a time.")] = "",
    account: Annotated[str, typer.Option(help="Only orders of this PortOne account.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List orders, sorted by their number, or by their last change where --since is given.

    Example: portone-orders order list --state mismatched --since 2d
    """
    kinds = ["any"] if problems else problem or []
    query = {"merchant_uid": merchant_uids or [], "state": state or [], "problem": kinds}
    single = {"account": account, "updated_since": _time(since) if since else ""}
    service = service_at(Addresses.find(Settings.load()))
    with working("Reading orders"):
        orders, more = asyncio.run(read_list(service, {**query, **{k: v for k, v in single.items() if v}}, limit))
    if as_json:
        print_json({"orders": orders, "more": more})
        return
    print_table(_COLUMNS, map(_row, orders), _STYLES)
    if not orders:
        typer.echo("No order is like this.", err=True)
    elif more:
        typer.echo(f"These are the first {len(orders)}: --limit shows more.", err=True)


def order_path(merchant_uid: str) -> str:
    """Return the order's address. Raises CommandFailed for a number that can stand in none."""
    if not merchant_uid or not can_stand_in_address(merchant_uid):
        raise CommandFailed(f"No order has the number {merchant_uid!r}: it cannot stand in an address.")
    return f"/orders/{quote(merchant_uid, safe='')}"


async def read_order(service: Server, merchant_uid: str) -> dict[str, Any]:
    """Return the order as the service answers it. Raises CommandFailed if it is not registered."""
    try:
        return await service.call("GET", order_path(merchant_uid))
    except CallRefused as refused:
        if refused.status != 404:
            raise
        raise CommandFailed(f"No order is registered as {merchant_uid!r} at {service.url}.") from refused


async def read_list(service: Server, query: dict[str, Any], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the first orders of a list, and whether it may have more. A page may be short before the end."""
    orders: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None and len(orders) < limit:
        page_query = query | {"limit": min(_PAGE_MAX, limit - len(orders))} | ({"cursor": cursor} if cursor else {})
        page = await service.call("GET", f"/orders?{urlencode(page_query, doseq=True)}")
        orders += page["orders"]
        cursor = page["next"]
    return orders, cursor is not None


def _row(order: dict[str, Any]) -> tuple[str, ...]:
    currency = order["currency"]
    kinds = ",".join(problem["kind"] for problem in order["problems"])
    changed = f"{datetime.fromisoformat(order['updated_at']):%Y-%m-%d %H:%M:%S}"
    amounts = (money(order[name], currency) for name in ("amount", "paid_amount", "cancelled_amount"))
    return (
        *(order["merchant_uid"], order["state"], order["closed"] or "-"),
        *(*amounts, order["imp_uid"] or "-", kinds or "-", changed),
    )


def _time(since: str) -> str:
    """Return the time that is meant by 2d or by a time."""
    if ago := read_ago(since):
        return (datetime.now(UTC) - ago).isoformat()
    try:
        at = datetime.fromisoformat(since)
    except ValueError:
        raise CommandFailed(f"--since must be like 30m, 12h, 2d or 2026-11-27T09:00Z, not {since!r}.") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


def watch(
    merchant_uids: Annotated[list[str], typer.Argument(help="The orders.", metavar="MERCHANT_UID...")],
    seconds: Annotated[float, typer.Option("--for", min=0, help="Wait at most this many seconds; 0: no limit.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Print some orders, and again whenever one changes, until none waits for its buyer any more.

    The exit code is 0 if all may be delivered then, and 1 if one may not, or still waits when the time is up.

    Example: portone-orders order watch order-1 --for 60
    """
    service = service_at(Addresses.find(Settings.load()))
    deliverable = asyncio.run(watch_orders(service, merchant_uids, seconds or None, as_json=as_json))
    if not deliverable:
        raise typer.Exit(ExitCode.FAILED)


async def watch_orders(service: Server, merchant_uids: Sequence[str], seconds: float | None, *, as_json: bool) -> bool:
    """Print each order at once and at each change. Return whether all may be delivered at the end."""
    from portone_orders_client import OrdersClient

    for merchant_uid in merchant_uids:  # says in a sentence what keeps it from watching
        await read_order(service, merchant_uid)
    async with OrdersClient(service.url, service.key) as orders:
        last: dict[str, Order] = {}
        watching = [_watch(orders, merchant_uid, last, as_json=as_json) for merchant_uid in merchant_uids]
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*watching)
        except TimeoutError:
            waiting = [name for name in merchant_uids if name not in last or _waits(last[name])]
            typer.echo(f"The time is up, and {', '.join(waiting)} still waits.", err=True)
            return False
        return all(order.is_deliverable for order in last.values())


async def _watch(orders: "OrdersClient", merchant_uid: str, last: "dict[str, Order]", *, as_json: bool) -> None:
    """Print the order, and again at each change, for as long as it waits for its buyer."""
    order: Order | None = await orders.read(merchant_uid)
    while True:
        if order is not None:
            last[merchant_uid] = order
            _show(order, as_json=as_json)
        if not _waits(last[merchant_uid]):
            return
        order = await orders.wait(last[merchant_uid])


def _waits(order: "Order") -> bool:
    """Return whether the order waits for its buyer."""
    return order.state in EXPIRES and order.closed is None


def _show(order: "Order", *, as_json: bool) -> None:
    if as_json:
        print_json(order)
        return
    closed = f", closed: {order.closed}" if order.closed else ""
    kinds = "".join(f", {problem.kind}" for problem in order.problems)
    amounts = f"{money(order.paid_amount, order.currency)} of {money(order.amount, order.currency)}"
    at = f"{order.updated_at:%Y-%m-%d %H:%M:%S %Z}"
    typer.echo(f"{at}  {order.merchant_uid}  version {order.version}: {order.state}{closed}, {amounts}{kinds}")
