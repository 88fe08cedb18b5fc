"""`python -m bench.steps [--publish]`: what each step towards speed gains, by taking it out, in a copy, in one run.

With and without take turns, so that a busier moment of the machine meets both. Some minutes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import uvloop

from bench import orders
from bench.__main__ import RESULTS
from bench.measure import FULL, Bench, BenchFailed
from bench.report import DOCS
from bench.stores import running_stores
from bench.systems import SYSTEMS, Launcher, System
from cli.errors import CommandFailed
from faults.guards import copy_to

_PAIRS = 3
_NOTICES = 10_000
_WARM_UP = 500
_CONNECTIONS = 256


@dataclass(frozen=True)
class Step:
    """One step: where it stands and what is put in its place, in code or in the database; or another worker."""

    name: str
    file: str = ""
    text: str = ""
    instead: str = ""
    sql: str = ""
    worker: tuple[str, ...] = ()


_CLAIM = "service/db/functions/claim_notices_v1.sql"
_ARQ = str(Path(sys.executable).with_name("arq"))
STEPS = (
    Step(
        "intake: notices that arrive during a write share the next INSERT and job",
        "service/usecases/intake.py",
        "for _ in range(min(NOTICES_PER_JOB, len(self._waiting)))]",
        "for _ in range(1)]",
    ),
    Step(
        "worker: batches that arrive during a run share the next",
        "service/usecases/batching.py",
        "        while self._waiting and size + len(self._waiting[0][0]) <= NOTICES_PER_JOB:\n",
        "        while False:\n",
    ),
    Step(
        "look: one call for up to 100 payments",
        "service/portone/looks.py",
        "                await _batch(portone, imp_uids, store, answers)\n",
        "                one_each = await asyncio.gather(*(_single(portone, name, store) for name in imp_uids))\n"
        "                answers |= dict(zip(imp_uids, one_each))\n",
    ),
    Step(
        "our worker's wake-up, claim and finish, instead of arq's",
        worker=(_ARQ, "workers.main.WorkerSettings"),
    ),
    Step(
        "a write is one trip to Postgres, where nothing was stored before",
        "service/usecases/verification.py",
        "if merchant_uids and claim.fresh.keys() >= set(merchant_uids):",
        "if False:",
    ),
    Step(
        "a claim touches no indexed column",
        _CLAIM,
        "due_at = CASE open.verdict WHEN 'look' THEN n.due_at WHEN",
        "due_at = CASE open.verdict WHEN 'look' THEN clock_timestamp() + lease WHEN",
    ),
    Step("notices' pages are left half empty", sql="ALTER TABLE notices SET (fillfactor = 100)"),
    Step(
        "a claim's commit does not wait for the disk",
        _CLAIM,
        "    PERFORM set_config('synchronous_commit', 'off', true);\n",
        "",
    ),
    Step(
        "worker: a whole batch begins beside the run before it",
        "service/usecases/batching.py",
        "_WHOLE_BESIDE = 1\n",
        "_WHOLE_BESIDE = 0\n",
    ),
    Step(
        "a webhook goes the short way through aiohttp",
        "service/http/short_way.py",
        'if request.method == "POST" and request.rel_url.raw_path == address and request.content.is_eof():',
        "if False:",
    ),
    Step(
        "its answer is made once a second",
        "service/http/short_way.py",
        "    if request.version == HttpVersion11 and request.keep_alive:\n        return _RECEIVED\n",
        "",
    ),
    Step(
        "log lines of one turn of the loop are one write",
        "service/logs.py",
        "        self._lines.append(orjson.dumps(told, option=_LINE))\n",
        "        self._lines.append(orjson.dumps(told, option=_LINE))\n        self._write()\n",
    ),
    Step(
        "the garbage collector lets be what stays",
        "cli/serve.py",
        "    gc.freeze()\n    gc.set_threshold(20_000, 20, 20)\n",
        "",
    ),
)


@dataclass(frozen=True)
class Gain:
    """Payments a second with the step to without, and what a payment costs more without, in CPU µs of receiver, worker
    and Postgres: the medians of pairs."""

    step: Step
    rates: float
    saved_us: float

    def __str__(self) -> str:
        return f"| {self.step.name} | {self.rates:.2f}× | {self.saved_us:+.0f} µs |"


async def measure(tree: Path) -> list[Gain]:
    """The gain of each step. Raises BenchFailed."""
    RESULTS.mkdir(exist_ok=True)
    async with running_stores() as stores:
        launcher = Launcher(stores, RESULTS, tree)
        bench, gains = Bench(stores, launcher, FULL), []
        try:
            await launcher.start_standin()
            for step in STEPS:
                turns = [(await _settled(bench, SYSTEMS["ours"]), await _without(bench, step)) for _ in range(_PAIRS)]
                gains.append(
                    Gain(
                        step,
                        statistics.median(has[0] / lacks[0] for has, lacks in turns),
                        statistics.median(lacks[1] - has[1] for has, lacks in turns),
                    )
                )
                print(gains[-1], flush=True)
        finally:
            await launcher.standin.stop()
    return gains


async def _without(bench: Bench, step: Step) -> tuple[float, float]:
    ours = SYSTEMS["ours"]
    if not step.file:
        return await _settled(bench, replace(ours, worker=step.worker or ours.worker), step.sql)
    file = bench.launcher.tree / step.file
    whole = file.read_text("utf-8")
    if whole.count(step.text) != 1:
        raise BenchFailed(f"'{step.name}' does not stand once in {step.file}: mend its text in bench/steps.py")
    changed = whole.replace(step.text, step.instead)
    if file.suffix == ".sql":
        return await _settled(bench, ours, changed.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    file.write_text(changed, "utf-8")
    try:
        return await _settled(bench, ours)
    finally:
        file.write_text(whole, "utf-8")


async def _settled(bench: Bench, system: System, sql: str = "") -> tuple[float, float]:
    """Payments a second at saturation, and CPU µs a payment of receiver, worker and Postgres together."""
    await bench.stores.fresh(bench.size.table)
    if sql:
        async with bench.stores.session() as db:
            await db.execute(sql)
    async with bench.launcher.running(system, workers=1) as running:
        source = count(orders.FIRST)
        await bench.settled(running, islice(source, _WARM_UP), 64)
        before = await bench.usage(running)
        settled = await bench.settled(running, islice(source, _NOTICES), _CONNECTIONS)
        after = await bench.usage(running)
    used = sum(after[name].cpu_seconds - before[name].cpu_seconds for name in ("receiver", "worker", "postgres"))
    return settled["per_second"], 1e6 * used / settled["count"]


_PAGE = """# What each step gains

<!-- Written by `python -m bench.steps --publish`; change bench/steps.py, not this file. -->

Each step is taken out of a copy of the code, and payments are settled with {connections} connections with and without
it in turn, {pairs} times, in one run ({when}). The gain is the median ratio of the rates; beside it, the CPU of
receiver, worker and Postgres that a payment costs more without the step. Runs differ by a tenth or so: what is within
that is kept for what it saves, or for the latency of a lone notice, not for its rate.

| step | rate, with to without | without it a payment costs |
|---|---|---|
{gains}

Not in the table, for nothing stands in their place: plans that cannot join by reading a whole index
(`service/db/pool.py`; before, the end of a batch took 16 to 50 ms instead of 1 whenever its plan had been made while
the table was small), and reading what is stored once under the locks.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.steps", description=__doc__)
    parser.add_argument("--publish", action="store_true", help="write docs/steps.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portone-steps-") as folder:
        tree = Path(folder)
        copy_to(tree)
        try:
            gains = uvloop.run(measure(tree))
        except (BenchFailed, CommandFailed) as error:
            sys.exit(f"Broken: {error}")
    if options.publish:
        page = _PAGE.format(
            connections=_CONNECTIONS, pairs=_PAIRS, when=time.strftime("%Y-%m-%d"), gains="\n".join(map(str, gains))
        )
        (DOCS / "steps.md").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
