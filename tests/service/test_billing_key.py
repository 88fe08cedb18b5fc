"""A row that only issued a billing key is no charge (docs/portone.md §4.18)."""

from typing import Any

import pytest

from service.db.orders import NewOrder
from service.domain.order import Order
from service.domain.payment import ACCOUNT, Store
from service.domain.timetable import Timetable
from service.usecases.coalescing import BatchBounds
from service.usecases.registration import Registration
from tests.running import RunningService
from tests.sandbox_client import RunningSandbox
from tests.service.refunding import Shop, make_refunder
from workers.parts import Parts

ISSUE = {"customer_uid": "buyer-17", "customer_uid_usage": "issue", "pg_provider": "html5_inicis"}


async def _issued(shop: Shop, merchant_uid: str = "order-1", amount: int = 64900, **fields: Any) -> str:
    """Let a window issue a billing key, and look. Returns the payment."""
    imp_uid: str = (await shop.sandbox.pay(merchant_uid, amount, fields=ISSUE | fields))["imp_uid"]
    await shop.announce(merchant_uid, imp_uid)
    return imp_uid


async def _state(shop: Shop, merchant_uid: str = "order-1") -> str:
    state: str = await shop.pool.fetchval("SELECT state FROM orders WHERE merchant_uid = $1", merchant_uid)
    return state


async def test_a_billing_key_pays_no_order(shop: Shop) -> None:
    """A `paid` row of the whole amount with `customer_uid_usage` `issue` is a problem, and its order stays pending."""
    await shop.order("order-1")
    imp_uid = await _issued(shop)
    assert (await _state(shop), await shop.problems("order-1")) == ("pending", [("billing_key_issue", imp_uid)])


@pytest.mark.parametrize("provider", ["jtnet", "danal", "danal_tpay", "mobilians", "kakaopay", "KAKAO"])
async def test_a_provider_that_charges_in_the_issuing_window_pays(shop: Shop, provider: str) -> None:
    """Where the issuing window charges, the payment counts like any other."""
    await shop.order("order-1")
    await _issued(shop, pg_provider=provider)
    assert (await _state(shop), await shop.problems("order-1")) == ("paid", [])


@pytest.mark.parametrize("provider", [None, 7, "danal_vbank", "nice"])
async def test_a_provider_that_is_not_known_to_charge_pays_nothing(shop: Shop, provider: object) -> None:
    """A missing, odd or other provider is not taken for one that charges."""
    await shop.order("order-1")
    await _issued(shop, pg_provider=provider)
    assert await _state(shop) == "pending"


@pytest.mark.parametrize("usage", ["payment", "payment.scheduled", None, "", "new_usage"])
async def test_a_charge_by_billing_key_pays(shop: Shop, usage: str | None) -> None:
    """Any other use of a billing key is a charge."""
    await shop.order("order-1")
    await _issued(shop, customer_uid_usage=usage)
    assert await _state(shop) == "paid"


async def test_an_order_may_be_registered_for_it(shop: Shop) -> None:
    """An order whose terms allow it is paid by such a payment."""
    order = Order("order-1", 64900, "KRW", Store(ACCOUNT), allow_billing_key_issue=True)
    await Registration(shop.pool, Timetable(), BatchBounds(1)).register(NewOrder(order))
    await _issued(shop)
    assert (await _state(shop), await shop.problems("order-1")) == ("paid", [])


@pytest.mark.parametrize("amount", [64900, 100])
async def test_the_real_charge_beside_it_is_not_refunded(shop: Shop, parts: Parts, amount: int) -> None:
    """With both policies on `refund`, neither the billing key's row nor the later real charge is given back."""
    await shop.order("order-1")
    key = await _issued(shop, amount=amount)
    charge = (await shop.sandbox.pay("order-1", 64900, force=True))["imp_uid"]
    await shop.announce("order-1", charge)
    assert (await _state(shop), await shop.problems("order-1")) == ("paid", [("billing_key_issue", key)])
    client: Any = parts.verifier.accounts["default"]
    assert await make_refunder(parts.verifier, client).intents.intend_due() == 0
    assert await shop.cancel_calls() == 0


async def test_it_is_never_left_behind(shop: Shop, parts: Parts) -> None:
    """Reconciliation does not take the money that its row names for money that the order fails to show."""
    await shop.order("order-1")
    await _issued(shop)
    await shop.pool.execute("UPDATE order_checks SET next_check_at = now()")
    await parts.reconciler.ask_about_silent_orders()
    assert await shop.pool.fetchval("SELECT count(*) FROM notices WHERE source = 'reconcile'") == 0


async def test_the_billing_key_itself_is_not_kept(shop: Shop) -> None:
    """The use of the key is a fact that is kept; the key itself is not."""
    await shop.order("order-1")
    await _issued(shop)
    assert "buyer-17" not in str(await shop.pool.fetch("SELECT * FROM payments"))


async def test_the_buyer_and_the_shop_are_told(service: RunningService, sandbox: RunningSandbox) -> None:
    """The completion call is refused as `billing-key-issue`; an order that allows it is paid, and says that it does."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900, fields=ISSUE))["imp_uid"]
    status, body = await service.decided(imp_uid, "order-1")
    assert (status, body["type"].rpartition(":")[2]) == (400, "billing-key-issue")
    assert (await service.register("order-2", allow_billing_key_issue=True))["allow_billing_key_issue"]
    imp_uid = (await sandbox.pay("order-2", 64900, fields=ISSUE))["imp_uid"]
    assert (await service.decided(imp_uid, "order-2"))[0] == 200
