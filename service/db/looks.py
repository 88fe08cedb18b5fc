"""A look's two ends in Postgres, a trip each: its claim, and what is written of it (migrations 0009 and 0010)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson

from service.db import orders, payments
from service.db.notices import OpenNotice
from service.db.orders import VersionedOrder
from service.db.pool import Connection
from service.domain.notice import Outcome, Source
from service.domain.order import Order, Settlement
from service.domain.payment import Store
from service.domain.staleness import StoredLook


@dataclass(frozen=True, slots=True)
class Fresh:
    """Claimed notices about which nothing was to be decided, their look's ticket, and their orders by merchant_uid.

    Of no payment of these orders was anything stored.
    """

    notices: Sequence[OpenNotice] = ()
    orders: Mapping[str, VersionedOrder] = field(default_factory=dict)
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a batch of looks means: payments that are news, orders that change, notices that are handled."""

    news: Sequence[StoredLook] = ()
    changes: Sequence[tuple[VersionedOrder, Settlement]] = ()
    handled: Sequence[tuple[OpenNotice, Outcome]] = ()


_UNSETTLED = Settlement()
_SOURCES = {source.value: source for source in Source}  # a third of what `Source(…)` costs


async def claim_fresh(db: Connection, ids: Sequence[UUID], lease: timedelta, *, allow_test_channel: bool) -> Fresh:
    """Claim those of the notices whose order is as it was registered, and whose payment nobody has seen.

    The commit does not wait for the disk: write what the look says on this same connection
    (docs/decisions/0013-a-look-ends-with-its-connection.md).
    """
    wanted = f"{{{','.join(map(str, ids))}}}"
    rows = await db.fetch("SELECT * FROM claim_fresh($1::text::uuid[], $2)", wanted, lease)
    if not rows:
        return Fresh()
    claimed, found = [], {}
    for (
        notice_id, source, imp_uid, claimed_status, arrivals, tries, age,
        merchant_uid, amount, currency, account, tier, version, _,
    ) in rows:  # fmt: skip
        claimed.append(
            OpenNotice(
                notice_id, _SOURCES[source], True, imp_uid, account, tier, claimed_status, None, arrivals, tries, age,
                None, None,
            )
        )  # fmt: skip
        terms = Order(merchant_uid, amount, currency, Store(account, tier), allow_test_channel)
        found[merchant_uid] = VersionedOrder(terms, _UNSETTLED, version)
    return Fresh(claimed, found, rows[0]["ticket"])


async def write(db: Connection, merchant_uids: Sequence[str], meaning: Meaning) -> None:
    """Write it, holding the locks of these orders.

    Raises asyncpg.SerializationError when an order has another version than its change was made from.
    """
    await _write(db, True, [(merchant_uid,) for merchant_uid in merchant_uids], meaning)


async def write_if_unchanged(db: Connection, read: Sequence[VersionedOrder], meaning: Meaning) -> None:
    """Take these orders' locks and write it, if they are as they were read, and none of their payments is stored.

    Raises asyncpg.SerializationError, and writes nothing, when they are not.
    """
    changing = {order.terms.merchant_uid for order, _ in meaning.changes}  # each change has its order's version
    of_orders = [(name,) if (name := order.terms.merchant_uid) in changing else (name, order.version) for order in read]
    await _write(db, False, of_orders, meaning)


async def _write(db: Connection, locked: bool, of_orders: Sequence[tuple[Any, ...]], said: Meaning) -> None:
    """Rows as JSON arrays in the function's order, for asyncpg asks of each element of an array if it is a sequence."""
    await db.execute(
        "SELECT write_looks($1, $2::text::jsonb, $3::text::jsonb, $4::text::jsonb, $5::text::jsonb)",
        locked,
        _json(of_orders),
        _json([payments.columns(look) for look in payments.in_turn(said.news)]),
        _json(
            [
                (order.terms.merchant_uid, order.version, *orders.columns(settlement))
                for order, settlement in said.changes
            ]
        ),
        _json([(*alike, ids) for alike, ids in _alike(said.handled).items()]),
    )


def _alike(handled: Sequence[tuple[OpenNotice, Outcome]]) -> Mapping[tuple[Outcome, int], Sequence[str]]:
    alike = defaultdict(list)
    for notice, outcome in handled:
        alike[outcome, notice.arrivals].append(str(notice.id))
    return alike


def _json(rows: Sequence[Any]) -> str:
    return orjson.dumps(rows).decode()
