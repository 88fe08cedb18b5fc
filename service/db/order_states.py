"""The state of orders, and nothing else of them: all that a browser may see."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.db.pool import Connection
from service.domain.order import Closed, State


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order's state at a version."""

    version: int
    state: State
    closed: Closed | None


async def read(db: Connection, merchant_uids: Sequence[str]) -> dict[str, OrderState]:
    """Return the states of those of the orders that are registered, in one statement."""
    rows = await db.fetch(
        "SELECT merchant_uid, version, state, closed FROM orders WHERE merchant_uid = ANY($1::text[])", merchant_uids
    )
    return {
        row["merchant_uid"]: OrderState(
            row["version"], State(row["state"]), Closed(row["closed"]) if row["closed"] else None
        )
        for row in rows
    }
