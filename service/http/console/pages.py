"""The console's pages that only show something: each is one read, on the console's own connections."""

from aiohttp import web

from service.db import endpoints, notice_list, operator_actions, order_list, problems
from service.db.order_list import Filters
from service.db.pool import Connection
from service.db.problems import OpenProblem, Page
from service.domain.order import ProblemKind
from service.http.console import chart
from service.http.console.guard import ConsoleRefused
from service.http.console.queries import choice, notice_place, whole_number
from service.http.console.visits import Visit
from service.usecases.order_stories import read_story

_ROWS = 50
# The parked notices that the promise counts, and those that only wait for an order that nobody registered.
_PARKED = {"own": notice_list.own_parked_after, "unregistered": notice_list.unregistered_parked_after}
_ATTEMPTS = 50


async def show_today(visit: Visit) -> web.StreamResponse:
    """Show whether all is well, what waits, and what needs a person."""
    receiver = visit.receiver
    shown = await receiver.today.read()
    return visit.page(
        "today.html",
        shown=shown,
        today=shown.today,
        settings=receiver.settings,
        bars=chart.bars(shown.today.hours),
        chart_width=chart.width(shown.today.hours),
        chart_height=chart.HEIGHT,
    )


async def show_order(visit: Visit) -> web.StreamResponse:
    """Show an order's whole story."""
    number = visit.request.query.get("number", "")
    allow = visit.receiver.settings.allow_test_channel
    story = await visit.receiver.console.read(read_story, number, allow_test_channel=allow)
    is_known = story.view is not None or story.entries or story.payments
    return visit.page("order.html", 200 if is_known else 404, story=story, done=done(visit))


async def show_problems(visit: Visit) -> web.StreamResponse:
    """Show the open problems of our orders, by pages, or money of orders that nobody registered."""
    query, console, ours = visit.request.query, visit.receiver.console, visit.receiver.settings.ours
    kind, after = choice(query, "kind", ProblemKind), query.get("after", "")
    if query.get("foreign"):
        found = await console.ask(problems.unregistered, ours, Page(_ROWS, after))
        next_page = found[-1].imp_uid if len(found) == _ROWS else None
    else:
        found, next_page = await console.read(_problems, kind, after)
    return visit.page(
        "problems.html", found=found, next_page=next_page, kinds=list(ProblemKind), kind=kind, after=after,
        foreign=bool(query.get("foreign")), done=done(visit),
    )  # fmt: skip


async def _problems(db: Connection, kind: str | None, after: str) -> tuple[list[OpenProblem], str | None]:
    """Return a page of problems: those of the next orders that have any. It may be short before the end."""
    walked = await order_list.walk(db, Filters(problems=[kind] if kind else []), after, _ROWS)
    found = await problems.of_numbers(db, walked.merchant_uids)
    if not after:
        found = await problems.without_number(db, _ROWS) + found
    if kind:
        found = [problem for problem in found if problem.kind == kind]
    return found, None if walked.next is None else str(walked.next)


async def show_notices(visit: Visit) -> web.StreamResponse:
    """Show the parked notices, the longest parked first, the open ones that are due next, or what a text names."""
    query, console = visit.request.query, visit.receiver.console
    about, tab = query.get("about", ""), choice(query, "tab", (*_PARKED, "open")) or "own"
    if about:
        notices, tab = await console.ask(notice_list.known_by, about, _ROWS), ""
    elif tab == "open":
        notices = await console.ask(notice_list.next_due, _ROWS)
    else:
        notices = await console.ask(_PARKED[tab], notice_place(query.get("after", "")), _ROWS)
    last = notices[-1] if len(notices) == _ROWS and tab in _PARKED else None
    next_page = f"{last.ended_at.isoformat()} {last.id}" if last and last.ended_at else None
    return visit.page("notices.html", notices=notices, tab=tab, about=about, next_page=next_page, done=done(visit))


async def show_endpoints(visit: Visit) -> web.StreamResponse:
    """Show the endpoints that are told of each change."""
    return visit.page("endpoints.html", endpoints=await visit.receiver.console.ask(endpoints.read))


async def show_endpoint(visit: Visit) -> web.StreamResponse:
    """Show an endpoint and its newest deliveries."""
    name, failed = visit.request.query.get("name", ""), bool(visit.request.query.get("failed"))
    found = await visit.receiver.console.ask(endpoints.read, [name])
    if not found:
        raise ConsoleRefused(404, "There is nothing of this name.")
    attempts = await visit.receiver.console.ask(endpoints.attempts, name, _ATTEMPTS, failed=failed)
    return visit.page("endpoint.html", endpoint=found[0], attempts=attempts, failed=failed, done=done(visit))


async def show_actions(visit: Visit) -> web.StreamResponse:
    """Show everything that people did, with who and why, the newest first."""
    before = whole_number(visit.request.query.get("before", ""))
    actions = await visit.receiver.console.ask(operator_actions.newest, before, _ROWS)
    next_page = actions[-1].id if len(actions) == _ROWS else None
    return visit.page("actions.html", actions=actions, next_page=next_page)


def done(visit: Visit) -> str:
    """Return what was just done here: a word of ours, for which the page has a sentence."""
    return visit.request.query.get("done", "")
