"""Money that should not be there goes back once: on real stores and the sandbox."""

from service.usecases.refunds import Refunder
from tests.service.refunding import Shop, given_back
from workers.refunds import REFUNDER, close_refunds, intend_refunds, send_refunds


async def test_a_duplicate_goes_back_and_the_order_stays_paid(shop: Shop, refunder: Refunder) -> None:
    """The second payment is refunded whole by one call; the first, which pays the order, is not touched."""
    kept, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    assert await refunder.refund_due() == 1
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["answer"], refund["amount"], refund["who"], refund["why"]) == (
        "refunded", "done", 64900, "portone-orders", "duplicate_payment",
    )  # fmt: skip
    assert await shop.moves(duplicate) == ["intended", "asked", "refunded"]
    assert await given_back(shop, [kept, duplicate]) == [0, 1]
    order = await shop.pool.fetchrow("SELECT state, problems FROM orders")
    assert order is not None
    assert (order["state"], order["problems"]) == ("paid", [])


async def test_what_remains_goes_back_exactly(shop: Shop, refunder: Refunder) -> None:
    """USD 6.10 of which 0.10 has gone back already: 6.00 is asked for, its own checksum, and nothing is left."""
    payment = await shop.paid_wrongly("order-1", amount=6.10, currency="USD")
    await shop.sandbox.move(payment, "cancel", amount=0.10)
    await shop.tell("order-1", payment)
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await refunder.refund_due()
    refund = await shop.refund(payment)
    assert (refund["state"], refund["amount"], refund["currency"]) == ("refunded", 600, "USD")
    assert refund["cancellations_before"] == 1
    assert [row["amount"] for row in (await shop.truth(payment))["cancel_history"]] == [0.1, 6.0]


async def test_a_payment_of_another_sub_store_goes_back_there(shop: Shop, refunder: Refunder) -> None:
    """`wrong_store`: the call goes under the tier where the payment was found."""
    payment = await shop.paid_wrongly("order-1", amount=64900, tier="abc")
    assert await shop.problems("order-1") == [("wrong_store", payment)]
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await refunder.refund_due()
    assert (await shop.refund(payment))["state"] == "refunded"


async def test_the_cron_tasks_go_the_same_way(shop: Shop, refunder: Refunder) -> None:
    """The three tasks, a turn each, end in a refund."""
    _, duplicate = await shop.paid_twice("order-1")
    ctx = {REFUNDER: refunder}
    await intend_refunds(ctx)
    await shop.let_the_finding_age()
    await send_refunds(ctx)
    await close_refunds(ctx)
    assert (await shop.refund(duplicate))["state"] == "refunded"
