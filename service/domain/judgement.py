"""The rule of a batch after its look: which payments are news, which orders change, each notice's fate. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from service.domain.evidence import Evidence, of_looks
from service.domain.notice import OpenNotice, Outcome, claims_more_than
from service.domain.order import Settlement, VersionedOrder
from service.domain.payment import Payment
from service.domain.settle import settle
from service.domain.staleness import Look, StoredLook, Verdict, assess, lesser_after
from service.domain.timetable import Timetable
from service.domain.unreadable import StoredUnreadable, UnreadablePayment, stand_in

# An unreadable answer may be a passing fault of PortOne's; after this many tries a person must see it.
_UNREADABLE_TRIES = 8
# A notice that claims more than PortOne shows is looked at again at most this often, in case PortOne's own copies lag.
_CLAIM_TRIES = 4
# A write draws its ticket under its locks; until then this stands for it.
THIS_WRITE = 0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A look without a usable answer: PortOne could not be asked, or its answer could not be read."""

    outcome: Outcome
    reason: str = ""


# The result of a look at one payment; None if PortOne knows no such payment.
LookResult = Payment | UnreadablePayment | Unanswered | None


@dataclass(frozen=True, slots=True)
class StoredPayments:
    """The stored payments of some orders, by imp_uid, read at `now` by Postgres' clock.

    `refund_unknown` names the payments whose refund may or may not have happened. `unreadable` holds those of which
    PortOne's newest answer could not be read.
    """

    now: datetime
    looks: Mapping[str, StoredLook]
    refund_unknown: frozenset[str]
    unreadable: Mapping[str, StoredUnreadable] = field(default_factory=dict)


# For payments that were never stored. Its clock is never read: it only times a lesser answer after a stored one.
NOTHING_STORED = StoredPayments(datetime.min.replace(tzinfo=UTC), {}, frozenset())


@dataclass(frozen=True, slots=True)
class Handled:
    """The end of a notice: PortOne answered it."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Parked:
    """The end of a notice that a person may want to see (the field's term: dead letter)."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Postponed:
    """A notice that needs another look after `wait`."""

    outcome: Outcome
    wait: timedelta


Fate = Handled | Parked | Postponed


# An order as it was read, and what it becomes.
Change = tuple[VersionedOrder, Settlement]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The consequences of a batch of looks, ready to be written. `evidence` is that of each change, by merchant_uid.

    `unreadable` are payments to be stored as such, `readable` names those that no longer are, `unregistered` those of
    the news whose order is not registered.
    """

    news: Sequence[StoredLook] = ()
    changes: Sequence[Change] = ()
    fates: Sequence[tuple[OpenNotice, Fate]] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    unreadable: Sequence[UnreadablePayment] = ()
    readable: Sequence[str] = ()
    unregistered: Sequence[str] = ()

    def __add__(self, other: Self) -> "Judgement":
        return Judgement(
            [*self.news, *other.news],
            [*self.changes, *other.changes],
            [*self.fates, *other.fates],
            {**self.evidence, **other.evidence},
            [*self.unreadable, *other.unreadable],
            [*self.readable, *other.readable],
            [*self.unregistered, *other.unregistered],
        )


def judge(
    claimed: Sequence[OpenNotice],
    results: Mapping[str, LookResult],
    ticket: int,
    stored: StoredPayments,
    orders: Sequence[VersionedOrder],
    times: Timetable,
    archived: Set[str] = frozenset(),
) -> Judgement:
    """Decide what the results mean, given what is stored of the payments and orders that they name.

    `ticket` was drawn before PortOne was asked. `orders` are those that are registered, and `archived` names those of
    the others that are in an archive.
    """
    verdicts, news = _assess_all(results, ticket, stored, times)
    unreadable, readable = _assess_unreadable(results, ticket, stored)
    payments = _payments_by_order(stored, news, _left_unreadable(stored, unreadable, readable))
    settlements = [(order, settle(order.terms, payments[order.terms.merchant_uid])) for order in orders]
    registered = {order.terms.merchant_uid for order in orders}
    known = registered | archived
    return Judgement(
        news=list(news.values()),
        changes=[(order, settlement) for order, settlement in settlements if settlement != order.settlement],
        fates=[
            (
                notice,
                fate_of(notice, results[notice.imp_uid], verdicts.get(notice.imp_uid), registered, times, archived),
            )
            for notice in claimed
        ],
        evidence=of_looks(claimed, _told(results), ticket),
        unreadable=unreadable,
        readable=readable,
        unregistered=[imp_uid for imp_uid, look in news.items() if look.payment.merchant_uid not in known],
    )


def _told(results: Mapping[str, LookResult]) -> Iterator[Payment | UnreadablePayment]:
    """Yield what PortOne said of payments, also where it cannot be read."""
    return (result for result in results.values() if isinstance(result, Payment | UnreadablePayment))


def _assess_all(
    results: Mapping[str, LookResult], ticket: int, stored: StoredPayments, times: Timetable
) -> tuple[dict[str, Verdict], dict[str, StoredLook]]:
    """Return each answer's verdict and the looks to be stored, both by imp_uid."""
    verdicts, news = {}, {}
    for payment in results.values():
        if not isinstance(payment, Payment):
            continue
        before, look = stored.looks.get(payment.imp_uid), Look(payment, ticket)
        verdict = verdicts[payment.imp_uid] = assess(before, look, stored.now, times.regression)
        if verdict in (Verdict.SAME, Verdict.LATE):
            continue
        lesser = lesser_after(verdict, before, look, stored.now, THIS_WRITE)
        if before is None or verdict is Verdict.STORE:
            news[payment.imp_uid] = StoredLook(payment, THIS_WRITE, lesser)
        else:
            news[payment.imp_uid] = StoredLook(before.payment, before.written_ticket, lesser)
    return verdicts, news


def _assess_unreadable(
    results: Mapping[str, LookResult], ticket: int, stored: StoredPayments
) -> tuple[list[UnreadablePayment], list[str]]:
    """Return the payments that are to be stored as unreadable, and the names of those that can be read again.

    As anywhere, older never beats newer: an answer from before the stored one was written changes nothing.
    """
    unreadable, readable = [], []
    for imp_uid, result in results.items():
        before, look = stored.unreadable.get(imp_uid), stored.looks.get(imp_uid)
        if before is not None and ticket < before.written_ticket:
            continue
        match result:
            case UnreadablePayment() if look is not None and ticket < look.written_ticket:
                continue
            case UnreadablePayment() if before is None or result != before.payment:
                unreadable.append(result)
            case Payment() if before is not None:
                readable.append(imp_uid)
            case _:
                continue
    return unreadable, readable


def _left_unreadable(
    stored: StoredPayments, unreadable: Sequence[UnreadablePayment], readable: Sequence[str]
) -> dict[str, UnreadablePayment]:
    """Return the payments that will be stored as unreadable, by imp_uid."""
    before = {imp_uid: row.payment for imp_uid, row in stored.unreadable.items() if imp_uid not in readable}
    return before | {payment.imp_uid: payment for payment in unreadable}


def _payments_by_order(
    stored: StoredPayments, news: Mapping[str, StoredLook], unreadable: Mapping[str, UnreadablePayment]
) -> Mapping[str, list[Payment]]:
    """Return each order's payments as they will be stored, by merchant_uid."""
    payments = defaultdict(list)
    for imp_uid, look in {**stored.looks, **news}.items():
        payment = for_settling(look, refund_unknown=imp_uid in stored.refund_unknown, unreadable=imp_uid in unreadable)
        payments[payment.merchant_uid].append(payment)
    for imp_uid, odd in unreadable.items():
        if odd.merchant_uid is not None and imp_uid not in stored.looks and imp_uid not in news:
            payments[odd.merchant_uid].append(stand_in(odd.merchant_uid, odd))
    return payments


def for_settling(look: StoredLook, *, refund_unknown: bool, unreadable: bool = False) -> Payment:
    """Return the payment as `settle` takes it, with the marks that are ours and not PortOne's."""
    regressed = look.lesser is not None
    if look.payment.regressed == regressed and not refund_unknown and not unreadable:
        return look.payment
    return replace(look.payment, regressed=regressed, refund_unknown=refund_unknown, unreadable=unreadable)


def fate_of(
    notice: OpenNotice,
    result: LookResult,
    verdict: Verdict | None,
    registered: Set[str],
    times: Timetable,
    archived: Set[str] = frozenset(),
) -> Fate:
    """Decide what becomes of a notice after its look: handled, parked, or postponed to another look."""
    aged = notice.age > times.grace
    match result:
        case UnreadablePayment(merchant_uid=str(merchant_uid)) if merchant_uid not in registered:
            return _fate_without_order(notice, times, archived=merchant_uid in archived)
        case UnreadablePayment():
            return _fate_unanswered(notice, Outcome.ANSWER_UNREADABLE, times)
        case Unanswered(outcome):
            return _fate_unanswered(notice, outcome, times)
        case None if aged:
            return Parked(Outcome.PAYMENT_UNKNOWN)
        case None:
            return Postponed(Outcome.PAYMENT_UNKNOWN, _backoff(notice, times, unknown=True))
        case Payment() if verdict is Verdict.KEEP_OUT:
            return Postponed(Outcome.REGRESSED, times.regression)
        case Payment(merchant_uid=merchant_uid) if merchant_uid not in registered:
            return _fate_without_order(notice, times, archived=merchant_uid in archived)
        case Payment(status=status):
            claims_more = claims_more_than(notice.source, notice.claimed_status, status)
            if claims_more and notice.tries < _CLAIM_TRIES:
                return Postponed(Outcome.CLAIMS_MORE, _backoff(notice, times))
            return Handled(Outcome.LOOKED)


def _fate_unanswered(notice: OpenNotice, outcome: Outcome, times: Timetable) -> Fate:
    """Decide what becomes of a notice without a usable answer."""
    is_last = notice.age > times.grace and notice.tries >= _UNREADABLE_TRIES
    if outcome is Outcome.STORE_NOT_CONFIGURED or (outcome is Outcome.ANSWER_UNREADABLE and is_last):
        return Parked(outcome)
    return Postponed(outcome, _backoff(notice, times))


def _fate_without_order(notice: OpenNotice, times: Timetable, *, archived: bool) -> Fate:
    """Decide what becomes of a notice whose payment names an order that is not here."""
    if archived:
        return Parked(Outcome.ORDER_ARCHIVED)
    if notice.age > times.grace:
        return Parked(Outcome.ORDER_NOT_REGISTERED)
    return Postponed(Outcome.ORDER_NOT_REGISTERED, times.grace)


def _backoff(notice: OpenNotice, times: Timetable, *, unknown: bool = False) -> timedelta:
    """Lengthen the wait with each try, less up to a quarter, so that notices that failed together return apart.

    The part that is taken off comes from the notice's id, whose last bits are random.
    """
    # A payment that PortOne does not know, or of an order that nobody registered, may be invented: it gives way soon.
    invented = unknown or notice.gives_way
    factor, last = (8.0, times.backoff_unknown) if invented else (2.0, times.backoff_last)
    wait = min(times.backoff_first * factor ** min(notice.tries, 10), last)
    return wait * (1.0 - notice.id.int % 1024 / 4096)
