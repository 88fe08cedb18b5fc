"""Measure the gain of each optimisation by taking it out of a copy: `python -m bench.steps [--publish]`.

Runs with and without it alternate, so that a busy moment of the machine affects both. This takes some minutes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench import load, orders
from bench.calls import COMPLETE
from bench.databases import running_databases
from bench.life import check
from bench.measure import FULL, Bench, BenchFailed
from bench.paths import DOCS, RESULTS
from bench.systems import SYSTEMS, Launcher, System
from cli.errors import CommandFailed
from faults.guards import copy_to
from faults.rows import RULES

_PAIRS = 3
_NOTICES = 10_000
_WARM_UP = 500
_CONNECTIONS = 256
_LONE_SECONDS = 2.0


@dataclass(frozen=True)
class Step:
    """An optimisation: its file and text, and the text, SQL or worker that replaces it.

    `flush_us`: it pays on a disk that takes this much longer for a commit than ours; both runs have such a disk.
    """

    name: str
    file: str = ""
    text: str = ""
    instead: str = ""
    sql: str = ""
    worker: tuple[str, ...] = ()
    flush_us: int = 0


_CLAIM = "service/db/functions/claim_notices_v3.sql"
_ARQ = str(Path(sys.executable).with_name("arq"))
STEPS = (
    Step(
        "intake: notices that arrive during a write share the next INSERT and job",
        "service/usecases/intake.py",
        "BatchBounds(NOTICES_PER_JOB, waiting=_WAITING_MAX)",
        "BatchBounds(1, waiting=_WAITING_MAX)",
    ),
    Step(
        "worker: batches that arrive during a run share the next run",
        "workers/parts.py",
        "_BATCHES = BatchBounds(NOTICES_PER_JOB, runs=8,",
        "_BATCHES = BatchBounds(1, runs=8,",
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
        "a job is named to a worker, which begins before it is on disk",
        "service/redis/queue.py",
        "channel = None if wait else await self._listeners.next()",
        "channel = None",
    ),
    Step(
        "a write takes one trip to Postgres if nothing was stored before",
        "service/usecases/verification.py",
        "if merchant_uids and not answers.unreadable and claim.fresh.keys() >= set(merchant_uids):",
        "if False:",
    ),
    Step(
        "a claim changes no indexed column",
        _CLAIM,
        "due_at = CASE open.verdict WHEN 'look' THEN n.due_at WHEN",
        "due_at = CASE open.verdict WHEN 'look' THEN clock_timestamp() + lease WHEN",
    ),
    Step(
        "a claim names a column from which another is made",
        _CLAIM,
        "crowded = n.crowded,",
        "",
    ),
    Step("most CHECKs stand in the databases of tests alone", sql=RULES.read_text("utf-8")),
    Step("pages of the table notices are left half empty", sql="ALTER TABLE notices SET (fillfactor = 100)"),
    Step(
        "a claim's commit does not wait for the disk, where that takes 2 ms more than here",
        _CLAIM,
        "    PERFORM set_config('synchronous_commit', 'off', true);\n",
        "",
        flush_us=2000,
    ),
    Step(
        "a webhook takes the short way through aiohttp",
        "service/http/short_way.py",
        'if request.method == "POST" and request.rel_url.raw_path == address and request.content.is_eof():',
        "if False:",
    ),
    Step(
        "a webhook's answer is made once a second",
        "service/http/short_way.py",
        "    if request.version == HttpVersion11 and not ends_with_answer(request):\n        return _RECEIVED\n",
        "",
    ),
    Step(
        "log lines of one turn of the event loop are one write",
        "service/logs.py",
        "        self._lines.append(orjson.dumps(fields, option=_LINE))\n",
        "        self._lines.append(orjson.dumps(fields, option=_LINE))\n        self._write()\n",
    ),
    Step(
        "the garbage collector skips objects that stay",
        "cli/serve.py",
        "    gc.freeze()\n    gc.set_threshold(20_000, 20, 20)\n",
        "",
    ),
)


class Run(NamedTuple):
    """A run's payments a second at saturation, the CPU µs a payment of receiver, worker and Postgres together, and the
    completion calls a second over one connection."""

    per_second: float
    cpu_us: float
    lone_per_second: float


@dataclass(frozen=True)
class Gain:
    """The gain of a step, from pairs of runs: the rates with it divided by those without it, at saturation and for one
    caller, and the extra CPU µs that a payment costs without it."""

    step: Step
    pairs: Sequence[tuple[Run, Run]]

    def __str__(self) -> str:
        rates, lone = (
            statistics.median(with_step[i] / without[i] for with_step, without in self.pairs) for i in (0, 2)
        )
        saved_us = statistics.median(without.cpu_us - with_step.cpu_us for with_step, without in self.pairs)
        return f"| {self.step.name} | {rates:.2f}× | {lone:.2f}× | {saved_us:+.0f} µs |"


async def measure(tree: Path) -> list[Gain]:
    """Measure the gain of each step. Raises BenchFailed."""
    RESULTS.mkdir(exist_ok=True)
    async with running_databases() as databases:
        launcher = Launcher(databases, RESULTS, tree)
        bench, gains = Bench(databases, launcher, FULL), []
        try:
            await launcher.start_standin()
            for step in STEPS:
                pairs = [(await _with(bench, step), await _without(bench, step)) for _ in range(_PAIRS)]
                gains.append(Gain(step, pairs))
                print(gains[-1], flush=True)
        finally:
            await launcher.standin.stop()
    return gains


async def _with(bench: Bench, step: Step) -> Run:
    return await settled(bench, SYSTEMS["ours"], step.flush_us)


async def _without(bench: Bench, step: Step) -> Run:
    ours = SYSTEMS["ours"]
    if not step.file:
        return await settled(bench, replace(ours, worker=step.worker or ours.worker), step.flush_us, step.sql)
    file = bench.launcher.tree / step.file
    original = file.read_text("utf-8")
    if original.count(step.text) != 1:
        raise BenchFailed(f"'{step.name}' is not exactly once in {step.file}: correct its text in bench/steps.py")
    changed = original.replace(step.text, step.instead)
    if file.suffix == ".sql":
        function = changed.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        return await settled(bench, ours, step.flush_us, function)
    file.write_text(changed, "utf-8")
    try:
        return await settled(bench, ours, step.flush_us)
    finally:
        file.write_text(original, "utf-8")


async def settled(bench: Bench, system: System, flush_us: int = 0, sql: str = "") -> Run:
    """Measure one run, on a disk that takes `flush_us` more for each commit."""
    await bench.databases.fresh(bench.size.table)
    async with bench.databases.session() as db:
        for setting in (f"commit_delay = {flush_us}", "commit_siblings = 0"):
            await db.execute(f"ALTER SYSTEM SET {setting}")
        await db.execute("SELECT pg_reload_conf()")
        if sql:
            await db.execute(sql)
    async with bench.launcher.running(system, workers=1) as running:
        source = count(orders.FIRST)
        await bench.settled(running, islice(source, _WARM_UP), 64)
        before = await bench.usage(running)
        settled = await bench.settled(running, islice(source, _NOTICES), _CONNECTIONS)
        after = await bench.usage(running)
        requests = map(COMPLETE.request, source)
        lone = await load.closed_loop(running.port, 1, requests, _LONE_SECONDS, COMPLETE.good)
        check(COMPLETE.name, lone)
    used = sum(after[name].cpu_seconds - before[name].cpu_seconds for name in ("receiver", "worker", "postgres"))
    return Run(settled["per_second"], 1e6 * used / settled["count"], lone.per_second)


_PAGE = """# The gain of each optimisation

<!-- Written by `python -m bench.steps --publish`; change bench/steps.py, not this file. -->

Each step is taken out of a copy of the code. Payments are then settled over {connections} connections, alternately with
and without the step, {pairs} times each, in one run ({when}). Each run ends with completion calls over one connection,
one after the other. A gain is the median of the rate with the step divided by the rate without it. The last column is
the extra CPU of receiver, worker and Postgres that a payment costs without the step. Runs differ by about 10 %. A step
with a smaller gain is kept for the CPU that it saves.

| step | settled, with / without | lone completions, with / without | extra CPU without it |
|---|---|---|---|
{gains}

Two steps are not in the table, because they cannot be taken out by replacing a text:

- plans that cannot join by reading a whole index (`service/db/pool.py`). Without this, the end of a batch took 16 to
  50 ms instead of 1 ms if its plan had been made while the table was small.
- reading the stored rows once, under the locks.
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
