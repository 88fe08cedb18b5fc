"""Let a stack's databases fail over in the middle of an episode, and measure until the service works again."""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from faults.stack import KEY, Stack
from faults.topology import Failover, Note, Topology

# The next attempt of a shop that could not register an order.
_PAUSE_SECONDS = 0.02
_ATTEMPT_SECONDS = 1.0
_GIVE_UP_SECONDS = 30.0
_AMOUNT = 1000


@dataclass(frozen=True)
class Recovery:
    """A failover and what a shop saw of it: seconds until its database served again."""

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
        self.broken: list[str] = []
        # Unix times since which another Postgres is the primary.
        self.promoted_at: list[float] = []

    async def run(self) -> None:
        """Strike both databases, each at its own moment. Returns when the service works again."""
        moments = [self.rng.uniform(0.1, 0.85) * self.seconds for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for moment, database in zip(moments, (self.stack.postgres, self.stack.redis), strict=True):
                group.create_task(self._strike(database, moment, random.Random(self.rng.random())))  # noqa: S311

    async def _strike(self, database: Topology, moment: float, rng: random.Random) -> None:
        await asyncio.sleep(moment)
        failover = await database.fail_over(rng, self.note)
        if failover and failover.database == "Postgres":
            self.promoted_at.append(time.time())
        if failover:
            try:
                self.recoveries.append(await self._recovery(failover))
            except TimeoutError:
                self.broken.append(
                    f"{failover.database} did not serve {_GIVE_UP_SECONDS:.0f} s after the {failover.kind}"
                )

    async def _recovery(self, failover: Failover) -> Recovery:
        """Do what needs the database, as a shop and its buyer do, again and again, until it succeeds."""
        loop = asyncio.get_running_loop()
        probe = Probe(self.stack, f"probe-{self.seed}-{failover.database}")
        works, event = {
            "Postgres": (probe.registers, "an order can be registered"),
            "Redis": (probe.settles, "a payment is settled"),
        }[failover.database]
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            while not await works():  # noqa: ASYNC110 - it becomes true elsewhere
                await asyncio.sleep(_PAUSE_SECONDS)
        seconds = loop.time() - failover.began
        self.note(f"{event} again {seconds:.2f} s after the {failover.kind}")
        return Recovery(failover.kind, failover.promoted_seconds, seconds)


class Probe:
    """An order that is registered and paid once a database works again."""

    def __init__(self, stack: Stack, merchant_uid: str) -> None:
        self._stack, self._merchant_uid = stack, merchant_uid
        self._imp_uid = ""

    async def registers(self) -> bool:
        """Register the order. Postgres alone is needed."""
        order = {"merchant_uid": self._merchant_uid, "amount": _AMOUNT}
        status = await self._call("/orders", order, {"Authorization": f"Bearer {KEY}"}, _ATTEMPT_SECONDS)
        return status in (200, 201)

    async def settles(self) -> bool:
        """Pay the order, and complete it as a browser does, which waits for the queue and for a worker's message."""
        if not await self.registers():
            return False
        with contextlib.suppress(TimeoutError):
            if not self._imp_uid:
                window = {"merchant_uid": self._merchant_uid, "amount": _AMOUNT}
                self._imp_uid = str((await self._stack.control("POST", "payments", window))["imp_uid"])
                await self._stack.control("POST", f"payments/{self._imp_uid}/pay", {})
        call = {"imp_uid": self._imp_uid, "merchant_uid": self._merchant_uid}
        return await self._call("/payment/complete", call, {"Prefer": "wait=1"}, 2 * _ATTEMPT_SECONDS) == 200

    async def _call(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float) -> int | None:
        """Return the answer's status; None if none came."""
        assert self._stack.session  # noqa: S101
        timeout = aiohttp.ClientTimeout(total=seconds)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._stack.session.post(
                self._stack.entry_url + path, json=body, headers=headers, timeout=timeout
            ) as answer:
                return answer.status
        return None
