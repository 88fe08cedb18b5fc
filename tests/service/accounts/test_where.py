"""A notice is looked at under the right account and tier, keeps its account, and uses its account's budget."""

from datetime import timedelta

import pytest

from service.db import looks, notices
from service.db.pool import Pool, in_transaction
from service.domain.notice import Notice, Source
from service.domain.payment import Store
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from service.redis.budget import Budget, Lane
from service.redis.queue import Queue, connect
from tests.service import stored


def _notice(account: str | None, tier: str | None) -> Notice:
    return Notice(new_notice_id(), Source.WEBHOOK, "imp_1", "order-1", tier, account=account)


async def _where(pool: Pool, *given: Notice) -> set[tuple[Store, Store | None]]:
    """Return the store in which each notice is looked at, and its hint, recorded one after the other."""
    rows = []
    for notice in given:
        recorded = await in_transaction(pool, notices.record, [notice], timedelta())
        rows += recorded
    claim = await in_transaction(pool, looks.claim, rows, Timetable(), allow_test_channel=False)
    return {(notice.store, notice.hint) for notice in claim.to_look}


@pytest.mark.parametrize(
    ("given", "registered", "where"),
    [
        ((None, None), None, (Store("default"), None)),
        ((None, None), Store("default", "abc"), (Store("default", "abc"), None)),
        ((None, None), Store("shop-b", "abc"), (Store("shop-b", "abc"), None)),
        # A tier without an account is one of the default account.
        ((None, "abc"), Store("shop-b", "xyz"), (Store("shop-b", "xyz"), Store("default", "abc"))),
        ((None, ""), Store("shop-b", "xyz"), (Store("shop-b", "xyz"), Store("default"))),
        (("shop-b", None), None, (Store("shop-b"), None)),
        (("shop-b", None), Store("shop-b", "abc"), (Store("shop-b", "abc"), None)),
        # The tier of another account's order does not belong to this account.
        (("shop-b", None), Store("default", "abc"), (Store("default", "abc"), Store("shop-b"))),
        (("shop-b", "abc"), Store("default", "xyz"), (Store("default", "xyz"), Store("shop-b", "abc"))),
    ],
)
async def test_where_a_notice_is_looked_at(
    pool: Pool, given: tuple[str | None, str | None], registered: Store | None, where: tuple[Store, Store | None]
) -> None:
    """A notice is looked at where its order is registered, then where it says; without an order, only where it says."""
    if registered:
        await stored.register_order(pool, "order-1", store=registered)
    assert await _where(pool, _notice(*given)) == {where}


@pytest.mark.parametrize(
    ("first", "second", "where"),
    [
        (("shop-b", "abc"), (None, None), Store("shop-b", "abc")),
        ((None, "abc"), ("shop-b", None), Store("shop-b")),
        (("shop-b", "abc"), (None, "xyz"), Store("default", "xyz")),
    ],
)
async def test_notices_that_share_a_row(
    pool: Pool, first: tuple[str | None, str | None], second: tuple[str | None, str | None], where: Store
) -> None:
    """The newest notice of an unregistered order counts, and accounts and tiers of two notices are never mixed."""
    assert await _where(pool, _notice(*first), _notice(*second)) == {(where, None)}


async def test_a_spilled_notice_keeps_its_account(redis_url: str) -> None:
    """A notice read back from the stream equals the one that was spilled."""
    queue, given = Queue(connect(redis_url)), [_notice("shop-b", "abc"), _notice(None, "abc")]
    await queue.spill(given, [""] * 2)
    assert [entry.notice for entry in await queue.spilled(10)] == given
    await queue.close()


@pytest.mark.parametrize("away", [False, True])
async def test_one_account_uses_up_no_others_calls(redis_url: str, away: bool) -> None:
    """Each account has the whole rate for itself, even without Redis."""
    redis = connect("redis://127.0.0.1:1/0" if away else redis_url)
    budget = Budget(redis, 1.0)
    while await budget.take(Lane.LIVE, account="shop-b"):
        pass  # a new second may have begun
    assert await budget.take(Lane.LIVE)
    await redis.aclose(close_connection_pool=True)
