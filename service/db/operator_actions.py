"""The table `operator_actions`: everything that a person's command or page changed, with who and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.db.pool import Connection

_FIRST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ShownAction:
    """An action as a person reads it. `subject` is an order's number, an imp_uid, a notice's id or a name."""

    id: int
    at: datetime
    who: str
    why: str
    action: str
    subject: str


async def append(db: Connection, who: str, why: str, action: str, subjects: Sequence[str]) -> None:
    """Record an action on these subjects, in the transaction that carries it out."""
    await db.execute(
        "INSERT INTO operator_actions (who, why, action, subject) SELECT $1, $2, $3, unnest($4::text[])",
        who,
        why,
        action,
        subjects,
    )


async def newest(db: Connection, before: int | None, limit: int) -> list[ShownAction]:
    """Return the actions before this one, the newest first; None: before none."""
    rows = await db.fetch(
        "SELECT id, at, who, why, action, subject FROM operator_actions WHERE id < $1 ORDER BY id DESC LIMIT $2",
        _FIRST if before is None else before,
        limit,
    )
    return [ShownAction(**row) for row in rows]


async def about(db: Connection, subjects: Sequence[str], limit: int) -> list[ShownAction]:
    """Return the newest actions on these subjects, the newest first."""
    rows = await db.fetch(
        """
        SELECT id, at, who, why, action, subject FROM operator_actions WHERE subject = ANY($1::text[])
        ORDER BY at DESC, id DESC LIMIT $2
        """,
        list(subjects),
        limit,
    )
    return [ShownAction(**row) for row in rows]
