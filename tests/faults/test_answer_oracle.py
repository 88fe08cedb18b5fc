"""The oracle of answers notices each kind of wrong answer, and finds no fault with a right one."""

from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from faults.answer_oracle import AnswerOracle, Registered
from faults.answers import Answer, Kind
from tests.faults.truth import TERMS, given_back, paid, payment

ORDERS = {"order-1": Registered(TERMS, 1.0, 2.0), "order-2": Registered(TERMS | {"amount": 500}, 1.0, 2.0)}
PAID = payment(paid())
FAILED_THEN_PAID = payment({"status": "failed"}, paid(12))
TOO_LITTLE = payment(paid(), amount=900)
REFUNDED = payment(paid(), given_back((1000, None)))


def answer(
    status: int, content: dict[str, Any] | str, kind: Kind = Kind.PAYMENT, at: float = 20.0, **asked: Any
) -> Answer:
    text = content if isinstance(content, str) else orjson.dumps(content).decode()
    question = {"imp_uid": "" if kind is Kind.ORDER else "imp_1", "merchant_uid": "order-1", "amount": None} | asked
    return Answer(kind, sent_at=at, received_at=at + 0.5, status=status, text=text, **question)


def verified(state: str = "paid", **asked: Any) -> Answer:
    named = asked.get("merchant_uid", "order-1")
    if asked.get("kind") is Kind.RETURN:
        return answer(303, "http://shop.invalid/done?" + urlencode({"merchant_uid": named, "state": state}), **asked)
    return answer(200, {"merchant_uid": named, "state": state}, **asked)


def refused(problem: str, **asked: Any) -> Answer:
    if asked.get("kind") is Kind.RETURN:
        return answer(303, "http://shop.invalid/done?" + urlencode({"state": "failed", "reason": problem}), **asked)
    return answer(400, {"type": f"urn:portone-orders:problem:{problem}", "status": 400}, **asked)


def unsettled(reason: str, **asked: Any) -> Answer:
    return answer(202, {"merchant_uid": "order-1", "reason": reason, "read_on": "/orders/order-1"}, **asked)


def confirmed(amount: int = 1000, status: int = 200, **asked: Any) -> Answer:
    return answer(status, "OK" if status == 200 else {"reason": "no"}, Kind.CONFIRMATION, amount=amount, **asked)


def wrong(said: Answer | list[Answer], *truth: dict[str, Any], lag: float = 0.2) -> list[str]:
    """Return what is wrong with the answers, without the answers themselves."""
    answers = said if isinstance(said, list) else [said]
    return [line.rpartition(": ")[2] for line in AnswerOracle(ORDERS, truth, lag).judge(answers)]


@pytest.mark.parametrize(
    ("said", "truth"),
    [
        (verified(), PAID),
        (verified(kind=Kind.ORDER), PAID),
        (verified(kind=Kind.RETURN), PAID),
        (verified(at=11.0), PAID),
        (verified(), REFUNDED),  # it was paid before
        (verified("cancelled"), REFUNDED),
        (verified("awaiting_deposit"), payment({"vbank_num": "1"})),
        (refused("wrong-amount"), TOO_LITTLE),
        (refused("wrong-store"), payment(paid(), tier="ABC")),
        (refused("payment-unknown"), payment(paid(), account="second")),  # the order's account does not know it
        (refused("test-channel"), payment(paid(), sandbox=True)),
        (refused("other-order", merchant_uid="order-2"), PAID),
        (refused("payment-failed", at=11.1), FAILED_THEN_PAID),
        (refused("payment-failed", at=12.1), FAILED_THEN_PAID),  # PortOne's reads are 0.2 s late
        (refused("payment-unknown", at=10.1), PAID),
        (refused("payment-unknown", imp_uid="imp_9"), PAID),
        (unsettled("portone-not-answering"), PAID),
        (unsettled("order-not-registered", at=1.5), PAID),
        (confirmed(), payment()),
        (confirmed(900, status=409), payment()),
        (confirmed(status=409), PAID),
        (confirmed(status=409, at=1.5), payment()),
        (confirmed(status=424), payment()),
    ],
)
def test_a_right_answer_is_not_broken(said: Answer, truth: dict[str, Any]) -> None:
    """A state may be said that was true by then; a refusal must be true of a moment since the question was sent."""
    assert wrong(said, truth) == []


NOT_PAID = "by PortOne's truth it could be one of"


@pytest.mark.parametrize(
    ("said", "truth", "sentence"),
    [
        (verified(at=10.2), PAID, f"{NOT_PAID} ['pending']"),
        (verified(kind=Kind.RETURN, at=10.2), PAID, f"{NOT_PAID} ['pending']"),
        (verified(kind=Kind.ORDER, at=10.2), PAID, f"{NOT_PAID} ['pending']"),
        (verified("partially_cancelled"), PAID, f"{NOT_PAID} ['paid', 'pending']"),
        (verified(), TOO_LITTLE, f"{NOT_PAID} []"),
        (verified(), payment(paid(), sandbox=True), f"{NOT_PAID} []"),
        (verified(), payment(paid(), tier="ABC"), f"{NOT_PAID} []"),
        (verified(), payment(paid(), account="second"), f"{NOT_PAID} []"),
        (verified(), payment(paid(), currency="USD"), f"{NOT_PAID} []"),
        (verified(merchant_uid="order-2"), PAID, f"{NOT_PAID} []"),
        (verified(at=0.1), PAID, "the order was not registered"),
        (verified(merchant_uid="order-3"), PAID, "the order was not registered"),
    ],
)
def test_a_state_that_was_not_true_is_broken(said: Answer, truth: dict[str, Any], sentence: str) -> None:
    """`paid` is said of no window that is open, no other amount, currency, channel, tier, account or order."""
    assert wrong(said, truth) == [sentence]


@pytest.mark.parametrize(
    ("said", "truth", "sentence"),
    [
        (refused("payment-failed"), FAILED_THEN_PAID, "a payment that agrees held the money all the time"),
        (refused("payment-failed", kind=Kind.RETURN), PAID, "a payment that agrees held the money all the time"),
        (refused("payment-unknown", kind=Kind.ORDER), PAID, "a payment that agrees held the money all the time"),
        (refused("payment-failed"), payment(), "the payment had not failed"),
        (refused("payment-unknown"), payment(), "PortOne knew the payment all the time"),
        (refused("other-order"), payment(), "the payment is this order's"),
        (refused("test-channel"), TOO_LITTLE, "the payment does not disagree so"),
        (refused("wrong-store"), TOO_LITTLE, "the payment does not disagree so"),
        (unsettled("order-not-registered"), PAID, "the order was registered before"),
        (refused("unusable-notice", kind=Kind.ORDER), PAID, "the order was registered before"),
    ],
)
def test_a_refusal_that_is_not_true_is_broken(said: Answer, truth: dict[str, Any], sentence: str) -> None:
    """A buyer who has paid is not sent to pay again, and no refusal gives a reason that does not exist."""
    assert wrong(said, truth) == [sentence]


@pytest.mark.parametrize(
    ("said", "truth", "sentence"),
    [
        (confirmed(900), payment(), "the order is of 1000"),
        (confirmed(at=0.1), payment(), "the order was not registered"),
        (confirmed(merchant_uid="order-3"), payment(), "the order was not registered"),
        (confirmed(status=409), payment(), "the order was registered with this amount, and nothing was paid"),
        (confirmed(status=500), payment(), "no such answer is promised"),
    ],
)
def test_a_wrong_confirmation_is_broken(said: Answer, truth: dict[str, Any], sentence: str) -> None:
    """No other amount and no unknown order is let through, and no buyer is kept from paying."""
    assert wrong(said, truth) == [sentence]


def test_an_order_that_was_said_to_be_paid_is_not_confirmed_again() -> None:
    """Once a caller knows that the order is paid, no second window may take its money; unless it was given back."""
    said = [verified(at=12.0), confirmed(at=13.0)]
    assert wrong(said, PAID) == ["a caller had been told before that it is paid"]
    assert wrong(said, REFUNDED) == []
    assert wrong([confirmed(at=12.0), verified(at=12.1)], PAID) == []


def test_a_confirmation_may_be_of_an_earlier_primary_for_some_seconds() -> None:
    """Soon after a promotion a receiver may still read what was true before; longer after, and before, it may not."""
    for promoted_at, wrong in ((19.0, 0), (10.0, 1), (25.0, 1)):
        answer_oracle = AnswerOracle(ORDERS, [payment()], promoted_at=[promoted_at])
        assert len(answer_oracle.judge([confirmed(status=409, at=20.0)])) == wrong


@pytest.mark.parametrize("status", [403, 500])
def test_a_machines_error_is_broken(status: int) -> None:
    """A browser is never answered with an error that nobody promised."""
    assert wrong(answer(status, "no"), PAID) == ["no such answer is promised"]


def test_whatever_names_an_order_that_was_not_asked_about_is_broken() -> None:
    """A payment that is claimed for one order never tells which order is its own."""
    said = answer(
        400, {"type": "urn:portone-orders:problem:other-order", "detail": "of order-1"}, merchant_uid="order-2"
    )
    assert wrong(said, PAID) == ["it names ['order-1']"]
