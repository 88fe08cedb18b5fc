"""Money that should not be there is refunded once, on real databases and the sandbox."""

from service.usecases.refunds import Refunder
from tests.service.refunding import Shop, refund_counts
from workers.refunds import REFUNDER, close_refunds, intend_refunds, send_refunds


async def test_a_duplicate_goes_back_and_the_order_stays_paid(shop: Shop, refunder: Refunder) -> None:
    """The second payment is refunded in full by one call, and the first, which pays the order, is not."""
    first, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    assert await refunder.refund_due() == 1
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["answer"], refund["amount"], refund["who"], refund["why"]) == (
        "refunded", "done", 64900, "portone-orders", "duplicate_payment",
    )  # fmt: skip
    assert await shop.moves(duplicate) == ["intended", "asked", "refunded"]
    assert await refund_counts(shop, [first, duplicate]) == [0, 1]
    caused = "SELECT source FROM order_events WHERE cause = 'look' ORDER BY id DESC LIMIT 1"
    assert await shop.pool.fetchval(caused) == "refund"
    order = await shop.pool.fetchrow("SELECT state, problems FROM orders")
    assert order is not None
    assert (order["state"], order["problems"]) == ("paid", [])


async def test_what_remains_goes_back_exactly(shop: Shop, refunder: Refunder) -> None:
    """A payment of USD 6.10 with 0.10 refunded is refunded by exactly 6.00, and nothing is left."""
    payment = await shop.paid_wrongly("order-1", amount=6.10, currency="USD")
    await shop.sandbox.move(payment, "cancel", amount=0.10)
    await shop.announce("order-1", payment)
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await refunder.refund_due()
    refund = await shop.refund(payment)
    assert (refund["state"], refund["amount"], refund["currency"]) == ("refunded", 600, "USD")
    assert refund["cancellations_before"] == 1
    assert [row["amount"] for row in (await shop.truth(payment))["cancel_history"]] == [0.1, 6.0]


async def test_a_payment_of_another_sub_store_goes_back_there(shop: Shop, refunder: Refunder) -> None:
    """A `wrong_store` payment is refunded under the tier where it was found."""
    payment = await shop.paid_wrongly("order-1", amount=64900, tier="abc")
    assert await shop.problems("order-1") == [("wrong_store", payment)]
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await refunder.refund_due()
    assert (await shop.refund(payment))["state"] == "refunded"


async def test_the_cron_tasks_go_the_same_way(shop: Shop, refunder: Refunder) -> None:
    """One run of each of the three tasks ends in a refund."""
    _, duplicate = await shop.paid_twice("order-1")
    ctx = {REFUNDER: refunder}
    await intend_refunds(ctx)
    await shop.let_the_finding_age()
    await send_refunds(ctx)
    await close_refunds(ctx)
    assert (await shop.refund(duplicate))["state"] == "refunded"
