"""The rule for stale answers: older never beats newer (docs/design.md §2.4).

A look draws a ticket from one Postgres sequence before its request, and another when it writes, under the
order's lock. So "the look began after that write" compares two numbers, whatever the clocks say.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from service.domain.payment import Payment

# The same lesser answer this much later is PortOne's truth, not the lag of a replica.
REGRESSION_CONFIRMED_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Lesser:
    """A lesser answer that was kept out, the time of its first arrival, and the ticket of its latest write."""

    payment: Payment
    first_seen_at: datetime
    written_ticket: int


@dataclass(frozen=True, slots=True)
class StoredLook:
    """The payment as stored, the ticket of the write that stored it, and a lesser answer since, if any."""

    payment: Payment
    written_ticket: int
    lesser: Lesser | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """PortOne's answer for one payment, and the ticket drawn before it was asked."""

    payment: Payment
    began_ticket: int


class Verdict(Enum):
    """The verdict on an answer."""

    STORE = auto()  # news: it replaces what is stored
    SAME = auto()  # nothing new
    LATE = auto()  # it began before the stored one was written: dropped silently
    KEEP_OUT = auto()  # less than is stored, from a later look: a regression, not yet confirmed
    RECOVERED = auto()  # the stored facts again, after a lesser answer: it was a false alarm


def assess(
    stored: StoredLook | None,
    look: Look,
    now: datetime,
    confirmed_after: timedelta = REGRESSION_CONFIRMED_AFTER,
) -> Verdict:
    """Decide what becomes of a look's answer, given what is stored. `now` is Postgres' clock."""
    if stored is None or look.payment.progress > stored.payment.progress:
        return Verdict.STORE
    if same_facts(look.payment, stored.payment):
        return Verdict.RECOVERED if _began_after_lesser(stored, look) else Verdict.SAME
    if look.began_ticket < stored.written_ticket:
        return Verdict.LATE
    if look.payment.progress == stored.payment.progress:
        return Verdict.STORE
    if stored.lesser is None:
        return Verdict.KEEP_OUT
    if not _began_after_lesser(stored, look):
        return Verdict.LATE
    confirmed = same_facts(look.payment, stored.lesser.payment) and (
        now - stored.lesser.first_seen_at >= confirmed_after
    )
    return Verdict.STORE if confirmed else Verdict.KEEP_OUT


def lesser_after(verdict: Verdict, stored: StoredLook | None, look: Look, now: datetime, ticket: int) -> Lesser | None:
    """Return the lesser answer to store with the verdict; `ticket` is the write's."""
    before = stored.lesser if stored else None
    match verdict:
        case Verdict.SAME | Verdict.LATE:
            return before
        case Verdict.RECOVERED:
            return None
        case Verdict.STORE:
            # News from a look older than the lesser answer does not refute it, but its wait starts again.
            if before is None or look.began_ticket > before.written_ticket:
                return None
            return replace(before, first_seen_at=now)
        case Verdict.KEEP_OUT:
            is_same = before is not None and same_facts(before.payment, look.payment)
            first_seen_at = before.first_seen_at if before and is_same else now
            return Lesser(replace(look.payment, regressed=False), first_seen_at, ticket)


def same_facts(one: Payment, other: Payment) -> bool:
    """Return whether PortOne reported the same, whatever our own `regressed` says."""
    if one.regressed != other.regressed:  # no copy otherwise, because this runs at every look
        one = replace(one, regressed=other.regressed)
    return one == other


def _began_after_lesser(stored: StoredLook, look: Look) -> bool:
    return stored.lesser is not None and look.began_ticket > stored.lesser.written_ticket
