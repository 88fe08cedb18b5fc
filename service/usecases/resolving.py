"""Resolving problems: a person has seen them and means to leave them as they are."""

from service.db import operator_actions, problems, refunds
from service.db.pool import Connection, Pool, in_transaction
from service.db.problems import OpenProblem
from service.domain.refund import RefundState


async def resolve(pool: Pool, imp_uid: str, who: str, why: str) -> list[OpenProblem]:
    """Resolve a payment's open problems, and return them; none: nothing was written. Raises PostgresUnavailable.

    The money stays where it is: a refund of the payment that was not sent is withdrawn, whoever wanted it.
    """

    async def work(db: Connection) -> list[OpenProblem]:
        open_problems = await problems.of_payment(db, imp_uid)
        await problems.resolve(db, open_problems, who, why)
        refund = await refunds.read(db, imp_uid, lock=True) if open_problems else None
        if refund and refund.state is RefundState.INTENDED:
            await refunds.end(db, refund, RefundState.WITHDRAWN, why, who)
        await operator_actions.append(db, who, why, "problems.resolve", [imp_uid] if open_problems else [])
        return open_problems

    return await in_transaction(pool, work)
