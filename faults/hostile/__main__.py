"""Attack the service beside genuine orders: `python -m faults.hostile [--small] [--only NAME …] [--report]`.

Each attack runs on an empty database, and again beside the rows of a month of attacks. After them mutated requests are
sent over raw sockets. The exit code is 1 if a bound was passed.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import uvloop

from faults.hostile import laden, page
from faults.hostile.attacks import ATTACKS, Attack, small
from faults.hostile.genuine import CONFIRMATIONS_A_SECOND, PAYMENTS_A_SECOND, Genuine
from faults.hostile.mutants import MARK, send_mutants
from faults.hostile.strangers import Strangers
from faults.hostile.town import PROMISE_AGE_SECONDS, Town, running_town
from faults.hostile.verdict import Part, Result
from service.redis.spill import bytes_spilled

_SAMPLE_SECONDS = 0.5
_LAST_SECONDS = 20.0
_COUNT = "SELECT count(*) FROM notices"
_SMALL = ("one_payment", "invented", "confirmations", "silent")


@dataclass(frozen=True)
class Size:
    """The size of a run: how long an attack lasts, what lies there already, and how many mutated requests."""

    seconds: float
    after_seconds: float
    rows: tuple[int, int, int]
    mutants: int
    seed: int = 11


FULL = Size(15.0, 5.0, (300_000, 1_000_000, 1_000_000), 100_000)
SMALL = Size(2.5, 1.0, (3_000, 5_000, 5_000), 500)


class Siege:
    """One attack on a town."""

    def __init__(self, town: Town, attack: Attack, size: Size, name: str) -> None:
        self.town, self.attack, self.size = town, attack, size
        self.seconds = max(size.seconds, PROMISE_AGE_SECONDS + 8.0) if attack.starves else size.seconds
        self.genuine = Genuine(town, name, self.seconds, size.after_seconds)
        self.promise: list[str] = []
        self.usage: dict[str, int] = {}
        self.spilled_bytes = 0

    async def run(self) -> Result:
        """Carry the attack out, and judge it."""
        await self.genuine.prepare()
        attack = self.attack
        strangers = await attack.prepare(self.town, self.genuine) if attack.prepare else attack.strangers
        before, error = await self.town.db.fetchval(_COUNT), ""
        watching = asyncio.create_task(self._watch())
        attacking = asyncio.create_task(attack_with(strangers, self.town.port, self.seconds))
        running = asyncio.create_task(self.genuine.run())
        try:
            if attack.meanwhile:
                await attack.meanwhile(self.town, self.seconds)
        except (RuntimeError, TimeoutError) as failed:
            error = str(failed) or "what had to be done meanwhile took too long"
        figures, answers = await running, await attacking
        await self.genuine.measure(figures, _LAST_SECONDS)
        watching.cancel()
        rows = await self.town.db.fetchval(_COUNT) - before
        result = Result(attack, figures, self.usage, self.promise, answers, rows, self.spilled_bytes, error)
        result.judge()
        return result

    async def _watch(self) -> None:
        """Keep the greatest usage, and what the promise says."""
        while True:
            for name, size in self.town.usage().items():
                self.usage[name] = max(self.usage.get(name, 0), size)
            self.spilled_bytes = max(self.spilled_bytes, await bytes_spilled(self.town.databases.client))
            with contextlib.suppress(OSError):
                self.promise += [text for text in await self.town.promise() if not text.startswith("HTTP")]
            await asyncio.sleep(_SAMPLE_SECONDS)


async def attack_with(strangers: Strangers, port: int, seconds: float) -> dict[str, int]:
    """Run the strangers in a process of their own, and return how often each status was answered."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "faults.hostile.strangers"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(strangers.spec(port, seconds))
    answers: dict[str, int] = orjson.loads(output)
    return answers


async def attack_all(attacks: Sequence[Attack], size: Size, folder: Path, *, is_laden: bool) -> Part:
    """Run the attacks one after the other in one town, then send mutated requests to it."""
    rows = size.rows if is_laden else (0, 0, 0)
    part = Part(title(size) if is_laden else "On an empty database")
    async with running_town(folder, laden.statements(*rows)) as town:
        await town.portone("POST", "payments", merchant_uid=laden.OWN_ORDER, amount=1000, imp_uid=laden.OWN_PAYMENT)
        for attack in attacks:
            result = await Siege(town, attack, size, attack.name).run()
            say(result)
            part.results.append(result)
        part.mutants = await send_mutants(town.port, size.mutants, size.seed)
        await asyncio.sleep(1.5)  # the counts of the last second are written
    part.bytes_logged = await asyncio.to_thread(_count_mark, folder)
    sys.stdout.write(f"{part.mutants_sentence}\n")
    return part


def title(size: Size) -> str:
    one_payment, parked, due = (f"{rows:,}" for rows in size.rows)
    return f"Beside {one_payment} rows of one payment, {parked} parked notices and {due} due ones"


def _count_mark(folder: Path) -> int:
    return len(MARK) * sum(log.read_bytes().count(MARK) for log in folder.glob("*.log"))


def say(result: Result) -> None:
    """Print a result."""
    sys.stdout.write(f"{page.row(result)}\n")
    sys.stdout.writelines(f"  BROKEN: {sentence}\n" for sentence in result.broken)
    sys.stdout.flush()


async def run(options: argparse.Namespace, scratch: Path) -> bool:
    """Run everything that is wanted, write the page if it is wanted, and return whether all bounds held."""
    size = replace(SMALL if options.small else FULL, seed=options.seed)
    names = options.only or (_SMALL if options.small else [attack.name for attack in ATTACKS])
    attacks = [small(attack) if options.small else attack for attack in ATTACKS if attack.name in names]
    parts = [
        await attack_all(attacks, size, _folder(scratch, table), is_laden=table == "laden") for table in options.tables
    ]
    if options.report:
        page.write(
            parts, seed=options.seed, seconds=size.seconds,
            payments=PAYMENTS_A_SECOND, confirmations=CONFIRMATIONS_A_SECOND,
        )  # fmt: skip
    return not any(part.is_broken for part in parts)


def _folder(scratch: Path, name: str) -> Path:
    folder = scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.hostile", description=__doc__)
    parser.add_argument("--small", action="store_true", help="four attacks of 2.5 s, as CI does")
    parser.add_argument("--only", nargs="+", choices=[attack.name for attack in ATTACKS])
    parser.add_argument("--tables", nargs="+", choices=["empty", "laden"], default=None)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--report", action="store_true", help="write docs/hostile.md")
    parser.add_argument("--logs", type=Path, help="keep the logs here")
    options = parser.parse_args()
    options.tables = options.tables or (["laden"] if options.small else ["empty", "laden"])
    with tempfile.TemporaryDirectory(prefix="portone-hostile-") as scratch:
        return int(not uvloop.run(run(options, options.logs or Path(scratch))))


if __name__ == "__main__":
    sys.exit(main())
