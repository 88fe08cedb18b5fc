"""The oracle of refunds notices each way in which a refund can be wrong."""

from typing import Any

import pytest

from faults.refund_oracle import RefundOracle, Refunds
from tests.faults.truth import TERMS, given_back, paid, payment

WRONG, TWICE = "wrong_amount", "duplicate_payment"
FIRST = payment(paid())
SECOND = payment(paid(12), imp_uid="imp_2")
BACK = payment(paid(12), given_back((1000, TWICE)), imp_uid="imp_2")
LITTLE = payment(paid(), given_back((900, WRONG)), imp_uid="imp_2", amount=900)


def row(state: str, amount: int | None = 1000, imp_uid: str = "imp_2") -> dict[str, Any]:
    return {"imp_uid": imp_uid, "state": state, "amount": amount}


def wrong(
    rows: list[dict[str, Any]], *truth: dict[str, Any], calls: int = 1, asked: int = 1, wanted: tuple[str, ...] = ()
) -> list[str]:
    return RefundOracle({"order-1": TERMS}, truth, calls, wanted).judge(Refunds(rows, asked))


@pytest.mark.parametrize(
    ("rows", "truth"),
    [
        ([row("refunded")], (FIRST, BACK)),
        ([row("asked")], (FIRST, SECOND)),
        ([row("refund_unknown")], (FIRST, SECOND)),
        ([row("withdrawn", None)], (payment(paid(), given_back((1000, None))), SECOND)),
        ([row("refunded", 900)], (LITTLE,)),
        ([], (payment(paid(), amount=900),)),
        ([], (payment(paid(12), imp_uid="imp_2"),)),
    ],
)
def test_a_right_refund_is_not_broken(rows: list[dict[str, Any]], truth: tuple[dict[str, Any], ...]) -> None:
    """A duplicate goes back once. One that nobody answered may be open, and money that is wrong waits for a person."""
    assert wrong(rows, *truth, wanted=("imp_2",) if truth == (LITTLE,) else ()) == []


@pytest.mark.parametrize(
    ("rows", "truth", "sentence"),
    [
        (
            [row("refunded")],
            (FIRST, payment(paid(), given_back((500, TWICE), (500, TWICE)), imp_uid="imp_2")),
            "refund of imp_2: it was given back 2 times",
        ),
        ([row("asked")], (FIRST, BACK), "refund of imp_2: it was given back, and the table says asked"),
        ([], (FIRST, BACK), "refund of imp_2: it was given back, and the table says None"),
        (
            [row("refunded", 900)],
            (FIRST, BACK),
            "refund of imp_2: [1000] was given back, and the table says 900",
        ),
        ([], (FIRST, SECOND), "refund of imp_2: it should be given back, and the table says None"),
        (
            [row("intended", None)],
            (FIRST, SECOND),
            "refund of imp_2: it should be given back, and the table says intended",
        ),
        (
            [row("refunded")],
            (BACK,),
            "refund of imp_2: it was given back as a duplicate, and no other payment paid the order then",
        ),
        (
            [row("refunded")],
            (payment(paid(), given_back((1000, None))), payment(paid(12), given_back((1000, TWICE)), imp_uid="imp_2")),
            "refund of imp_2: it was given back as a duplicate, and no other payment paid the order then",
        ),
        (
            [row("refunded", 900)],
            (LITTLE,),
            "refund of imp_2: it was given back for wrong_amount, which nobody wanted or which is not so",
        ),
        ([row("withdrawn", None, "imp_9")], (FIRST,), "refunds of imp_9, which PortOne does not have"),
    ],
)
def test_a_wrong_refund_is_broken(rows: list[dict[str, Any]], truth: tuple[dict[str, Any], ...], sentence: str) -> None:
    """Twice, not as the table says, not at all, and of money that should stay."""
    assert wrong(rows, *truth) == [sentence]


def test_a_refund_that_only_the_table_knows_is_broken() -> None:
    """`refunded` is said only of money that PortOne gave back."""
    sentence = "refund of imp_2: the table says that it was given back, and PortOne did not"
    assert sentence in wrong([row("refunded")], FIRST, SECOND)


def test_money_that_a_person_was_promised_is_broken_until_it_is_back() -> None:
    """A refund that the command has recorded is carried out."""
    held = payment(paid(), amount=900, imp_uid="imp_2")
    sentence = "refund of imp_2: it should be given back, and the table says intended"
    assert wrong([row("intended", None)], held, wanted=("imp_2",)) == [sentence]


def test_a_call_too_many_is_broken() -> None:
    """A refund is sent once, also where PortOne would refuse the second call."""
    assert wrong([row("refunded")], FIRST, BACK, calls=2) == ["refunds were sent 2 times, and asked for 1 times"]
    assert wrong([row("refunded")], FIRST, BACK, calls=1, asked=2) == []


def test_a_refund_of_no_order_is_broken() -> None:
    """Money of an order that nobody registered is never given back."""
    sentence = "refund of imp_2: it was given back, and nobody registered its order"
    assert wrong([row("refunded")], payment(paid(), given_back((1000, WRONG)), imp_uid="imp_2", merchant_uid="x")) == [
        sentence
    ]
