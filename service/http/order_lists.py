"""`GET /orders`, a list of orders page by page, and `GET /orders/{merchant_uid}/history`, all versions of one."""

from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, Field

from service.db.order_events import Event
from service.domain.evidence import Cause
from service.domain.notice import Source
from service.domain.order import Closed, State
from service.http import order_examples
from service.http.ages import AGE, CACHE_CONTROL, age_headers, age_max_seconds
from service.http.cursors import write_cursor
from service.http.endpoints import EndpointTable, HttpAnswer
from service.http.field_types import Amount, Currency, ImpUid, MerchantUid, open_words
from service.http.order_answers import FindingAnswer, Money, OrderWithPaymentAnswer, finding_list, whole_order
from service.http.order_queries import HistoryParameters, OrdersQuery
from service.http.orders import OF_ORDER, merchant_uid_of, not_registered
from service.http.problem_types import DATABASE_PROBLEMS
from service.http.problems import json_response
from service.http.queries import read_query
from service.http.receiver import RECEIVER

endpoints = EndpointTable("orders")


class OrderPageAnswer(BaseModel):
    """A page of orders."""

    orders: list[OrderWithPaymentAnswer]
    next: str | None = Field(description="The next page's `cursor`; null at the end.")


class EvidenceAnswer(BaseModel):
    """The reason of a version of an order. A look has its notice, the notice's source, and when PortOne was asked."""

    cause: str = open_words(Cause, "What kind of thing led to it.")
    notice_id: UUID | None
    source: str | None = open_words(Source, "Who gave the notice.")
    looked_at: AwareDatetime | None
    ticket: int | None = Field(description="The look's number; a later look has a greater one.")
    facts: list[dict[str, Any]] = Field(
        description="What PortOne said of each payment in that look or, with another cause, had said before."
    )
    who: str | None
    why: str | None


class VersionAnswer(BaseModel):
    """A version of an order, as it stood from `at` on."""

    version: int = Field(ge=1)
    at: AwareDatetime
    state: str = open_words(State, "docs/states.md describes each.")
    closed: str | None = open_words(Closed, "Whether the order took no payment any more, and why.")
    amount: Amount
    currency: Currency
    paid_amount: Money
    cancelled_amount: Money
    imp_uid: ImpUid | None
    problems: list[FindingAnswer]
    test_channel: bool
    evidence: EvidenceAnswer


class HistoryAnswer(BaseModel):
    """A page of an order's versions, the oldest first."""

    merchant_uid: MerchantUid
    versions: list[VersionAnswer]
    next: int | None = Field(description="The next page's `after`; null at the end.")


@endpoints.add(
    "GET",
    "/orders",
    "List orders, page by page",
    "A page shows its orders as of one moment. Follow `next` until it is null: a page may have fewer orders than"
    " `limit`, or none, although more follow, because one page reads a bounded number of rows. Of a parameter that is"
    " repeated, the order must have one of the values.\n\nWithout `updated_since` orders come sorted by their number,"
    " and a walk of all pages meets every order that was registered before it began exactly once. With it they come by"
    " their last change: a walk meets every order whose last change was committed before it began at least once, and"
    " one that changes meanwhile perhaps again.",
    id="listOrders",
    scope="orders:read",
    parameters=(*OrdersQuery.parameters(), CACHE_CONTROL),
    answers={
        200: HttpAnswer(
            "A page of orders.",
            OrderPageAnswer,
            {"last": {"orders": [order_examples.PAID, order_examples.MISMATCHED], "next": None}},
            (AGE,),
        )
    },
    problems=("malformed-cursor", *DATABASE_PROBLEMS),
)
async def list_orders(request: web.Request) -> web.Response:
    """Answer a page of orders, and the cursor of the next page. A page may be short, or empty, before the end."""
    asked = read_query(request, OrdersQuery)
    dated = await request.app[RECEIVER].listing.page(asked.to_query(age_max_seconds(request)))
    page = dated.value
    cursor = None if page.next is None else write_cursor(page.next, asked.about)
    content = {"orders": [whole_order(view) for view in page.views], "next": cursor}
    return json_response(content, headers=age_headers(dated.age_seconds))


@endpoints.add(
    "GET",
    "/orders/{merchant_uid}/history",
    "Read all versions of an order, each with what led to it",
    "The oldest version comes first. Versions are kept forever, so a page that is full never changes.",
    id="readHistory",
    scope="orders:read",
    parameters=(*HistoryParameters.parameters(), CACHE_CONTROL),
    answers={200: HttpAnswer("A page of versions.", HistoryAnswer, {"paid": order_examples.HISTORY}, (AGE,))},
    problems=OF_ORDER,
)
async def read_history(request: web.Request) -> web.Response:
    """Answer a page of an order's versions, the oldest first, each with what led to it."""
    merchant_uid, receiver = merchant_uid_of(request), request.app[RECEIVER]
    query = read_query(request, HistoryParameters).to_query(merchant_uid, age_max_seconds(request))
    dated = await receiver.listing.history(query)
    events = dated.value
    # An order has its first version from the start.
    if not events and (not query.after or await receiver.reading.read(merchant_uid) is None):
        raise not_registered()
    more = len(events) == query.limit
    return json_response(
        {
            "merchant_uid": merchant_uid,
            "versions": [_version(event) for event in events],
            "next": events[-1].version if more else None,
        },
        headers=age_headers(dated.age_seconds),
    )


def _version(event: Event) -> dict[str, Any]:
    return {
        "version": event.version,
        "at": event.at,
        "state": event.state,
        "closed": event.closed,
        "amount": event.amount,
        "currency": event.currency,
        "paid_amount": event.paid_amount,
        "cancelled_amount": event.cancelled_amount,
        "imp_uid": event.imp_uid,
        "problems": finding_list(event.problems),
        "test_channel": event.test_channel,
        "evidence": _evidence(event),
    }


def _evidence(event: Event) -> dict[str, Any]:
    """Return what led to a version. `facts` is what PortOne said of each payment, or had said when it was stored."""
    evidence = event.evidence
    return {
        "cause": evidence.cause.value,
        "notice_id": str(evidence.notice_id) if evidence.notice_id else None,
        "source": evidence.source.value if evidence.source else None,
        "looked_at": evidence.looked_at,
        "ticket": evidence.ticket,
        "facts": [dict(facts) for facts in evidence.facts],
        "who": evidence.who,
        "why": evidence.why,
    }
