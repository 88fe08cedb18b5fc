"""Money of the wrong account is refunded under the account where it is."""

from dataclasses import replace

import pytest

from service.domain.refund import Hold
from service.errors import NotRefundable
from service.usecases.refund_intents import Intents
from service.usecases.refunds import Refunder
from tests.service.refunding import REFUND_ALL, TIMES, Shop
from workers.parts import Parts


@pytest.fixture
def refunder(parts: Parts, shop: Shop) -> Refunder:
    """The worker's refunder, with a policy that refunds."""
    assert parts.refunder is not None
    intents = replace(parts.refunder.intents, policy=REFUND_ALL, times=TIMES)
    return replace(parts.refunder, verifier=shop.verifier, intents=intents, times=TIMES)


@pytest.mark.parametrize("tier", [None, "abc"])
async def test_it_goes_back_under_the_account_where_it_was_found(
    shop: Shop, refunder: Refunder, tier: str | None
) -> None:
    """A `wrong_store` payment is refunded with its own account's token, because another would be refused."""
    imp_uid = await shop.paid_wrongly("order-1", amount=64900, account="shop-b", tier=tier)
    assert await shop.problems("order-1") == [("wrong_store", imp_uid)]
    assert await refunder.intents.intend_due() == 1
    await shop.let_the_finding_age()
    assert await refunder.refund_due() == 1
    assert (await shop.refund(imp_uid))["state"] == "refunded"
    assert (await shop.truth(imp_uid))["status"] == "cancelled"


async def test_an_account_that_was_removed_gets_no_call(shop: Shop) -> None:
    """A removed account's payment is held for a person with the reason, and no other account is asked."""
    imp_uid = await shop.paid_wrongly("order-1", amount=64900, account="shop-b")
    without = Intents(shop.pool, REFUND_ALL, frozenset({"default"}), times=TIMES)
    assert await without.intend_due() == 0
    with pytest.raises(NotRefundable, match=Hold.OTHER_ACCOUNT.value):
        await without.intend_by_person(imp_uid, "kim", "it is not ours")
    assert await shop.cancel_calls() == 0
