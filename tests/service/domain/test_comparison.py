"""Each field of an order's terms stands beside PortOne's word, and says whether they agree."""

import pytest

from service.domain.comparison import compare, payment_of
from service.domain.order import Order
from service.domain.payment import Store

ORDER = Order("order-1", 64900, "KRW", Store("default"))
FACTS = {
    "imp_uid": "imp_1", "account": "default", "tier": "", "status": "paid", "amount": 64900, "currency": "KRW",
    "cancelled_amount": 0, "live": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        ({}, set()),
        ({"amount": 100}, {"amount"}),
        ({"currency": "USD"}, {"currency"}),
        ({"tier": "abc"}, {"store"}),
        ({"live": False}, {"channel"}),
        (
            {"amount": 1, "currency": "USD", "account": "shop-b", "live": False},
            {"amount", "currency", "store", "channel"},
        ),
    ],
    ids=lambda value: ",".join(sorted(value)),
)
def test_what_differs_is_marked(other: dict[str, object], differs: set[str]) -> None:
    """A field is marked exactly if the rule that decides the order's state finds it wrong."""
    payment = payment_of(ORDER, FACTS | other)
    assert payment is not None
    assert {field.name for field in compare(ORDER, payment) if not field.agrees} == differs


def test_an_unreadable_payment_is_none() -> None:
    """Nothing is compared with an answer that could not be read."""
    assert payment_of(ORDER, {"imp_uid": "imp_1", "account": "default", "tier": "", "unreadable": True}) is None
