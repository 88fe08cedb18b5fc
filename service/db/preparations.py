"""The table `preparations`: the amounts to register with PortOne before an order's window opens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from service.db.pool import Connection
from service.domain.payment import Store


class PreparationState(StrEnum):
    """The state of a preparation."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Preparation:
    """The preparation of an order's amount: its state, and PortOne's reason if it was refused."""

    outcome: PreparationState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A preparation that this worker has claimed, with the order's amount as of this revision.

    `known`: PortOne has an amount of this order.
    """

    merchant_uid: str
    amount: int
    currency: str
    store: Store
    revision: int
    known: bool
    tries: int
    claimed_at: datetime


async def want(db: Connection, merchant_uid: str) -> None:
    """Make the order's amount due to be prepared, even if it was before. The caller holds the order's lock.

    A claim under way is left to end first, so that its older amount does not reach PortOne after the new one.
    """
    await db.execute(
        """
        INSERT INTO preparations AS p (merchant_uid) VALUES ($1)
        ON CONFLICT (merchant_uid) DO UPDATE
           SET revision = p.revision + 1, outcome = 'pending', reason = NULL, tries = 0,
               due_at = CASE WHEN p.claimed_at IS NOT NULL THEN greatest(p.due_at, now()) ELSE now() END
        """,
        merchant_uid,
    )


async def of_order(db: Connection, merchant_uid: str) -> Preparation | None:
    row = await db.fetchrow("SELECT outcome, reason FROM preparations WHERE merchant_uid = $1", merchant_uid)
    return Preparation(PreparationState(row["outcome"]), row["reason"]) if row else None


async def claim(db: Connection, limit: int, lease: timedelta) -> list[Claimed]:
    """Claim a bounded number of due preparations for as long as asking may take."""
    claimed = await db.fetch(
        """
        UPDATE preparations SET claimed_at = clock_timestamp(), tries = tries + 1, due_at = clock_timestamp() + $2
        WHERE merchant_uid IN (SELECT merchant_uid FROM preparations WHERE due_at <= now() ORDER BY due_at LIMIT $1
                               FOR UPDATE SKIP LOCKED)
        RETURNING merchant_uid
        """,
        limit,
        lease,
    )
    # In a statement of its own: while the rows are locked, an amendment is in both tables or in neither.
    rows = await db.fetch(
        """
        SELECT p.merchant_uid, o.amount, o.currency, o.account, o.tier, p.revision, p.known, p.tries, p.claimed_at
        FROM preparations p JOIN orders o USING (merchant_uid) WHERE p.merchant_uid = ANY($1::text[])
        """,
        [row["merchant_uid"] for row in claimed],
    )
    return [
        Claimed(
            row["merchant_uid"],
            row["amount"],
            row["currency"],
            Store(row["account"], row["tier"]),
            row["revision"],
            row["known"],
            row["tries"],
            row["claimed_at"],
        )
        for row in rows
    ]


async def end(db: Connection, ended: Sequence[tuple[Claimed, Preparation, timedelta]]) -> None:
    """Write how these claims ended: done, refused, or to be tried again after the wait.

    If the order was amended meanwhile, only the claim ends, and the newer amount is due at once. A claim that another
    worker has taken over is left to it.
    """
    await db.execute(
        """
        UPDATE preparations p SET claimed_at = NULL, known = p.known OR g.outcome = 'done',
               outcome = CASE WHEN p.revision = g.revision THEN g.outcome ELSE p.outcome END,
               reason = CASE WHEN p.revision = g.revision THEN g.reason END,
               due_at = CASE WHEN p.revision <> g.revision THEN now()
                             WHEN g.outcome = 'pending' THEN now() + g.wait END
        FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::interval[], $6::timestamptz[])
             AS g (merchant_uid, revision, outcome, reason, wait, claimed_at)
        WHERE p.merchant_uid = g.merchant_uid AND p.claimed_at = g.claimed_at
        """,
        [claimed.merchant_uid for claimed, _, _ in ended],
        [claimed.revision for claimed, _, _ in ended],
        [preparation.outcome.value for _, preparation, _ in ended],
        [preparation.reason for _, preparation, _ in ended],
        [wait for _, _, wait in ended],
        [claimed.claimed_at for claimed, _, _ in ended],
    )
