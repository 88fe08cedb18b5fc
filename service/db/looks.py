"""A look's two ends in Postgres: its claim, and the write of what it means. Each is one trip to the database.

The statements are the functions `claim_notices_v3` and `write_looks_v2` (service/db/functions).
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from service.db import orders, payments, unreadable
from service.db.json_rows import json_rows
from service.db.pool import Connection
from service.domain.evidence import Evidence
from service.domain.judgement import Handled, Judgement, Parked, Postponed
from service.domain.notice import OpenNotice, Source
from service.domain.order import ASKED_ABOUT, Order, Settlement, VersionedOrder
from service.domain.payment import Store
from service.domain.timetable import Timetable

_SOURCES = {source.value: source for source in Source}  # a third of what `Source(…)` costs
# What is queued again this soon goes to the queue at once; the sweep, every 2 s, would come late.
QUEUED_UP_TO = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Claim:
    """Notices that were claimed for one look, the look's ticket, and the notices that need none now.

    `fresh` holds orders, by merchant_uid, of whose payments nothing is stored. `served` names the payments of notices
    that a stored look answers. `too_soon` holds notices, and their wait, whose payment was looked at a moment ago.
    `at` is the time of the claim, by `time.monotonic`.
    """

    to_look: list[OpenNotice] = field(default_factory=list)
    fresh: dict[str, VersionedOrder] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    too_soon: list[tuple[UUID, timedelta]] = field(default_factory=list)
    ticket: int = 0
    at: float = field(default_factory=time.monotonic, compare=False)


async def claim(db: Connection, ids: Sequence[UUID], times: Timetable, *, allow_test_channel: bool) -> Claim:
    """Claim those of the notices that are open, and sort out those that need no look.

    The commit does not wait for the disk: write what the look says on this same connection
    (docs/decisions/0013-end-a-look-with-its-connection.md).
    """
    wanted = f"{{{','.join(map(str, ids))}}}"
    rows = await db.fetch(
        "SELECT * FROM claim_notices_v3($1::text::uuid[], $2, $3, $4)", wanted, times.lease, times.spacing, times.queued
    )
    claimed = Claim(ticket=rows[0]["ticket"] if rows else 0)
    for row in rows:
        match row["verdict"]:
            case "served":
                claimed.served.append(row["imp_uid"])
            case "too_soon":
                claimed.too_soon.append((row["id"], row["wait"]))
            case _:
                claimed.to_look.append(_open_notice(row))
                if row["fresh"]:
                    claimed.fresh[row["merchant_uid"]] = _fresh_order(row, allow_test_channel)
    return claimed


def _open_notice(row: asyncpg.Record) -> OpenNotice:
    store = Store(row["account"], row["tier"])
    hint = Store(row["hint_account"], row["hint_tier"] or "") if row["hint_account"] is not None else store
    return OpenNotice(
        row["id"],
        _SOURCES[row["source"]],
        row["merchant_uid"] is not None,
        row["imp_uid"],
        store,
        hint if hint != store else None,
        row["claimed_status"],
        row["arrivals"],
        row["tries"],
        row["age"],
        row["looked_at"],
        row["crowded"],
    )


def _fresh_order(row: asyncpg.Record, allow_test_channel: bool) -> VersionedOrder:
    store = Store(row["account"], row["tier"])  # an order's payments are looked for in its own store first
    allow_key = row["allow_billing_key_issue"]
    terms = Order(row["merchant_uid"], row["amount"], row["currency"], store, allow_test_channel, allow_key)
    return VersionedOrder(terms, Settlement(), row["version"])


async def write(db: Connection, merchant_uids: Sequence[str], judgement: Judgement, times: Timetable) -> None:
    """Write it, holding the locks of these orders.

    Raises asyncpg.SerializationError when an order has another version than its change was made from.
    """
    await _write(db, True, [(merchant_uid,) for merchant_uid in merchant_uids], judgement, times)
    await unreadable.write(db, judgement)
    if judgement.unregistered:
        await payments.mark_unregistered(db, judgement.unregistered)


async def write_if_unchanged(
    db: Connection, read: Sequence[VersionedOrder], judgement: Judgement, times: Timetable
) -> None:
    """Take these orders' locks and write it, if they are as they were read, and none of their payments is stored.

    Raises asyncpg.SerializationError, and writes nothing, when they are not.
    """
    changing = {order.terms.merchant_uid for order, _ in judgement.changes}  # each change has its order's version
    versions = [(name,) if (name := order.terms.merchant_uid) in changing else (name, order.version) for order in read]
    await _write(db, False, versions, judgement, times)


async def _write(
    db: Connection, locked: bool, versions: Sequence[tuple[Any, ...]], judgement: Judgement, times: Timetable
) -> None:
    """Rows travel as JSON because asyncpg's array encoder asks of each element whether it is a sequence."""
    ended, postponed = _by_fate(judgement, times)
    await db.execute(
        "SELECT write_looks_v2($1, $2::text::jsonb, $3::text::jsonb, $4::text::jsonb, $5::text::jsonb,"
        " $6::text::jsonb)",
        locked,
        json_rows(versions),
        json_rows(payments.columns(look) for look in sorted(judgement.news, key=lambda look: look.payment.imp_uid)),
        json_rows(
            (
                order.terms.merchant_uid,
                order.version,
                *orders.columns(settlement),
                _asked_about(order.settlement, settlement),
                *_look(judgement.evidence.get(order.terms.merchant_uid, Evidence())),
            )
            for order, settlement in judgement.changes
        ),
        json_rows((*alike, ids) for alike, ids in ended.items()),
        json_rows(postponed),
    )


def _look(evidence: Evidence) -> tuple[Any, ...]:
    """Return a look's evidence as `write_looks_v2` takes it: notice_id, source, looked_at, ticket, facts."""
    looked_at = evidence.looked_at.timestamp() if evidence.looked_at else None
    notice_id = str(evidence.notice_id) if evidence.notice_id else None
    return notice_id, evidence.source, looked_at, evidence.ticket, evidence.facts


def _asked_about(before: Settlement, after: Settlement) -> str | None:
    if after.state not in ASKED_ABOUT:
        return None
    return "still" if before.state in ASKED_ABOUT else "again"


def _by_fate(
    judgement: Judgement, times: Timetable
) -> tuple[Mapping[tuple[str, int, bool], Sequence[str]], Sequence[tuple[str, int, float, str]]]:
    """Group notices that end alike, and list those that wait, as `write_looks_v2` takes them.

    A notice that is queued again at once is due, like any queued notice, only if no worker claims it by then.
    """
    ended, postponed = defaultdict(list), []
    for notice, fate in judgement.fates:
        match fate:
            case Handled(outcome):
                ended[outcome.value, notice.arrivals, False].append(str(notice.id))
            case Parked(outcome):
                ended[outcome.value, notice.arrivals, True].append(str(notice.id))
            case Postponed(outcome, wait):
                due_in = wait + times.queued if wait <= QUEUED_UP_TO else wait
                postponed.append((outcome.value, notice.arrivals, due_in.total_seconds(), str(notice.id)))
    return ended, postponed
