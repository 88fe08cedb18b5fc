"""Measure a worker's background work in this process, by its own parts: the sweep, and a round of the ledger scan."""

import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench import load
from bench.databases import Databases
from bench.measure import BenchFailed
from bench.timed import timed
from service.redis.queue import NOTICES_PER_JOB
from service.settings import Settings
from workers.parts import Parts, make_parts
from workers.tasks import sweep
from workers.verify import PARTS

# What one sweep queues of the live lane.
_DUE = 1_000
_ADD_DUE = """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, claimed_status, registered, due_at)
    SELECT gen_random_uuid(), 'webhook', 'imp_' || n, 'order_' || n, 'due', true, now()
    FROM unnest($1::bigint[]) AS n
"""
_MAKE_DUE = "UPDATE notices SET due_at = now() WHERE due_at IS NOT NULL AND claimed_status = 'due'"
_DELETE_DUE = "DELETE FROM notices WHERE due_at < now() + interval '1 minute'"


@dataclass(frozen=True)
class Background:
    """The parts of a worker, and the databases that nobody else works on."""

    parts: Parts
    databases: Databases

    async def sweeps(self, numbers: range, times: int) -> dict[str, float]:
        """Measure sweeps without anything due, then with a thousand notices, of orders that are spread over these."""
        await self._forget_what_is_due()
        idle = await timed("sweep_idle", times, self._sweep)
        due = list(numbers[:: max(1, len(numbers) // _DUE)][:_DUE])
        seconds = []
        async with self.databases.session() as session:
            await session.execute(_ADD_DUE, due)
            for _ in range(times):
                await session.execute(_MAKE_DUE)
                began = time.perf_counter()
                await self._sweep()
                seconds.append(time.perf_counter() - began)
                if (jobs := await self.parts.queue.length()) != -(-len(due) // NOTICES_PER_JOB):
                    raise BenchFailed(f"of {len(due)} due notices a sweep queued {jobs} jobs")
                await self.databases.client.flushall()
        await self._forget_what_is_due()
        return idle | {"sweep_due_ms": 1000 * statistics.median(seconds)}

    async def _forget_what_is_due(self) -> None:
        """Delete what is due within a minute, also what a worker that stopped has left to do."""
        async with self.databases.session() as session:
            await session.execute(_DELETE_DUE)
        await self.databases.client.flushall()

    async def _sweep(self) -> None:
        await sweep({PARTS: self.parts})
        if trouble := self.parts.vitals.trouble:
            raise BenchFailed(f"a sweep failed: {trouble}")

    async def ledger_scans(self, payments: int, times: int) -> dict[str, float]:
        """Measure whole rounds over a list of this many payments, all of which are stored as they are listed."""
        return {"ledger": payments / statistics.median([await self._ledger_scan() for _ in range(times)])}

    async def _ledger_scan(self) -> float:
        async with self.databases.session() as session:
            await session.execute("DELETE FROM ledger_scans")
            began = time.perf_counter()
            while not await session.fetchval("SELECT count(last_whole_at) FROM ledger_scans"):
                if differing := await self.parts.reconciler.walk_ledger():
                    raise BenchFailed(f"{differing} payments of the list differ from what is stored")
            return time.perf_counter() - began


@asynccontextmanager
async def background(databases: Databases, environment: Mapping[str, str]) -> AsyncIterator[Background]:
    """Make a worker's parts with the settings of this environment."""
    known = {name.lower(): value for name, value in environment.items() if name.lower() in Settings.model_fields}
    async with make_parts(Settings.load(_env_file=None, **known)) as parts:
        yield Background(parts, databases)


async def list_payments(standin_port: int, numbers: range) -> None:
    """Let the stand-in list the payments of these orders as all that there are."""
    await load.ask(standin_port, load.get(f"/ledger/{numbers.start}/{len(numbers)}"))
