"""The page of orders, and the search for one: number, imp_uid, state, problem, amount, day."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from service.db import notice_list, order_list, order_search
from service.db.order_list import Filters
from service.db.order_search import FoundOrder, OrderSearch
from service.db.pool import Connection
from service.domain.order import EXPIRES, ProblemKind, State
from service.http.console.queries import amount, choice, day, moment, whole_number
from service.http.console.visits import Visit, go_to

_ROWS = 50
# The orders that Today's tile counts: not closed, and in a state to which money may still come.
WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class FoundOrders:
    """A page of orders, the query of the next page, and the time back to which was looked."""

    orders: list[FoundOrder]
    more: dict[str, object]
    back_to: Any = None


async def show_orders(visit: Visit) -> web.StreamResponse:
    """Show orders by their last change, or what a search finds.

    Of a number or an imp_uid it is the order itself, and of notices that name no order the notices.
    """
    query = visit.request.query
    text = query.get("q", "").strip()
    if text and not query.get("after"):
        named = await visit.receiver.console.ask(order_search.named, text)
        if len(named) == 1:
            return go_to("/console/order", number=named[0])
        if named:
            found = FoundOrders(await visit.receiver.console.ask(order_search.of_numbers, named), {})
            return _page(visit, found)
    found = await visit.receiver.console.read(_search, visit, text)
    if text and not (found.orders or found.more or query.get("after")):
        notices = await visit.receiver.console.ask(notice_list.known_by, text, 1)
        if notices:
            return go_to("/console/notices", about=text)
    return _page(visit, found)


async def _search(db: Connection, visit: Visit, text: str) -> FoundOrders:
    query = visit.request.query
    problem = choice(query, "problem", ("any", *ProblemKind))
    if text:
        return _walked(await order_search.numbered(db, text, query.get("after", ""), _ROWS))
    if problem:
        return await _with_problems(db, visit, problem)
    wanted, currency = amount(query.get("amount", "")) or (None, None)
    search = OrderSearch(
        states=_states(query),
        amount=wanted,
        currency=currency,
        since=moment(query.get("since", "")) or day(query.get("from", "")),
        until=day(query.get("to", ""), end=True),
        open_only=query.get("state") == WAITING,
        became=choice(query, "became", State),
    )
    page = await order_search.newest(db, search, whole_number(query.get("before", "")), _ROWS)
    return FoundOrders(page.orders, {"before": page.next} if page.next else {}, page.back_to)


async def _with_problems(db: Connection, visit: Visit, problem: str) -> FoundOrders:
    query = visit.request.query
    closed = ["none"] if query.get("state") == WAITING else None
    filters = Filters(states=_states(query), closed=closed, problems=[] if problem == "any" else [problem])
    walked = await order_list.walk(db, filters, query.get("after", ""), _ROWS)
    orders = await order_search.of_numbers(db, walked.merchant_uids)
    if wanted := amount(query.get("amount", "")):
        orders = [one for one in orders if one.amount == wanted[0] and wanted[1] in (None, one.currency)]
    return FoundOrders(orders, {"after": walked.next} if walked.next else {})


def _states(query: Mapping[str, str]) -> list[str] | None:
    """Return the states that are wanted. An order that waits for money has one of several, and is not closed."""
    if query.get("state") == WAITING:
        return sorted(EXPIRES)
    state = choice(query, "state", State)
    return [state] if state else None


def _walked(orders: list[FoundOrder]) -> FoundOrders:
    return FoundOrders(orders, {"after": orders[-1].merchant_uid} if len(orders) == _ROWS else {})


def _page(visit: Visit, found: FoundOrders) -> web.StreamResponse:
    query = visit.request.query
    asked = {name: query.get(name, "") for name in ("q", "state", "problem", "amount", "from", "to", "became", "since")}
    return visit.page(
        "orders.html", found=found, asked=asked, is_narrowed=any(asked.values()), states=[WAITING, *State],
        kinds=list(ProblemKind), since=moment(asked["since"]), became=choice(asked, "became", State),
    )  # fmt: skip
