"""In a look at a batch each payment gets its own answer, whatever happens to others (docs/design.md §3, Worker)."""

from collections.abc import AsyncIterator, Iterable, Sequence

import pytest

from service.domain.judgement import LookResult, Unanswered
from service.domain.notice import Outcome
from service.domain.payment import Payment, Status, Store
from service.domain.unreadable import UnreadablePayment
from service.errors import PortOneUnavailable
from service.portone.client import PAYMENTS_PER_CALL, PortOne
from service.portone.looks import look
from tests.sandbox_client import RunningSandbox

STORE = Store("default")
BATCH, SINGLE = "GET /payments", "GET /payments/{imp_uid}"


@pytest.fixture
async def portone(sandbox: RunningSandbox) -> AsyncIterator[PortOne]:
    opened = PortOne(sandbox.url, sandbox.imp_key, sandbox.imp_secret)
    yield opened
    await opened.close()


class Poisoned:
    """PortOne behind a proxy that fails every batch with a poisonous payment."""

    def __init__(self, portone: PortOne, poison: set[str]) -> None:
        self._portone, self._poison = portone, poison
        self.batches: list[int] = []

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        return await self._portone.payment(imp_uid, tier, include_sandbox=include_sandbox)

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        self.batches.append(len(imp_uids))
        if self._poison & set(imp_uids):
            raise PortOneUnavailable("HTTP 502")
        return await self._portone.payments(imp_uids, tier)


async def _bulk(sandbox: RunningSandbox, count: int, **terms: object) -> list[str]:
    answer = await sandbox.control("POST", "bulk", count=count, prefix="order", amount=64900, **terms)
    imp_uids: list[str] = answer["imp_uids"]
    return imp_uids


def _outcomes(answers: Iterable[LookResult]) -> list[Outcome | None]:
    return [answer.outcome if isinstance(answer, Unanswered) else None for answer in answers]


async def test_a_hundred_cost_one_call(sandbox: RunningSandbox, portone: PortOne) -> None:
    """Up to a hundred payments of a store cost one batch call, and one payment a single call."""
    imp_uids = await _bulk(sandbox, 100)
    answers = await look(portone, imp_uids, STORE)
    assert {answer.status for answer in answers.values() if isinstance(answer, Payment)} == {Status.PAID}
    assert list(answers) == imp_uids
    await look(portone, imp_uids[:1], STORE)
    calls = (await sandbox.calls())["by_template"]
    assert (calls[BATCH], calls[SINGLE]) == (1, 1)


async def test_more_than_a_hundred_is_a_mistake(portone: PortOne) -> None:
    """A look at more than a hundred payments raises, because PortOne accepts no more."""
    with pytest.raises(ValueError, match="at most"):
        await look(portone, [f"imp_{number}" for number in range(PAYMENTS_PER_CALL + 1)], STORE)


@pytest.mark.parametrize("known", [0, 1, 3])
async def test_what_is_missing_is_just_absent(sandbox: RunningSandbox, portone: PortOne, known: int) -> None:
    """Payments of a batch that PortOne does not know are None, and the others are read."""
    imp_uids = await _bulk(sandbox, known) if known else []
    answers = await look(portone, [*imp_uids, "imp_none1", "imp_none2"], STORE)
    assert [isinstance(answers[imp_uid], Payment) for imp_uid in imp_uids] == [True] * known
    assert (answers["imp_none1"], answers["imp_none2"]) == (None, None)


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("others", [0, 2])
async def test_the_channel_where_sandbox_is_absent(
    sandbox: RunningSandbox, portone: PortOne, test: bool, others: int
) -> None:
    """If an answer lacks `sandbox`, a call without `include_sandbox` decides: 200 is live, 404 is test."""
    imp_uid = (await sandbox.pay("order", 64900, sandbox=test))["imp_uid"]
    neighbours = await _bulk(sandbox, others) if others else []
    await sandbox.faults(omit_sandbox=True)
    answers = await look(portone, [imp_uid, *neighbours], STORE)
    payment = answers[imp_uid]
    assert isinstance(payment, Payment)
    assert payment.live is not test
    assert all(isinstance(answer := answers[name], Payment) and answer.live for name in neighbours)


@pytest.mark.parametrize("others", [0, 1])
async def test_a_test_payment_is_found_and_named(sandbox: RunningSandbox, portone: PortOne, others: int) -> None:
    """Single and batch looks find a test-channel payment, and it is not live."""
    imp_uid = (await sandbox.pay("order", 64900, sandbox=True))["imp_uid"]
    payment = (await look(portone, [imp_uid, *(await _bulk(sandbox, others) if others else [])], STORE))[imp_uid]
    assert isinstance(payment, Payment)
    assert not payment.live


async def test_one_unreadable_payment_harms_no_neighbour(sandbox: RunningSandbox, portone: PortOne) -> None:
    """An unreadable payment of a batch does not affect the others."""
    good, bad, other = await _bulk(sandbox, 3)
    await sandbox.move(bad, "set", fields={"amount": -1})
    await sandbox.move(other, "set", fields={"status": "reversed"})
    answers = await look(portone, [good, bad, other], STORE)
    assert isinstance(answers[good], Payment)
    assert [type(answers[imp_uid]) for imp_uid in (bad, other)] == [UnreadablePayment] * 2


@pytest.mark.parametrize("size", [2, 3, 17, 100])
async def test_a_poisonous_batch_is_halved(sandbox: RunningSandbox, portone: PortOne, size: int) -> None:
    """A batch that fails twice is split in halves, until only the faulty payment has no answer."""
    imp_uids = await _bulk(sandbox, size)
    for poison in {imp_uids[0], imp_uids[size // 2], imp_uids[-1]}:
        poisoned = Poisoned(portone, {poison})
        answers = await look(poisoned, imp_uids, STORE)
        unanswered = [imp_uid for imp_uid, answer in answers.items() if not isinstance(answer, Payment)]
        assert unanswered == [poison]
        assert poisoned.batches[:2] == [size, size]
        assert len(poisoned.batches) <= 2 + 2 * size.bit_length()


async def test_a_portone_that_is_down_is_not_hammered(sandbox: RunningSandbox, portone: PortOne) -> None:
    """If neither half is answered, no smaller batch is tried, and every payment has a failure to ask."""
    imp_uids = await _bulk(sandbox, 64)
    poisoned = Poisoned(portone, set(imp_uids))
    answers = await look(poisoned, imp_uids, STORE)
    assert _outcomes(answers.values()) == [Outcome.PORTONE_UNAVAILABLE] * 64
    assert len(poisoned.batches) == 4


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("401", Outcome.PORTONE_REFUSED),
        ("500", Outcome.PORTONE_UNAVAILABLE),
        ("garbage", Outcome.ANSWER_UNREADABLE),
    ],
)
@pytest.mark.parametrize("size", [1, 2])
async def test_a_failure_to_ask_is_everybodys_answer(
    sandbox: RunningSandbox, portone: PortOne, fault: str, outcome: Outcome, size: int
) -> None:
    """If a batch could not be asked, no payment of it counts as unknown."""
    imp_uids = await _bulk(sandbox, size)
    await sandbox.faults(api_answer=fault, api_path="/payments")
    answers = await look(portone, imp_uids, STORE)
    assert _outcomes(answers.values()) == [outcome] * size


async def test_another_store_sees_nothing(sandbox: RunningSandbox, portone: PortOne) -> None:
    """A payment made under a tier is found only under that tier, and names its store."""
    imp_uid = (await sandbox.pay("order-1", 64900, tier="abc"))["imp_uid"]
    assert await look(portone, [imp_uid], STORE) == {imp_uid: None}
    payment = (await look(portone, [imp_uid], Store("default", "abc")))[imp_uid]
    assert isinstance(payment, Payment)
    assert payment.store == Store("default", "abc")
