"""Inject faults by seed: one after the other and some at the same time, until everything recovers."""

import asyncio
import contextlib
import random
import shutil
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from signal import Signals
from typing import Any

from redis.exceptions import RedisError

from faults.proxy import Proxy
from faults.spilled import JOINED, SPILL, imp_uid_of, spilled_in
from faults.stack import RECEIVERS, WORKERS, Stack

_OURS = (*RECEIVERS, *WORKERS)
_GENTLE_SECONDS = 3.0
# Whoever supervises a server starts it again after this time.
_RESTART_SECONDS = 0.3
_POLL_SECONDS = 0.02
# The lag of PortOne's replicas, below the scaled 60 s after which the same answer is the truth (docs/design.md §2.4).
STALE_SECONDS = 0.2
# As far off as summer time is.
_CLOCK_OFF_SECONDS = 3600

# Troubles of a server that is alone. Where there are several, the topology has troubles of its own.
_OF_A_LONE = {
    "postgres": ("stop Postgres at once", "stop Postgres at once, again", "fill Postgres' disk"),
    "redis": ("kill Redis", "kill Redis and its data", "stop Redis for seconds", "fill Redis' disk"),
}


class Storm:
    """Injects troubles for a number of seconds, notes them, and repairs what it broke."""

    def __init__(self, stack: Stack, seed: int, seconds: float, only: str | None = None) -> None:
        self.stack, self.seconds, self.only = stack, seconds, only
        self.rng = random.Random(f"storm {seed}")  # noqa: S311 - a storm that can be repeated
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        # Spilled notices whose Redis was destroyed, by imp_uid. Only these may be lost.
        self.destroyed: Counter[str] = Counter()
        self._repairs: list[Callable[[], Awaitable[None]]] = []
        self._busy: set[str] = set()
        self._started = 0.0

    async def inject(self) -> None:
        """Run two lanes of troubles, so that some happen at the same time."""
        self._started = asyncio.get_running_loop().time()
        lanes = [random.Random(self.rng.random()) for _ in range(2)]  # noqa: S311
        await asyncio.gather(*(self._lane(lane) for lane in lanes))

    async def heal(self) -> None:
        """Start the service's parts again, open the proxies, and let PortOne answer."""
        await self._revive(name for name in self.stack.processes if not self.stack.is_server(name))
        for name in self.stack.clocks:
            self.stack.set_clock(name, 0)
        for proxy in self.stack.proxies.values():
            proxy.heal()
        # It then sends the webhooks that it held back, one by one. Nobody waits for that here.
        with contextlib.suppress(TimeoutError):
            await self.stack.control("DELETE", "faults", seconds=1.0)
        self.note("everything recovers")

    async def heal_databases(self) -> None:
        """Start the databases' servers again, once no failover is under way: it would end before it was noticed."""
        await self._revive(filter(self.stack.is_server, self.stack.processes))

    async def _revive(self, names: Iterable[str]) -> None:
        for name in names:
            self.stack.signal(name, Signals.SIGCONT)
            await self.stack.start_again(name)

    async def _lane(self, rng: random.Random) -> None:
        troubles = self._troubles()
        while self._now() < self.seconds:
            await asyncio.sleep(rng.uniform(0.05, 0.9))
            names = [self.only] if self.only else sorted(troubles)
            kind = rng.choice(names)
            lasting = rng.uniform(0.2, min(2.5, max(0.3, self.seconds - self._now())))
            await troubles[kind](rng, lasting)

    def _troubles(self) -> dict[str, Callable[[random.Random, float], Awaitable[None]]]:
        troubles = {
            "kill a receiver": lambda rng, s: self._end(rng.choice(RECEIVERS), Signals.SIGKILL, s / 3),
            "kill a worker": lambda rng, s: self._end(rng.choice(WORKERS), Signals.SIGKILL, s / 3),
            "kill another worker": lambda rng, s: self._end(rng.choice(WORKERS), Signals.SIGKILL, s / 3),
            "stop one for seconds": lambda rng, s: self._pause(rng.choice(_OURS), s),
            "a clock jumps": lambda rng, s: self._jump([rng.choice(_OURS)], rng, s),
            "all clocks jump": lambda rng, s: self._jump(_OURS, rng, s),
            "terminate one": lambda rng, s: self._end(rng.choice(_OURS), Signals.SIGTERM, 0),
            "kill Redis": lambda rng, s: self._end("redis", Signals.SIGKILL, s / 2),
            "kill Redis and its data": lambda rng, s: self._end("redis", Signals.SIGKILL, s / 2, lose=True),
            "flush Redis": lambda rng, s: self._flush(),
            "stop Redis for seconds": lambda rng, s: self._pause("redis", s),
            "stop Postgres at once": lambda rng, s: self._end("postgres", Signals.SIGQUIT, s),
            "stop Postgres at once, again": lambda rng, s: self._end("postgres", Signals.SIGQUIT, s / 2),
            "fill Redis' disk": lambda rng, s: self._fill("redis", Signals.SIGKILL, s),
            "fill Postgres' disk": lambda rng, s: self._fill("postgres", Signals.SIGQUIT, s),
            "cut connections": lambda rng, s: self._cut(rng.choice(list(self.stack.proxies.values()))),
            "cut more connections": lambda rng, s: self._cut(rng.choice(list(self.stack.proxies.values()))),
            "delay": lambda rng, s: self._delay(rng.choice(list(self.stack.proxies.values())), rng, s),
            "half-open": lambda rng, s: self._half_open(rng.choice(list(self.stack.proxies.values())), s),
            "half-open Postgres": lambda rng, s: self._half_open(self._proxy_to(rng, "postgres"), s),
            "half-open Redis": lambda rng, s: self._half_open(self._proxy_to(rng, "redis"), s),
            "PortOne answers wrongly": self._wrong_answers,
            "PortOne is slow": lambda rng, s: self._switch(s, latency_seconds=rng.choice((0.2, 1.0, 2.0))),
            "PortOne's reads are stale": lambda rng, s: self._switch(s, stale_seconds=STALE_SECONDS),
            "the token expires": lambda rng, s: self._expire_token(),
            "webhooks are dropped": lambda rng, s: self._switch(s, webhook_drop_probability=rng.choice((0.5, 1))),
            "webhooks are doubled": lambda rng, s: self._switch(s, webhook_copies=rng.randint(2, 4)),
            "webhooks are delayed": lambda rng, s: self._switch(s, webhook_delay_seconds=rng.choice((0.3, 2.0))),
            "webhooks are reordered": lambda rng, s: self._switch(s, webhook_reorder=rng.randint(2, 5)),
        }
        absent = {kind for server, kinds in _OF_A_LONE.items() if server not in self.stack.processes for kind in kinds}
        if sys.platform != "linux":
            absent |= {"fill Redis' disk", "fill Postgres' disk"}
        return {kind: trouble for kind, trouble in troubles.items() if kind not in absent}

    # Processes

    async def _end(self, name: str, number: Signals, away_seconds: float, *, lose: bool = False) -> None:
        async with self._alone(name) as free:
            if not free:
                return
            self.note(f"{number.name} {name}, away {away_seconds:.1f} s{', data lost' if lose else ''}")
            self.counts["kills" if number in (Signals.SIGKILL, Signals.SIGQUIT) else "terminations"] += 1
            await self._stop(name, number)
            if lose:
                self._lose_redis_data()
            await asyncio.sleep(away_seconds)
            await self.stack.start_again(name)

    async def _stop(self, name: str, number: Signals) -> None:
        process = self.stack.processes[name]
        self.stack.signal(name, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GENTLE_SECONDS):
                await process.ended()
        self.stack.signal(name, Signals.SIGKILL)
        await process.ended()

    async def _fill(self, name: str, number: Signals, seconds: float) -> None:
        """Fill a server's disk. It is started again as often as it ends for that, and in the end with room."""
        async with self._alone(name) as free:
            process = self.stack.processes[name]
            if not free or not process.running:
                return
            self.note(f"the disk of {name} is full for {seconds:.1f} s")
            self.counts["full disks"] += 1
            disk, until = await self.stack.fill_disk(name), self._now() + seconds
            while self._now() < until:
                if not process.running:
                    self.note(f"{name} ended, because its disk is full")
                    self.counts["ends by a full disk"] += 1
                    await asyncio.sleep(_RESTART_SECONDS)
                    disk.start_again()
                await asyncio.sleep(_POLL_SECONDS)
            await self._stop(name, number)
            await self.stack.start_again(name)

    async def _pause(self, name: str, seconds: float) -> None:
        async with self._alone(name) as free:
            if not free:
                return
            self.note(f"SIGSTOP {name} for {seconds:.1f} s")
            self.counts["stops"] += 1
            self.stack.signal(name, Signals.SIGSTOP)
            await asyncio.sleep(seconds)
            self.stack.signal(name, Signals.SIGCONT)

    async def _jump(self, names: Sequence[str], rng: random.Random, seconds: float) -> None:
        """Set the clocks of these machines wrong, and right again after some seconds."""
        ahead = rng.choice((-_CLOCK_OFF_SECONDS, _CLOCK_OFF_SECONDS))
        async with self._alone("clocks") as free:
            if not free:
                return
            self.note(f"clock {ahead:+} s for {seconds:.1f} s: {', '.join(names)}")
            self.counts["clocks set wrong"] += len(names)
            for name in names:
                self.stack.set_clock(name, ahead)
            await asyncio.sleep(seconds)
            for name in names:
                self.stack.set_clock(name, 0)

    @contextlib.asynccontextmanager
    async def _alone(self, name: str) -> Any:
        """Allow one trouble at a time for a process. Yields False if another is under way."""
        free = name not in self._busy
        if free:
            self._busy.add(name)
        try:
            yield free
        finally:
            if free:
                self._busy.discard(name)

    # Redis' data

    def _lose_redis_data(self) -> None:
        """Remove Redis' data, after reading which spilled notices that destroys."""
        for folder in (self.stack.folder / "redis").glob("appendonlydir*"):
            for imp_uid in spilled_in(folder):
                self.destroyed[imp_uid] += 1
            shutil.rmtree(folder)
        self.counts["Redis data lost"] += 1

    async def _flush(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with self.stack.redis_client() as redis, redis.pipeline(transaction=True) as pipe:
                pipe.xrange(SPILL)
                pipe.hgetall(JOINED)
                pipe.flushall()
                entries, joined, _ = await pipe.execute()
                for entry_id, fields in entries:
                    self.destroyed[imp_uid_of(fields[b"notice"])] += 1 + int(joined.get(entry_id, 0))
                self.counts["flushes"] += 1
                self.note(f"FLUSHALL, {len(entries)} spilled notices destroyed")

    # Connections

    def _proxy_to(self, rng: random.Random, part: str) -> Proxy:
        return rng.choice([proxy for name, proxy in self.stack.proxies.items() if f">{part}" in name])

    async def _cut(self, proxy: Proxy) -> None:
        self.note(f"cut {proxy.name}")
        self.counts["cuts"] += 1
        proxy.cut()

    async def _delay(self, proxy: Proxy, rng: random.Random, seconds: float) -> None:
        proxy.delay_seconds = rng.choice((0.05, 0.3))
        self.note(f"delay {proxy.name} by {proxy.delay_seconds} s for {seconds:.1f} s")
        self.counts["delays"] += 1
        await asyncio.sleep(seconds)
        proxy.delay_seconds = 0.0

    async def _half_open(self, proxy: Proxy, seconds: float) -> None:
        self.note(f"half-open {proxy.name} for {seconds:.1f} s")
        self.counts["half-open"] += 1
        proxy.go_half_open()
        await asyncio.sleep(seconds)
        proxy.heal()

    # PortOne

    async def _wrong_answers(self, rng: random.Random, seconds: float) -> None:
        kind = rng.choice(("401", "429", "500", "502", "garbage", "wrong_shape", "half_body", "hang", "reset"))
        await self._switch(seconds, api_answer=kind, api_probability=rng.choice((0.3, 1.0)), seed=rng.randrange(1000))

    async def _switch(self, seconds: float, **switches: Any) -> None:
        self.note(f"PortOne: {switches} for {seconds:.1f} s")
        self.counts["PortOne's troubles"] += 1
        await self._control("POST", "faults", switches)
        await asyncio.sleep(seconds)
        await self._control("POST", "faults", dict.fromkeys(switches))

    async def _expire_token(self) -> None:
        self.note("PortOne: the token expires")
        self.counts["PortOne's troubles"] += 1
        await self._control("POST", "account", {"expire_token": True})

    async def _control(self, method: str, path: str, body: Any) -> None:
        with contextlib.suppress(TimeoutError):
            await self.stack.control(method, path, body)

    def note(self, line: str) -> None:
        """Note what happens now."""
        self.notes.append(f"{self._now():5.2f} {line}")

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._started
