"""Let a stack's databases fail over in the middle of an episode, and measure until the service works again."""

import asyncio
import contextlib
import random
from dataclasses import dataclass

import aiohttp

from faults.stack import KEY, Stack
from faults.topology import Failover, Note, Topology

# The next attempt of a shop that could not register an order.
_PAUSE_SECONDS = 0.02
_ATTEMPT_SECONDS = 1.0
_GIVE_UP_SECONDS = 30.0


@dataclass(frozen=True)
class Recovery:
    """A failover and what a shop saw of it: seconds until an order could be registered again."""

    kind: str
    promoted_seconds: float
    seconds: float


class FailingOver:
    """Strikes each database of the stack once that has a second server, at a moment of the seed."""

    def __init__(self, stack: Stack, seed: int, storm_seconds: float, note: Note) -> None:
        self.stack, self.seconds, self.note = stack, storm_seconds, note
        self.rng = random.Random(f"failover {seed}")  # noqa: S311 - a run that can be repeated
        self.seed = seed
        self.recoveries: list[Recovery] = []

    async def run(self) -> None:
        """Strike both databases, each at its own moment. Returns when the service works again."""
        moments = [self.rng.uniform(0.1, 0.6) * self.seconds for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for moment, database in zip(moments, (self.stack.postgres, self.stack.redis), strict=True):
                group.create_task(self._strike(database, moment, random.Random(self.rng.random())))  # noqa: S311

    async def _strike(self, database: Topology, moment: float, rng: random.Random) -> None:
        await asyncio.sleep(moment)
        failover = await database.fail_over(rng, self.note)
        if failover:
            self.recoveries.append(await self._recovery(failover))

    async def _recovery(self, failover: Failover) -> Recovery:
        """Register an order as a shop does, again and again, until it succeeds."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            while not await self._registers(failover.kind):  # noqa: ASYNC110 - it becomes true elsewhere
                await asyncio.sleep(_PAUSE_SECONDS)
        seconds = loop.time() - failover.began
        self.note(f"an order can be registered again {seconds:.2f} s after the {failover.kind}")
        return Recovery(failover.kind, failover.promoted_seconds, seconds)

    async def _registers(self, kind: str) -> bool:
        assert self.stack.session  # noqa: S101
        order = {"merchant_uid": f"probe-{self.seed}-{kind}", "amount": 1000}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self.stack.session.post(
                f"{self.stack.entry_url}/orders",
                json=order,
                headers={"Authorization": f"Bearer {KEY}"},
                timeout=aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS),
            ) as answer:
                return answer.status in (200, 201)
        return False
