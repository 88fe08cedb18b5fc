"""Resolving problems: a person has seen them and means to leave them as they are."""

from service.db import operator_actions, problems
from service.db.pool import Connection, Pool, in_transaction
from service.db.problems import OpenProblem


async def resolve(pool: Pool, imp_uid: str, who: str, why: str) -> list[OpenProblem]:
    """Resolve a payment's open problems, and return them; none: nothing was written. Raises PostgresUnavailable."""

    async def work(db: Connection) -> list[OpenProblem]:
        open_problems = await problems.of_payment(db, imp_uid)
        await problems.resolve(db, open_problems, who, why)
        await operator_actions.append(db, who, why, "problems.resolve", [imp_uid] if open_problems else [])
        return open_problems

    return await in_transaction(pool, work)
