"""The table `order_checks`: when reconciliation asks about an order, on a widening schedule, until it ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.db.pool import Connection
from service.domain.order import ASKED_ABOUT, EXPIRES
from service.domain.payment import Store
from service.domain.timetable import Timetable


async def ask_by(db: Connection, merchant_uid: str, wait: timedelta, expires_at: datetime) -> None:
    """Have the order asked about after the wait, and no later than it expires or than it is due already."""
    await db.execute(
        """
        INSERT INTO order_checks AS c (merchant_uid, next_check_at) VALUES ($1, least(now() + $2, $3))
        ON CONFLICT (merchant_uid) DO UPDATE SET next_check_at = least(c.next_check_at, $3)
        """,
        merchant_uid,
        wait,
        expires_at,
    )


async def end(db: Connection, merchant_uid: str) -> None:
    """Ask about the order no more."""
    await db.execute("DELETE FROM order_checks WHERE merchant_uid = $1", merchant_uid)


@dataclass(frozen=True, slots=True)
class SilentOrder:
    """An order to ask PortOne about. `ends`: its time is over, and it is closed if PortOne shows nothing new."""

    merchant_uid: str
    store: Store
    ends: bool


async def take_silent(db: Connection, limit: int, times: Timetable) -> list[SilentOrder]:
    """Take orders that are due to be asked about, and set each one's next check by the widening schedule.

    An order is asked about until it is settled or expires, or until an account that was issued for it takes no deposit
    any more. The last time is at its end; while that does not close it, it is asked about again whenever it is twice
    as late. Rows are locked with SKIP LOCKED, so this never waits.
    """
    locked = await db.fetch(
        """
        SELECT merchant_uid FROM order_checks WHERE next_check_at <= now() ORDER BY next_check_at LIMIT $1
        FOR UPDATE SKIP LOCKED
        """,
        limit,
    )
    # In a statement of its own: whoever settles one of these orders so that it must be asked about waits for its row.
    rows = await db.fetch(
        """
        WITH due AS (
            SELECT o.merchant_uid, o.account, o.tier, o.state = ANY($3::text[]) AS silent,
                   o.closed IS NULL AND o.state = ANY($4::text[]) AS expires,
                   greatest(o.expires_at, $5::interval + (
                       SELECT max(coalesce(to_timestamp((p.details->>'vbank_date')::bigint), o.expires_at))
                       FROM payments p WHERE p.merchant_uid = o.merchant_uid AND p.status = 'issued')) AS until
            FROM orders o WHERE o.merchant_uid = ANY($1::text[])
        ), moved AS (
            UPDATE order_checks c SET checks = c.checks + 1, next_check_at = CASE
                WHEN now() < due.until
                THEN least(now() + ($2::interval[])[least(c.checks + 2, array_length($2::interval[], 1))], due.until)
                ELSE now() + greatest($6::interval, least(now() - due.until, interval '1 hour')) END
            FROM due WHERE c.merchant_uid = ANY($1::text[]) AND c.merchant_uid = due.merchant_uid
              AND due.silent AND (now() < due.until OR due.expires)
            RETURNING c.merchant_uid
        ), ended AS (
            DELETE FROM order_checks WHERE merchant_uid = ANY($1::text[])
               AND merchant_uid <> ALL(ARRAY(SELECT merchant_uid FROM moved))
        )
        SELECT merchant_uid, account, tier, expires AND now() >= until AS ends FROM due WHERE silent
        """,
        [row["merchant_uid"] for row in locked],
        times.silence,
        sorted(ASKED_ABOUT),
        sorted(EXPIRES),
        times.deposit_grace,
        times.expiry_retry,
    )
    return [SilentOrder(row["merchant_uid"], Store(row["account"], row["tier"]), row["ends"]) for row in rows]


async def note_answers(db: Connection, merchant_uids: Sequence[str]) -> None:
    """Record that PortOne has answered about these orders just now."""
    if merchant_uids:
        await db.execute(
            "UPDATE order_checks SET asked_at = now() WHERE merchant_uid = ANY($1::text[])", sorted(merchant_uids)
        )


async def ask_again(db: Connection, merchant_uids: Sequence[str], wait: timedelta) -> None:
    """Give these orders back the check that PortOne did not answer: it is due again after the wait."""
    if merchant_uids:
        await db.execute(
            """
            UPDATE order_checks SET checks = greatest(checks - 1, 0), next_check_at = least(next_check_at, now() + $2)
            WHERE merchant_uid = ANY($1::text[])
            """,
            merchant_uids,
            wait,
        )
