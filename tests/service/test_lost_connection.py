"""A look ends with the connection that drew its ticket (docs/decisions/0013)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import asyncpg
import pytest

from service.db import notices
from service.db.pool import Pool, in_transaction
from service.domain.notice import Notice, Source
from service.domain.payment import ACCOUNT
from service.domain.timetable import Timetable
from service.errors import PostgresUnavailable
from service.notice_ids import new_notice_id
from service.portone.looks import Asks
from service.usecases.verification import Verifier
from tests.sandbox_client import RunningSandbox
from tests.service import stored


@dataclass
class _Crash:
    """PortOne. Once, while its answer is on its way, every connection to Postgres is cut."""

    portone: Asks
    database_url: str
    crashed: bool = False

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        answer = await self.portone.payment(imp_uid, tier, include_sandbox=include_sandbox)
        if not self.crashed:
            self.crashed = True
            await _cut_all(self.database_url)
        return answer

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        return await self.portone.payments(imp_uids, tier)


async def _cut_all(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def test_a_look_does_not_outlive_its_connection(
    verifier: Verifier, sandbox: RunningSandbox, pool: Pool, database_url: str
) -> None:
    """The answer of a look that lost its connection is discarded, and its notice is looked at again."""
    await stored.register_order(pool, "order-1")
    imp_uid = str((await sandbox.pay("order-1", 64900, webhook=False))["imp_uid"])
    notice = Notice(new_notice_id(), Source.WEBHOOK, imp_uid, "order-1", claimed_status="paid")
    await in_transaction(pool, notices.record, [notice], Timetable().queued)
    crashing = replace(verifier, accounts={ACCOUNT: _Crash(verifier.accounts[ACCOUNT], database_url)})
    with pytest.raises(PostgresUnavailable):
        await crashing.verify([notice.id])
    assert await stored.payment(pool, imp_uid) is None
    await pool.execute("UPDATE notices SET claimed_until = now()")
    await pool.execute("TRUNCATE last_looks")
    await crashing.verify([notice.id])
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
