"""What a batch's answers mean, given what is stored: payments that are news, orders that change, each notice's end.

Pure but for the jitter of a backoff: nothing is awaited and nothing is written here.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto

from service.db.looks import Meaning
from service.db.notices import OpenNotice
from service.db.orders import VersionedOrder
from service.db.payments import THIS_WRITE, Stored, for_settling
from service.domain.notice import Outcome, claims_more_than
from service.domain.order import Settlement
from service.domain.payment import Payment
from service.domain.settle import settle
from service.domain.staleness import Look, StoredLook, Verdict, assess, lesser_after
from service.domain.timetable import Timetable
from service.errors import NotAsked, UnreadableAnswer
from service.portone.looks import LookResult

# An answer that we cannot read may be PortOne's bad hour; after so many tries a person must see it.
_UNREADABLE_TRIES = 8
# A notice that claims more than PortOne shows is looked at again so often, in case PortOne's own copies lag.
_CLAIM_TRIES = 4


class Then(Enum):
    """The ends of a notice."""

    HANDLED = auto()
    PARKED = auto()


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a notice: how its row names it, and its end or the wait until its next look."""

    outcome: Outcome
    then: Then | timedelta


@dataclass(frozen=True, slots=True)
class Later:
    """A notice that must wait, and what kept it (None: nothing new)."""

    notice: OpenNotice
    outcome: Outcome | None
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is written of a batch: what its looks mean, and the notices that do not end with them."""

    meaning: Meaning = field(default_factory=Meaning)
    parked: Sequence[tuple[OpenNotice, Outcome]] = ()
    later: Sequence[Later] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """Claimed notices, PortOne's answers by imp_uid, and the ticket that was drawn before they were asked for."""

    claimed: Sequence[OpenNotice]
    answers: Mapping[str, LookResult]
    ticket: int
    times: Timetable

    @property
    def found(self) -> list[Payment]:
        return [answer for answer in self.answers.values() if isinstance(answer, Payment)]

    def judge(self, stored: Stored, of_orders: Sequence[VersionedOrder]) -> Judgement:
        """Say what the answers mean, given what is stored of the payments and orders that they name."""
        verdicts, news = self._verdicts(stored)
        changes = _settle(of_orders, stored, news)
        registered = {order.terms.merchant_uid for order in of_orders}
        handled, parked, later = [], [], []
        for notice in self.claimed:
            fate = self._fate(notice, self.answers[notice.imp_uid], verdicts, registered)
            match fate.then:
                case Then.HANDLED:
                    handled.append((notice, fate.outcome))
                case Then.PARKED:
                    parked.append((notice, fate.outcome))
                case timedelta() as wait:
                    later.append(Later(notice, fate.outcome, wait))
        return Judgement(Meaning(list(news.values()), changes, handled), parked, later)

    def _verdicts(self, stored: Stored) -> tuple[dict[str, Verdict], dict[str, StoredLook]]:
        """Say of each answer what becomes of it, and what is to be stored; both by imp_uid."""
        verdicts, news = {}, {}
        for payment in self.answers.values():
            if not isinstance(payment, Payment):
                continue
            before, seen = stored.looks.get(payment.imp_uid), Look(payment, self.ticket)
            verdict = verdicts[payment.imp_uid] = assess(before, seen, stored.now, self.times.regression)
            if verdict in (Verdict.SAME, Verdict.LATE):
                continue
            lesser = lesser_after(verdict, before, seen, stored.now, THIS_WRITE)
            if before is None or verdict is Verdict.STORE:
                news[payment.imp_uid] = StoredLook(payment, THIS_WRITE, lesser)
            else:
                news[payment.imp_uid] = StoredLook(before.payment, before.written_ticket, lesser)
        return verdicts, news

    def _fate(
        self, notice: OpenNotice, answer: LookResult, verdicts: Mapping[str, Verdict], registered: Set[str]
    ) -> Fate:
        """What becomes of a notice after its look."""
        aged = notice.age > self.times.grace
        match answer:
            case UnreadableAnswer() if aged and notice.tries >= _UNREADABLE_TRIES:
                return Fate(answer.outcome, Then.PARKED)
            case NotAsked():
                return Fate(answer.outcome, self._backoff(notice.tries))
            case None:
                return Fate(Outcome.PAYMENT_UNKNOWN, Then.PARKED if aged else self._backoff(notice.tries))
            case Payment():
                return self._fate_of_found(notice, answer, verdicts[answer.imp_uid], registered, aged)

    def _fate_of_found(
        self, notice: OpenNotice, answer: Payment, verdict: Verdict, registered: Set[str], aged: bool
    ) -> Fate:
        if verdict is Verdict.KEEP_OUT:
            return Fate(Outcome.REGRESSED, self.times.regression)
        if answer.merchant_uid not in registered:
            return Fate(Outcome.ORDER_NOT_REGISTERED, Then.PARKED if aged else self.times.grace)
        if claims_more_than(notice.source, notice.claimed_status, answer.status) and notice.tries < _CLAIM_TRIES:
            return Fate(Outcome.CLAIMS_MORE, self._backoff(notice.tries))
        return Fate(Outcome.LOOKED, Then.HANDLED)

    def _backoff(self, tries: int) -> timedelta:
        """Doubled each time, shortened by up to a quarter: what failed together does not return together."""
        wait = min(self.times.backoff_first * 2.0 ** min(tries, 30), self.times.backoff_last)
        return wait * random.uniform(0.75, 1.0)  # noqa: S311 - jitter, no secret


def _settle(
    of_orders: Sequence[VersionedOrder], stored: Stored, news: Mapping[str, StoredLook]
) -> list[tuple[VersionedOrder, Settlement]]:
    """Settle these orders from what will be stored; those that change, and what to."""
    payments_of: dict[str, list[Payment]] = defaultdict(list)
    for imp_uid, known in {**stored.looks, **news}.items():
        payment = for_settling(known, refund_unknown=imp_uid in stored.refund_unknown)
        payments_of[payment.merchant_uid].append(payment)
    settled = [(order, settle(order.terms, payments_of[order.terms.merchant_uid])) for order in of_orders]
    return [(order, settlement) for order, settlement in settled if settlement != order.settlement]
