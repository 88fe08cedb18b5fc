"""The table `order_events` for people: the history of an order."""

from dataclasses import dataclass
from datetime import datetime

from service.db.pool import Connection


@dataclass(frozen=True, slots=True)
class Event:
    """One version of an order, with its time. Amounts are in the currency's smallest unit."""

    version: int
    at: datetime
    state: str
    amount: int
    currency: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    closed: str | None
    problems: tuple[str, ...]


async def history(db: Connection, merchant_uid: str, limit: int) -> list[Event]:
    """Return the order's last versions, the oldest first."""
    rows = await db.fetch(
        """
        SELECT version, at, state, amount, currency, paid_amount, cancelled_amount, imp_uid, closed, problems
        FROM (SELECT * FROM order_events WHERE merchant_uid = $1 ORDER BY version DESC LIMIT $2) AS last
        ORDER BY version
        """,
        merchant_uid,
        limit,
    )
    return [Event(**{**row, "problems": tuple(problem["kind"] for problem in row["problems"])}) for row in rows]
