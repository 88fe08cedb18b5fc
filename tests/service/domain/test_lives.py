"""Whole lives of payments hold under several workers: over 100,000 seeded histories.

A life is PortOne's answer at each moment. A look begins (draws a ticket), is answered, and is written (draws another).
`_Memory` uses the rules as `service.usecases.verification` does, without Postgres.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import combinations_with_replacement
from random import Random

import pytest

from service.domain.order import Order, ProblemKind, Settlement, State
from service.domain.payment import Payment, Progress, Status, Store
from service.domain.settle import disagreements, settle
from service.domain.staleness import Look, StoredLook, Verdict, assess, lesser_after

STORE = Store("default")
ORDER = Order("order-1", 1000, "KRW", STORE)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
CONFIRMED = timedelta(seconds=60)

READY = Payment("imp_1", "order-1", STORE, Status.READY, 1000, "KRW", started_at=NOON)
ISSUED = replace(READY, status=Status.ISSUED, details=(("vbank_name", "은행"),))
FAILED = replace(READY, status=Status.FAILED)
PAID = replace(READY, status=Status.PAID, paid_at=NOON)
RECEIPT = replace(PAID, details=(("receipt_url", "https://example.test/1"),))


def _refunded(amount: int, times: int, status: Status = Status.CANCELLED) -> Payment:
    return replace(RECEIPT, status=status, cancelled_amount=amount, cancellations=times)


# Every move that PortOne is known to make (docs/portone.md §1). Each state has more progress than the one before.
LIVES: tuple[tuple[Payment, ...], ...] = (
    (READY, PAID, RECEIPT, _refunded(300, 1), _refunded(1000, 2)),
    (READY, ISSUED, PAID, RECEIPT, _refunded(1000, 1)),
    (READY, ISSUED, replace(ISSUED, status=Status.CANCELLED)),
    (READY, FAILED, PAID, _refunded(500, 1, Status.PAID), _refunded(500, 1), _refunded(1000, 2)),
)


@dataclass
class _Memory:
    """A stored payment, and the counters that Postgres keeps."""

    stored: StoredLook | None = None
    stored_at: datetime = NOON
    ticket: int = 0
    now: datetime = NOON

    def begin(self) -> int:
        self.ticket += 1
        return self.ticket

    def write(self, look: Look) -> Verdict:
        self.ticket += 1
        before = self.stored
        verdict = assess(before, look, self.now, CONFIRMED)
        lesser = lesser_after(verdict, before, look, self.now, self.ticket)
        if before is None or verdict is Verdict.STORE:
            self.stored, self.stored_at = StoredLook(look.payment, self.ticket, lesser), self.now
        elif verdict not in (Verdict.SAME, Verdict.LATE):
            self.stored = StoredLook(before.payment, before.written_ticket, lesser)
        return verdict

    @property
    def payment(self) -> Payment:
        assert self.stored is not None
        return replace(self.stored.payment, regressed=self.stored.lesser is not None)


@cache
def _interleavings(looks: int) -> tuple[tuple[int, ...], ...]:
    """Return every order of the looks' moments: begun, answered, written. Look 0 is the first to begin."""

    def go_on(moments: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(moments) == 3 * looks:
            yield moments
        for look in range(looks):
            if moments.count(look) < 3 and look <= len(set(moments)):
                yield from go_on((*moments, look))

    return tuple(go_on(()))


def _play(order_of_moments: Sequence[int], answers: Sequence[Payment]) -> Iterator[tuple[_Memory, Verdict]]:
    """Run a history. `answers` are PortOne's, in the order in which the looks are answered."""
    memory, remaining = _Memory(), iter(answers)
    began: dict[int, int] = {}
    answered: dict[int, Payment] = {}
    for look in order_of_moments:
        if look not in began:
            began[look] = memory.begin()
        elif look not in answered:
            answered[look] = next(remaining)
        else:
            yield memory, memory.write(Look(answered[look], began[look]))


@pytest.mark.parametrize("looks", [2, 3])
@pytest.mark.parametrize("life", LIVES)
def test_every_interleaving_of_looks_on_a_life_that_only_goes_on(looks: int, life: tuple[Payment, ...]) -> None:
    """No older answer replaces a newer one, none is a regression, and the most progress is kept."""
    age = {payment: number for number, payment in enumerate(life)}
    for moments in _interleavings(looks):
        for answers in combinations_with_replacement(life, looks):
            oldest_allowed = -1
            for memory, verdict in _play(moments, answers):
                assert verdict in (Verdict.STORE, Verdict.SAME, Verdict.LATE), (moments, answers)
                assert age[memory.payment] >= oldest_allowed, (moments, answers)
                oldest_allowed = age[memory.payment]
            assert memory.payment.progress == answers[-1].progress, (moments, answers)


def test_lives_only_go_on() -> None:
    """In each life progress never falls, and no two moments are equal."""
    for life in LIVES:
        assert [payment.progress for payment in life] == sorted(payment.progress for payment in life)
        assert len(set(life)) == len(life)


@dataclass
class _Expectation:
    """The expected result of a history: the most progress that a look saw since the last confirmed regression."""

    most: Progress | None = None
    confirmed: bool = False

    def saw(self, before: StoredLook | None, look: Look, verdict: Verdict, stored_for: timedelta) -> None:
        progress = look.payment.progress
        if before and verdict is Verdict.STORE and progress < before.payment.progress:
            assert before.lesser is not None
            assert replace(before.lesser.payment, regressed=False) == look.payment
            assert stored_for >= CONFIRMED, "a lagging replica may not replace a recent answer"
            assert look.began_ticket > max(before.lesser.written_ticket, before.written_ticket)
            self.most, self.confirmed = progress, True
        else:
            self.most = max(self.most or progress, progress)


def _shuffled_history(random: Random, life: Sequence[Payment]) -> tuple[_Memory, _Expectation]:
    """Run looks that overlap, and end twice, late or never, from replicas with any lag, over some minutes."""
    memory, expectation = _Memory(), _Expectation()
    open_looks: list[Look] = []
    for _ in range(random.randint(2, 12)):
        memory.now += timedelta(seconds=random.choice((0, 1, 30, 61)))
        if open_looks and random.random() < 0.5:
            look = random.choice(open_looks)
            if random.random() < 0.7:  # otherwise its worker dies, or writes it a second time
                open_looks.remove(look)
            before, stored_for = memory.stored, memory.now - memory.stored_at
            expectation.saw(before, look, memory.write(look), stored_for)
        else:
            open_looks.append(Look(random.choice(life), memory.begin()))
    return memory, expectation


@pytest.mark.parametrize("seed", range(4))
def test_shuffled_duplicated_and_truncated_histories(seed: int) -> None:
    """Each of 60,000 histories ends at the most progress that a look saw, or at a confirmed regression."""
    random, confirmed, alarmed = Random(seed), 0, 0
    for number in range(15_000):
        memory, expectation = _shuffled_history(random, LIVES[number % len(LIVES)])
        if memory.stored is None:
            continue
        assert memory.payment.progress == expectation.most
        assert memory.stored.lesser is None or memory.stored.lesser.payment.progress < memory.payment.progress
        confirmed += expectation.confirmed
        alarmed += memory.payment.regressed
    assert confirmed > 100, "too few histories confirm a regression"
    assert alarmed > 100


def _strange(random: Random, number: int) -> Payment:
    """Return a random payment, plausible or not."""
    life = random.choice(LIVES)
    payment = replace(random.choice(life), imp_uid=f"imp_{number}")
    if random.random() < 0.5:
        paid_at = random.choice((None, NOON + timedelta(seconds=random.randint(0, 2))))
        cancelled = random.choice((0, 1, 999, 1000, 1001))
        payment = replace(payment, status=random.choice(list(Status)), paid_at=paid_at, cancelled_amount=cancelled)
    return replace(
        payment,
        amount=random.choice((1000, 1000, 1000, 1, 0)),
        currency=random.choice(("KRW", "KRW", "USD")),
        live=random.random() < 0.8,
        store=random.choice((STORE, STORE, Store("default", "abc"))),
        regressed=random.random() < 0.1,
    )


def _check(order: Order, payments: Sequence[Payment], settled: Settlement) -> None:
    agreeing = {payment.imp_uid: payment for payment in payments if not disagreements(order, payment)}
    holding = [payment for payment in agreeing.values() if payment.held]
    decides = agreeing.get(settled.imp_uid or "")
    paying = settled.state in (State.PAID, State.PARTIALLY_CANCELLED)
    assert paying == bool(holding)
    assert settled.paid_amount - settled.cancelled_amount == (decides.held if decides else 0)
    assert 0 <= settled.cancelled_amount <= settled.paid_amount
    if settled.state is State.PAID:
        assert (settled.paid_amount, settled.cancelled_amount) == (order.amount, 0)
    if settled.state is State.MISMATCHED:
        assert settled.paid_amount == 0
        assert any(payment.held and payment.live for payment in payments)
    if settled.state is State.PENDING:
        assert all(payment.status is Status.READY for payment in agreeing.values())
    duplicates = [problem for problem in settled.problems if problem.kind is ProblemKind.DUPLICATE_PAYMENT]
    assert len(duplicates) == max(0, len(holding) - 1)
    assert settled.test_channel == any(
        payment.imp_uid == settled.imp_uid and not payment.live for payment in agreeing.values()
    )


@pytest.mark.parametrize("allow_test_channel", [False, True])
def test_what_is_settled_is_what_portone_holds(allow_test_channel: bool) -> None:
    """For up to three payments, plausible or not, the order's amounts are those of the deciding payment."""
    random, order = Random(7), replace(ORDER, allow_test_channel=allow_test_channel)
    for _ in range(10_000):
        payments = [_strange(random, number) for number in range(random.randint(0, 3))]
        settled = settle(order, payments)
        _check(order, payments, settled)
        random.shuffle(payments)
        assert settle(order, payments) == settled


def test_a_refund_is_told_before_a_voided_account() -> None:
    """After a refunded payment and a voided account, the order shows the refunded payment."""
    refunded = _refunded(1000, 1)
    voided = replace(READY, imp_uid="imp_2", status=Status.CANCELLED, started_at=NOON + timedelta(days=1))
    settled = settle(ORDER, [voided, refunded])
    assert (settled.state, settled.imp_uid) == (State.CANCELLED, "imp_1")
    assert (settled.paid_amount, settled.cancelled_amount) == (1000, 1000)


def test_paid_and_wholly_given_back_is_cancelled() -> None:
    """A payment refunded in full or beyond is `cancelled`, even while its status is still `paid`."""
    for cancelled in (1000, 1001):
        settled = settle(ORDER, [_refunded(cancelled, 1, Status.PAID)])
        assert (settled.state, settled.paid_amount, settled.cancelled_amount) == (State.CANCELLED, 1000, 1000)


def test_versions_step_by_one_through_whole_histories() -> None:
    """While two payments of an order move, each change is one version, and the state matches the held money."""
    random = Random(11)
    for _ in range(1_500):
        lives = [random.choice(LIVES), tuple(replace(moment, imp_uid="imp_2") for moment in random.choice(LIVES))]
        memories, last, versions = [_Memory(), _Memory()], Settlement(), 1
        moments = sorted((at, index) for index, life in enumerate(lives) for at in range(len(life)))
        random.shuffle(moments)
        for at, index in moments:
            memory = memories[index]
            memory.write(Look(lives[index][at], memory.begin()))
            stored = [memory.payment for memory in memories if memory.stored is not None]
            settled = settle(ORDER, stored)
            _check(ORDER, stored, settled)
            versions += settled != last
            last = settled
        assert last == settle(ORDER, [memory.payment for memory in memories])
        assert versions <= 1 + len(moments)
