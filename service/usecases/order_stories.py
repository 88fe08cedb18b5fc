"""The whole story of one order, with its evidence, for a person who asks: is it paid, and why?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from service.db import notice_list, operator_actions, order_events, order_story, order_views, problems
from service.db.notice_list import Shown
from service.db.operator_actions import ShownAction
from service.db.order_events import Event
from service.db.order_story import OrderAttempt, ShownMove, ShownResolution, StoredPayment
from service.db.order_views import OrderView
from service.db.pool import Connection
from service.db.problems import OpenProblem
from service.domain.comparison import ComparedField, compare, payment_of
from service.domain.notice import Outcome
from service.domain.order import Order
from service.domain.payment import Payment
from service.usecases.order_summaries import OrderSummary, summarize

# An order has a few of each. What has more is shown from its newest on.
_SHOWN = 50

# What stands in the story by itself: a version, a refund's move, a resolution.
_TOLD_ELSEWHERE = frozenset({"orders.accept", "problems.refund", "problems.resolve", "orders.withdraw"})

StoryFact = Event | Shown | ShownMove | ShownResolution | ShownAction | OrderAttempt


@dataclass(frozen=True, slots=True)
class ComparedPayment:
    """PortOne's word on a payment beside the order's terms of that time. `payment` None: it could not be read."""

    imp_uid: str
    payment: Payment | None
    fields: Sequence[ComparedField]


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One thing that happened. `evidence` is what PortOne said then, where it is a version.

    `about` names the payment or the order that a person's action was about.
    """

    kind: str
    at: datetime
    told: StoryFact
    evidence: Sequence[ComparedPayment] = ()
    about: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """An order as it stands, and everything that is known to have happened, the oldest first.

    `view` and `summary` None: nobody has registered it. `problems` are open, or resolved and still there. `is_whole`
    False: of something there was more than is shown.
    """

    merchant_uid: str
    view: OrderView | None
    summary: OrderSummary | None
    payments: Sequence[StoredPayment]
    problems: Sequence[OpenProblem]
    entries: Sequence[StoryEntry]
    is_whole: bool


async def read_story(db: Connection, merchant_uid: str, *, allow_test_channel: bool) -> Story:
    """Read an order's story, each part by an index."""
    view = (await order_views.read(db, [merchant_uid])).get(merchant_uid)
    payments = await order_story.payments(db, merchant_uid, _SHOWN)
    shown_problems = await _problems(db, merchant_uid, payments, registered=view is not None)
    events = await order_events.history(db, merchant_uid, _SHOWN)
    imp_uids = _imp_uids(payments, shown_problems, events)
    notices = await notice_list.of_order(db, merchant_uid, imp_uids, _SHOWN)
    moves = await order_story.refund_moves(db, imp_uids, _SHOWN)
    resolutions = await order_story.resolutions(db, imp_uids, _SHOWN)
    payment_of_notice = {str(notice.id): notice.imp_uid for notice in notices}
    subjects = [merchant_uid, *imp_uids, *payment_of_notice]
    actions = await operator_actions.about(db, subjects, _SHOWN)
    deliveries = await order_story.deliveries(db, merchant_uid, _SHOWN)
    terms = replace(view.order.terms, allow_test_channel=allow_test_channel) if view else None
    entries = [
        *(_version(event, terms) for event in events),
        *(StoryEntry("notice", notice.first_at, notice) for notice in notices),
        *(StoryEntry("refund", move.at, move) for move in moves),
        *(StoryEntry("resolution", resolution.at, resolution) for resolution in resolutions),
        *(_action(action, payment_of_notice) for action in actions if action.action not in _TOLD_ELSEWHERE),
        *(StoryEntry("delivery", attempt.at, attempt) for attempt in deliveries),
    ]
    parts: Sequence[Sequence[object]] = (events, notices, moves, resolutions, actions, deliveries)
    is_whole = all(len(part) < _SHOWN for part in parts)
    asked_at = await _asked_at(db, merchant_uid, imp_uids, notices)
    summary = summarize(view, payments, events, asked_at) if view else None
    return Story(merchant_uid, view, summary, payments, shown_problems, sorted(entries, key=_order), is_whole)


async def _problems(
    db: Connection, merchant_uid: str, payments: Sequence[StoredPayment], *, registered: bool
) -> list[OpenProblem]:
    """Return the order's problems or, where nobody registered it, that it has money."""
    if registered:
        return await problems.of_numbers(db, [merchant_uid], resolved=True)
    return await problems.unregistered_of(db, [payment.imp_uid for payment in payments])


async def _asked_at(
    db: Connection, merchant_uid: str, imp_uids: Sequence[str], notices: Sequence[Shown]
) -> datetime | None:
    looked = [notice.ended_at for notice in notices if notice.last_outcome == Outcome.LOOKED]
    known = (*looked, await order_story.last_asked_at(db, merchant_uid, imp_uids))
    return max((at for at in known if at), default=None)


def _imp_uids(payments: Sequence[StoredPayment], found: Sequence[OpenProblem], events: Sequence[Event]) -> list[str]:
    """Return the payments that the story is about, also those that have become another order's or unreadable since."""
    told = (facts["imp_uid"] for event in events for facts in event.evidence.facts)
    named = (*(payment.imp_uid for payment in payments), *(problem.imp_uid for problem in found), *told)
    return list(dict.fromkeys(named))[:_SHOWN]


def _action(action: ShownAction, payment_of_notice: Mapping[str, str]) -> StoryEntry:
    return StoryEntry("action", action.at, action, about=payment_of_notice.get(action.subject, action.subject))


def _version(event: Event, terms: Order | None) -> StoryEntry:
    return StoryEntry("version", event.at, event, tuple(_evidence(event, terms)) if terms else ())


def _evidence(event: Event, terms: Order) -> Iterator[ComparedPayment]:
    """Yield what PortOne said beside the terms of that version."""
    then = replace(terms, amount=event.amount, currency=event.currency)
    for facts in event.evidence.facts:
        payment = payment_of(then, facts)
        yield ComparedPayment(facts["imp_uid"], payment, compare(then, payment) if payment else ())


# What happened at one moment is told in this order: a notice leads to a look, and a look to a version.
_KINDS = ("action", "notice", "resolution", "version", "refund", "delivery")


def _order(entry: StoryEntry) -> tuple[datetime, int]:
    return entry.at, _KINDS.index(entry.kind)
