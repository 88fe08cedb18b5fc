"""The table `operator_actions`: everything that a person's command changed, with who and why."""

from collections.abc import Sequence

from service.db.pool import Connection


async def append(db: Connection, who: str, why: str, action: str, subjects: Sequence[str]) -> None:
    """Record an action on these subjects, in the transaction that carries it out."""
    await db.execute(
        "INSERT INTO operator_actions (who, why, action, subject) SELECT $1, $2, $3, unnest($4::text[])",
        who,
        why,
        action,
        subjects,
    )
