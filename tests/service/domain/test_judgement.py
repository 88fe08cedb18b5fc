"""The fate of a notice after its look, as a table, and the judgement of a batch."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.domain.judgement import (
    NOTHING_STORED,
    THIS_WRITE,
    Fate,
    Handled,
    LookResult,
    Parked,
    Postponed,
    StoredPayments,
    Unanswered,
    fate_of,
    judge,
)
from service.domain.notice import OpenNotice, Outcome, Source
from service.domain.order import Order, Problem, ProblemKind, Settlement, State, VersionedOrder
from service.domain.payment import Payment, Status, Store
from service.domain.staleness import StoredLook, Verdict
from service.domain.timetable import Timetable
from service.domain.unreadable import StoredUnreadable, UnreadablePayment

TIMES = Timetable()
STORE = Store("default")
ORDER = VersionedOrder(Order("order-1", 64900, "KRW", STORE), Settlement(), 1)
PAID = Payment("imp_1", "order-1", STORE, Status.PAID, 64900, "KRW")
WINDOW = Payment("imp_1", "order-1", STORE, Status.READY, 64900, "KRW")
DOWN = Unanswered(Outcome.PORTONE_UNAVAILABLE)
REFUSED = Unanswered(Outcome.PORTONE_REFUSED)
UNREADABLE = Unanswered(Outcome.ANSWER_UNREADABLE)
ODD = UnreadablePayment("imp_1", "order-1", STORE, (("amount", '"64900"'),), currency="KRW", live=True)
NOT_CONFIGURED = Unanswered(Outcome.STORE_NOT_CONFIGURED)
YOUNG, OLD = timedelta(seconds=1), TIMES.grace + timedelta(seconds=1)
# The last bits of an id shorten its backoff. These bits do not.
NOTICE_ID = UUID(int=0)


def _notice(
    age: timedelta = YOUNG, tries: int = 0, claimed: str | None = "paid", *, registered: bool = True
) -> OpenNotice:
    return OpenNotice(NOTICE_ID, Source.WEBHOOK, registered, "imp_1", STORE, None, claimed, 1, tries, age)


def _later(outcome: Outcome, seconds: float) -> Postponed:
    return Postponed(outcome, timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("notice", "result", "verdict", "registered", "fate"),
    [
        # PortOne confirmed the notice.
        (_notice(), PAID, Verdict.STORE, True, Handled(Outcome.LOOKED)),
        (_notice(OLD), PAID, Verdict.SAME, True, Handled(Outcome.LOOKED)),
        (_notice(claimed=None), WINDOW, Verdict.STORE, True, Handled(Outcome.LOOKED)),
        # PortOne answered less than the notice claims. Its replicas may lag, but not forever.
        (_notice(), WINDOW, Verdict.STORE, True, _later(Outcome.CLAIMS_MORE, 1)),
        (_notice(tries=3), WINDOW, Verdict.SAME, True, _later(Outcome.CLAIMS_MORE, 8)),
        (_notice(tries=4), WINDOW, Verdict.SAME, True, Handled(Outcome.LOOKED)),
        # Less than is stored was kept out. Only a later look can confirm it.
        (_notice(), WINDOW, Verdict.KEEP_OUT, True, _later(Outcome.REGRESSED, 60)),
        # The order is not registered.
        (_notice(), PAID, Verdict.STORE, False, Postponed(Outcome.ORDER_NOT_REGISTERED, TIMES.grace)),
        (_notice(OLD), PAID, Verdict.SAME, False, Parked(Outcome.ORDER_NOT_REGISTERED)),
        # PortOne does not know the payment.
        (_notice(), None, None, True, _later(Outcome.PAYMENT_UNKNOWN, 1)),
        (_notice(OLD), None, None, True, Parked(Outcome.PAYMENT_UNKNOWN)),
        # One that names no registered order may be invented: it gives way for minutes, soon.
        (_notice(registered=False), None, None, False, _later(Outcome.PAYMENT_UNKNOWN, 1)),
        (_notice(tries=2, registered=False), None, None, False, _later(Outcome.PAYMENT_UNKNOWN, 64)),
        (_notice(tries=9, registered=False), None, None, False, _later(Outcome.PAYMENT_UNKNOWN, 300)),
        # Nobody configured the store: looking again would change nothing.
        (_notice(), NOT_CONFIGURED, None, True, Parked(Outcome.STORE_NOT_CONFIGURED)),
        # A failure to ask is not an answer, and ends no notice, however old.
        (_notice(), DOWN, None, True, _later(Outcome.PORTONE_UNAVAILABLE, 1)),
        (_notice(OLD, tries=100), DOWN, None, True, _later(Outcome.PORTONE_UNAVAILABLE, 60)),
        (_notice(OLD, tries=100), REFUSED, None, True, _later(Outcome.PORTONE_REFUSED, 60)),
        # An answer that stays unreadable is parked for a person.
        (_notice(OLD, tries=7), UNREADABLE, None, True, _later(Outcome.ANSWER_UNREADABLE, 60)),
        (_notice(YOUNG, tries=8), UNREADABLE, None, True, _later(Outcome.ANSWER_UNREADABLE, 60)),
        (_notice(OLD, tries=8), UNREADABLE, None, True, Parked(Outcome.ANSWER_UNREADABLE)),
        (_notice(YOUNG, tries=8), ODD, None, True, _later(Outcome.ANSWER_UNREADABLE, 60)),
        (_notice(OLD, tries=8), ODD, None, True, Parked(Outcome.ANSWER_UNREADABLE)),
        (_notice(OLD, tries=8), replace(ODD, merchant_uid=None), None, True, Parked(Outcome.ANSWER_UNREADABLE)),
        # Nor does it raise an alarm where its order is not registered.
        (_notice(OLD), ODD, None, False, Parked(Outcome.ORDER_NOT_REGISTERED)),
    ],
)
def test_the_fate_of_a_notice(
    notice: OpenNotice, result: LookResult, verdict: Verdict | None, registered: bool, fate: Fate
) -> None:
    """Each case of the rule has one fate."""
    assert fate_of(notice, result, verdict, {"order-1"} if registered else set(), TIMES) == fate


def test_a_backoff_is_shortened_by_up_to_a_quarter() -> None:
    """Notices that failed together return at different times, which their ids decide."""
    waits = set()
    for number in range(1024):
        notice = OpenNotice(UUID(int=number), Source.WEBHOOK, True, "imp_1", STORE, None, "paid", 1, 3, YOUNG)
        fate = fate_of(notice, DOWN, None, set(), TIMES)
        assert isinstance(fate, Postponed)
        waits.add(fate.wait)
    assert (timedelta(seconds=6) < min(waits), max(waits), len(waits)) == (True, timedelta(seconds=8), 1024)


def test_a_first_look_settles_its_order() -> None:
    """A first look stores the payment, changes the order, and handles the notice."""
    judgement = judge([_notice()], {"imp_1": PAID}, 5, NOTHING_STORED, [ORDER], TIMES)
    assert judgement.news == [StoredLook(PAID, THIS_WRITE)]
    assert judgement.changes == [(ORDER, Settlement(State.PAID, 64900, 0, "imp_1"))]
    assert judgement.fates == [(_notice(), Handled(Outcome.LOOKED))]


def test_what_is_stored_already_is_no_news() -> None:
    """An answer that is already stored only ends the notice."""
    stored = StoredPayments(datetime.now(UTC), {"imp_1": StoredLook(PAID, 3)}, frozenset())
    settled = VersionedOrder(ORDER.terms, Settlement(State.PAID, 64900, 0, "imp_1"), 2)
    judgement = judge([_notice()], {"imp_1": PAID}, 5, stored, [settled], TIMES)
    assert (judgement.news, judgement.changes) == ([], [])


def test_one_payments_failure_is_no_neighbours() -> None:
    """A batch's results mean for each payment what they would mean alone."""
    other = OpenNotice(NOTICE_ID, Source.WEBHOOK, True, "imp_2", STORE, None, "paid", 1, 0, YOUNG)
    judgement = judge([_notice(), other], {"imp_1": PAID, "imp_2": DOWN}, 5, NOTHING_STORED, [ORDER], TIMES)
    assert [type(fate) for _, fate in judgement.fates] == [Handled, Postponed]
    assert len(judgement.changes) == 1


PROBLEM = Settlement(problems=(Problem(ProblemKind.UNREADABLE_PAYMENT, "imp_1"),))


def _stored(look: StoredLook | None = None, odd: StoredUnreadable | None = None) -> StoredPayments:
    return StoredPayments(
        datetime.now(UTC), {"imp_1": look} if look else {}, frozenset(), {"imp_1": odd} if odd else {}
    )


def test_an_unreadable_payment_opens_a_problem_and_nothing_else() -> None:
    """An unreadable answer is stored apart from payments, and its order gets the problem."""
    judgement = judge([_notice()], {"imp_1": ODD}, 5, NOTHING_STORED, [ORDER], TIMES)
    assert (judgement.news, judgement.unreadable, judgement.changes) == ([], [ODD], [(ORDER, PROBLEM)])


def test_an_older_answer_does_not_make_an_unreadable_payment_readable() -> None:
    """A readable answer from before the unreadable one was written leaves the problem; one from after ends it."""
    settled = VersionedOrder(ORDER.terms, PROBLEM, 2)
    for ticket, readable, problems in ((5, [], PROBLEM.problems), (9, ["imp_1"], ())):
        stored = _stored(odd=StoredUnreadable(ODD, 7))
        judgement = judge([_notice()], {"imp_1": WINDOW}, ticket, stored, [settled], TIMES)
        after = judgement.changes[0][1].problems if judgement.changes else settled.settlement.problems
        assert (judgement.readable, after) == (readable, problems)


def test_an_older_unreadable_answer_is_dropped() -> None:
    """An unreadable answer changes nothing if its look began before what is stored of the payment was written."""
    for stored in (_stored(StoredLook(PAID, 7)), _stored(odd=StoredUnreadable(replace(ODD, odd=()), 7))):
        assert judge([_notice()], {"imp_1": ODD}, 5, stored, [ORDER], TIMES).unreadable == []


def test_the_same_unreadable_answer_is_no_news() -> None:
    """An unreadable answer that is stored already is not written again."""
    settled = VersionedOrder(ORDER.terms, PROBLEM, 2)
    judgement = judge([_notice()], {"imp_1": ODD}, 9, _stored(odd=StoredUnreadable(ODD, 7)), [settled], TIMES)
    assert (judgement.unreadable, judgement.readable, judgement.changes) == ([], [], [])
