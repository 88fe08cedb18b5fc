"""Other systems' payments under the same account never drown the shop's own (docs/portone.md §4.21)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.domain.ownership import Ours
from service.settings import Settings, SettingsError
from tests.service.refunding import Shop
from workers.parts import Parts

LATER = datetime.now(UTC) + timedelta(days=1)


async def _walk(shop: Shop, parts: Parts, ours: Ours) -> int:
    await shop.pool.execute("UPDATE ledger_scans SET next_at = now()")
    return await replace(parts.reconciler, ours=ours).walk_ledger()


async def _noticed(shop: Shop) -> set[str]:
    return {row["merchant_uid"] for row in await shop.pool.fetch("SELECT merchant_uid FROM notices")}


@pytest.mark.parametrize("ours", [Ours(("shop-", "order-")), Ours(("shop-", "order-"), LATER - timedelta(days=2))])
async def test_the_ledger_scan_records_nothing_of_foreign_numbers(shop: Shop, parts: Parts, ours: Ours) -> None:
    """Of 300 foreign payments no notice and no row is left, and the shop's own among them is found."""
    await shop.sandbox.control("POST", "bulk", count=300, prefix="else", amount=10)
    await shop.sandbox.pay("shop-1", 64900)
    assert await _walk(shop, parts, ours) == 1
    assert await _noticed(shop) == {"shop-1"}
    assert await shop.pool.fetchval("SELECT count(*) FROM payments") == 0


async def test_a_payment_from_before_the_cut_off_is_not_ours(shop: Shop, parts: Parts) -> None:
    """History that began before PAYMENTS_SINCE is passed over."""
    await shop.sandbox.pay("shop-1", 64900)
    assert await _walk(shop, parts, Ours(since=LATER)) == 0


async def test_a_registered_order_is_always_ours(shop: Shop, parts: Parts) -> None:
    """The payment of a registered order is looked at, whatever the settings say."""
    await shop.order("else-1")
    await shop.sandbox.pay("else-1", 64900)
    assert await _walk(shop, parts, Ours(("shop-",), LATER)) == 1
    assert await _noticed(shop) == {"else-1"}


async def test_without_settings_anything_may_be_ours(shop: Shop, parts: Parts) -> None:
    """Nothing is passed over unless the operator says how the shop's numbers begin."""
    await shop.sandbox.pay("else-1", 64900)
    assert await _walk(shop, parts, Ours()) == 1


async def test_a_payment_with_odd_marks_may_be_ours(shop: Shop, parts: Parts) -> None:
    """Neither an unreadable time nor an unreadable number makes a payment foreign."""
    odd = {"started_at": "yesterday"}
    imp_uid = (await shop.sandbox.pay("shop-1", 64900))["imp_uid"]
    await shop.sandbox.move(imp_uid, "set", fields=odd)
    nameless = (await shop.sandbox.pay("shop-2", 64900))["imp_uid"]
    await shop.sandbox.move(nameless, "set", fields={"merchant_uid": None})
    assert await _walk(shop, parts, Ours(("shop-",), LATER)) == 2


async def test_times_that_cannot_be_read_end_no_scan(shop: Shop, parts: Parts) -> None:
    """A page whose last rows have odd times is not taken to reach back to the last scan."""
    odd = {"started_at": "yesterday", "paid_at": None, "imp_uid": "imp_1"}
    now = int(datetime.now(UTC).timestamp())
    reconciler, scan = parts.reconciler, _Scan(datetime.now(UTC) - timedelta(hours=1))
    assert not reconciler._reaches([odd], scan)  # type: ignore[arg-type]
    assert not reconciler._reaches([{"started_at": now}, odd, {}, "row"], scan)  # type: ignore[arg-type]
    assert reconciler._reaches([{"started_at": now - 7200}, odd], scan)  # type: ignore[arg-type]


class _Scan:
    def __init__(self, known_until: datetime) -> None:
        self.known_until = known_until


def test_the_settings_say_what_can_be_ours() -> None:
    """Both settings are texts, empty by default; a time without an offset is refused."""
    assert Settings(_env_file=None, payments_since="").ours == Ours()
    given = Settings.load(_env_file=None, order_prefixes="shop-, order-", payments_since="2026-11-01T00:00:00+09:00")
    assert given.ours == Ours(("shop-", "order-"), datetime(2026, 10, 31, 15, tzinfo=UTC))
    with pytest.raises(SettingsError, match="PAYMENTS_SINCE"):
        Settings.load(_env_file=None, payments_since="2026-11-01T00:00:00")
