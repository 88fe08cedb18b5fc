"""The oracle's rule knows accounts."""

from faults.oracle import charge_of, disagreements, expect
from tests.faults.truth import TERMS, paid, payment


def test_a_payment_of_another_account_pays_nothing() -> None:
    """It is the problem `wrong_store`, with the order's number or not."""
    foreign = payment(paid(), account="second")
    assert disagreements(TERMS, charge_of(foreign)) == ["wrong_store"]
    expected = expect(TERMS, [foreign])
    assert (expected.state, expected.problems) == ("mismatched", frozenset({("wrong_store", "imp_1")}))
    assert expect(TERMS | {"account": "second"}, [foreign]).state == "paid"
