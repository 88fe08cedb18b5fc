"""Play the strangers of an attack, in a process of their own: `python -m faults.hostile.strangers < SPEC`.

The spec is JSON: the receiver's port, for how many seconds, floods of requests, and connections that say nothing. `{n}`
in a path, body or header is the request's number. At the end a line of JSON says how often each status was answered.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import orjson

from bench import load

# On loopback every address of 127/8 is ours, so each of these is another client.
_SILENT_FROM = "127.0.0.{}"
_SILENT_FIRST = 100


@dataclass(frozen=True)
class Flood:
    """Requests at a rate. `bodies` are sent one after the other; without any it is a GET.

    Each of `senders` has a part of the rate, and connections of its own: answers that wait need more of them.
    """

    rate: float
    path: str
    bodies: Sequence[str] = ()
    headers: str = ""
    senders: int = 1

    def requests(self, seconds: float, sender: int) -> list[bytes]:
        return [self._request(number) for number in range(sender, int(self.rate * seconds), self.senders)]

    def _request(self, number: int) -> bytes:
        path, headers = self.path.replace("{n}", str(number)), self.headers.replace("{n}", str(number))
        if not self.bodies:
            return load.get(path, headers)
        body = self.bodies[number % len(self.bodies)].replace("{n}", str(number))
        return load.post(path, body.encode(), headers)


@dataclass(frozen=True)
class Strangers:
    """All strangers of an attack: their floods, and how many connections each of six addresses opens in silence."""

    floods: Sequence[Flood] = ()
    silent_each: int = 0
    silent_addresses: int = 6

    def spec(self, port: int, seconds: float) -> bytes:
        return orjson.dumps({"port": port, "seconds": seconds, "strangers": asdict(self)})

    @classmethod
    def read(cls, spec: dict[str, Any]) -> Self:
        floods = [Flood(**flood) for flood in spec.pop("floods")]
        return cls(floods=floods, **spec)


@dataclass
class Attack:
    """An attack under way: what was answered, and the connections that are held open."""

    port: int
    seconds: float
    statuses: Counter[str] = field(default_factory=Counter)
    held: list[asyncio.StreamWriter] = field(default_factory=list)

    async def flood(self, flood: Flood, sender: int) -> None:
        requests = flood.requests(self.seconds, sender)
        sent = await load.open_loop(self.port, flood.rate / flood.senders, requests)
        self.statuses.update({str(status): count for status, count in sent.statuses.items()})

    async def be_silent(self, address: str, count: int) -> None:
        for number in range(count):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
            except OSError:
                self.statuses["refused"] += 1
                continue
            self.held.append(writer)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" if number % 2 else b"")
        self.statuses["silent"] += count
        await asyncio.sleep(self.seconds)

    async def run(self, strangers: Strangers) -> None:
        async with asyncio.TaskGroup() as group:
            for flood in strangers.floods:
                for sender in range(flood.senders):
                    group.create_task(self.flood(flood, sender))
            for number in range(strangers.silent_addresses if strangers.silent_each else 0):
                group.create_task(self.be_silent(_SILENT_FROM.format(_SILENT_FIRST + number), strangers.silent_each))
        for writer in self.held:
            writer.close()


def main() -> None:
    spec = orjson.loads(sys.stdin.buffer.read())
    attack = Attack(spec["port"], spec["seconds"])
    asyncio.run(attack.run(Strangers.read(spec["strangers"])))
    sys.stdout.write(orjson.dumps(attack.statuses).decode())


if __name__ == "__main__":
    main()
