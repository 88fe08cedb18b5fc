"""Followers of the feed as other services are: steady, slow, cut off at random, by pages or by a stream."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import aiohttp
import orjson

from faults.stack import KEY

_HEADERS = {"Authorization": f"Bearer {KEY}"}
_WAIT_SECONDS = 5
_AGAIN_SECONDS = 0.2
_AWAY = (aiohttp.ClientError, OSError, TimeoutError)
# A follower that is cut off at random stays connected for this long at most.
_STAYS_SECONDS = 0.8


class Follower:
    """A service that follows. `seen` has each event as (id, merchant_uid, version), as often as it came."""

    def __init__(self, name: str, url: str, rng: random.Random, *, limit: int, pause_seconds: float, cut: bool) -> None:
        self.name, self.url, self.cut = name, url, cut
        self.seen: list[tuple[str, str, int]] = []
        self.delays: list[float] = []
        self.connections = 0
        self.cursor: str | None = None
        self._rng, self._limit, self._pause_seconds = rng, limit, pause_seconds

    @property
    def is_prompt(self) -> bool:
        """Say whether the follower reads as fast as it can, so that its delays are the service's."""
        return not self.cut and not self._pause_seconds

    async def follow(self) -> None:
        """Follow without end, through whatever fails, from the cursor that was last received whole."""
        async with aiohttp.ClientSession(headers=_HEADERS) as session:
            while True:
                self.connections += 1
                stays = self._rng.uniform(0, _STAYS_SECONDS) if self.cut else None
                try:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(stays):
                            await self._connected(session)
                except _AWAY:
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def _connected(self, session: aiohttp.ClientSession) -> None:
        """Ask for pages until something fails."""
        while True:
            query = {"limit": str(self._limit), "wait": str(_WAIT_SECONDS)}
            query |= {"after": self.cursor} if self.cursor else {}
            async with session.get(f"{self.url}/events", params=query) as answer:
                answer.raise_for_status()
                page = orjson.loads(await answer.read())
            self._keep(page["events"])
            self.cursor = page["next"]
            if self._pause_seconds:
                await asyncio.sleep(self._rng.uniform(0, self._pause_seconds))

    def _keep(self, events: Sequence[dict[str, Any]]) -> None:
        now = time.time()
        for event in events:
            self.seen.append((event["id"], event["merchant_uid"], event["version"]))
            self.delays.append(now - datetime.fromisoformat(event["at"]).timestamp())


class StreamFollower(Follower):
    """A follower of the stream."""

    async def _connected(self, session: aiohttp.ClientSession) -> None:
        headers = {"Last-Event-ID": self.cursor} if self.cursor else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with session.get(f"{self.url}/events/stream", headers=headers, timeout=timeout) as answer:
            answer.raise_for_status()
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                    continue
                if "data" in fields and "event" not in fields:
                    self._keep([orjson.loads(fields["data"])])
                self.cursor, fields = fields.get("id", self.cursor), {}


def make_followers(url: str, seed: int) -> list[Follower]:
    """Make twenty followers: ten steady, four slow, four that are cut off at random, and two streams, one cut off."""
    rng = random.Random(seed)  # noqa: S311 - a run that can be repeated

    def make(kind: type[Follower], name: str, *, limit: int = 100, pause: float = 0.0, cut: bool = False) -> Follower:
        return kind(name, url, random.Random(rng.random()), limit=limit, pause_seconds=pause, cut=cut)  # noqa: S311

    return [
        *(make(Follower, f"steady-{n}", limit=rng.choice((50, 100, 500))) for n in range(10)),
        *(make(Follower, f"slow-{n}", limit=rng.choice((120, 200)), pause=0.4) for n in range(4)),
        *(make(Follower, f"cut-{n}", limit=rng.choice((7, 100)), cut=True) for n in range(4)),
        make(StreamFollower, "stream"),
        make(StreamFollower, "cut-stream", cut=True),
    ]
