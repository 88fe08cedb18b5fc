"""An order, and payments of every shape, for the property tests of `settle` and of the rule for refunds."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from service.domain.order import Order
from service.domain.payment import Payment, Status, Store

STORE = Store("default")
ORDER = Order("order-1", 64900, "KRW", STORE)

any_payments = st.lists(
    st.builds(
        Payment,
        imp_uid=st.sampled_from(["imp_1", "imp_2", "imp_3"]),
        merchant_uid=st.just("order-1"),
        store=st.sampled_from([STORE, Store("default", "abc"), Store("shop-b")]),
        status=st.sampled_from(Status),
        amount=st.sampled_from([64900, 100]),
        currency=st.sampled_from(["KRW", "USD"]),
        cancelled_amount=st.sampled_from([0, 50]),
        live=st.booleans(),
        regressed=st.booleans(),
        paid_at=st.sampled_from([None, datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)]),
        details=st.sampled_from([(), (("pay_method", "card"),), (("pay_method", "vbank"),)]),
    ),
    unique_by=lambda payment: payment.imp_uid,
)
