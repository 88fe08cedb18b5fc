"""Upgrade a running service under load, process by process, and go back: `python -m bench.upgrade --from COMMIT`.

Two receivers and two workers of the version before stand behind nginx, set as deploy/nginx has it. Webhooks come at a
fixed rate throughout, a share of them with a completion call. Meanwhile the new version migrates the database, the
processes are restarted one after the other with the new version, and then with the old one again, on the new schema.
The run fails if a request is refused, a completion's p99 of any phase is above a second, or a payment is lost or
counted twice.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench import orders, upgrade_report
from bench.databases import Databases, running_databases
from bench.fleet import RECEIVERS, WORKERS, Fleet
from bench.judging import judge_orders
from bench.measure import BenchFailed
from bench.paths import RESULTS
from bench.payments import Payments, Traffic
from bench.systems import Launcher
from bench.upgrade_report import Ending, Result
from bench.versions import Version, check_imports, checked_out, this_version
from cli.errors import CommandFailed
from cli.serve import raise_open_files_limit

_LOGS = RESULTS / "upgrade-logs"
# What the restarts take is seldom more. Where it is, orders are registered beside the payments.
_RESTARTS_SECONDS = 60.0
_QUIET_PHASES = 4
_STUCK_SECONDS = 25.0
_POLL_SECONDS = 0.1

_ENDING = """
    SELECT (SELECT count(*) FROM orders WHERE state = 'paid') AS settled,
           (SELECT count(*) FROM orders WHERE state = 'paid' AND version <> 2) AS odd_versions,
           (SELECT count(*) FROM notices) AS notices,
           (SELECT count(*) FROM notices WHERE due_at IS NOT NULL) AS open,
           (SELECT count(*) FROM notices WHERE parked_at IS NOT NULL) AS parked
"""


@dataclass(frozen=True)
class Plan:
    """The two versions, the rate of payments, one in how many has a buyer who comes back, the length of a quiet phase,
    and the kind that is restarted first."""

    old: Version
    new: Version
    rate: float
    one_in: int
    seconds: float
    first: str

    @property
    def traffic(self) -> Traffic:
        """Return the payments, with orders for all that are expected."""
        return Traffic(self.rate, self.one_in, int(self.rate * (_QUIET_PHASES * self.seconds + _RESTARTS_SECONDS)))

    @property
    def kinds(self) -> tuple[str, str]:
        return (self.first, WORKERS if self.first == RECEIVERS else RECEIVERS)


async def upgrade(plan: Plan) -> Result:
    """Return what callers, the database and the oracle saw."""
    _LOGS.mkdir(parents=True, exist_ok=True)
    for old in _LOGS.glob("*.log"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="portone-upgrade-") as folder:
        async with running_databases() as databases:
            launcher = Launcher(databases, _LOGS)
            await launcher.start_standin()
            try:
                return await _measure(plan, databases, launcher, Fleet(databases, launcher, Path(folder)))
            finally:
                await launcher.standin.stop()


async def _measure(plan: Plan, databases: Databases, launcher: Launcher, fleet: Fleet) -> Result:
    await databases.empty()
    for version in (plan.old, plan.new):
        check_imports(version.tree, launcher.environment(version.tree))
    await fleet.migrate(plan.old.tree)
    before = await _applied(databases)
    async with fleet.behind_nginx():
        for kind in plan.kinds:
            for place in (0, 1):
                await fleet.restart(kind, place, plan.old.tree)
        payments = Payments(fleet.port, plan.traffic)
        await payments.begin()
        await _phases(plan, fleet, payments)
        await payments.end()
        ending = await _settled(databases, payments.sent)
    judgement = await _judge(databases, launcher.standin_port, payments.sent)
    migrations = [name for name in await _applied(databases) if name not in before]
    versions = (plan.old.commit, plan.new.commit)
    return Result(*versions, plan.traffic, payments.phases, payments.sent, ending, judgement, migrations)


async def _judge(databases: Databases, standin_port: int, sent: int) -> str:
    """Return the oracle's sentence if a promise is broken, so that the figures are shown all the same."""
    try:
        await judge_orders(databases, standin_port, range(orders.FIRST_NEW, orders.FIRST_NEW + sent))
    except BenchFailed as error:
        return str(error)
    return ""


async def _phases(plan: Plan, fleet: Fleet, payments: Payments) -> None:
    async with _phase(fleet, payments, "the old version"):
        await asyncio.sleep(plan.seconds)
    async with _phase(fleet, payments, "migrating"):
        await fleet.migrate(plan.new.tree)
    async with _phase(fleet, payments, "the old version on the new schema"):
        await asyncio.sleep(plan.seconds)
    for kind in plan.kinds:
        await _restart_both(fleet, payments, kind, plan.new, "new")
    async with _phase(fleet, payments, "the new version"):
        await asyncio.sleep(plan.seconds)
    for kind in plan.kinds:
        await _restart_both(fleet, payments, kind, plan.old, "old")
    async with _phase(fleet, payments, "the old version again"):
        await asyncio.sleep(plan.seconds)


async def _restart_both(fleet: Fleet, payments: Payments, kind: str, version: Version, word: str) -> None:
    async with _phase(fleet, payments, f"{kind} to the {word} version"):
        for place in (0, 1):
            await fleet.restart(kind, place, version.tree)


@contextlib.asynccontextmanager
async def _phase(fleet: Fleet, payments: Payments, name: str) -> AsyncIterator[None]:
    """Measure a phase, with the cores that each part uses."""
    payments.enter(name)
    before, began = await asyncio.to_thread(fleet.cpu_seconds), time.perf_counter()
    yield
    seconds, after = time.perf_counter() - began, await asyncio.to_thread(fleet.cpu_seconds)
    payments.phases[-1].cores = {part: (after[part] - before[part]) / seconds for part in after}


async def _applied(databases: Databases) -> list[str]:
    async with databases.session() as db:
        return [row["name"] for row in await db.fetch("SELECT name FROM schema_migrations ORDER BY applied_at, name")]


async def _settled(databases: Databases, sent: int) -> Ending:
    """Wait until each payment is settled and no notice is open, or nothing moves any more."""
    last, still_since = Ending(), time.monotonic()
    async with databases.session() as db:
        while True:
            ending = Ending(**dict(await db.fetchrow(_ENDING)))
            if ending != last:
                last, still_since = ending, time.monotonic()
            if (ending.settled >= sent and not ending.open) or time.monotonic() - still_since > _STUCK_SECONDS:
                return ending
            await asyncio.sleep(_POLL_SECONDS)


def main() -> None:
    options = _options()
    raise_open_files_limit()
    try:
        with checked_out(options.before) as old:
            plan = Plan(old, this_version(), options.rate, options.one_in, options.seconds, options.first)
            result = uvloop.run(upgrade(plan))
    except (BenchFailed, CommandFailed) as error:
        sys.exit(f"Broken: {error}")
    print(upgrade_report.summary(result))
    upgrade_report.keep(result)
    if options.publish:
        upgrade_report.publish(result)
    sys.exit(bool(result.broken))


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="python -m bench.upgrade", description=__doc__)
    parser.add_argument("--from", dest="before", default="", help="the version before; default: the newest tag")
    parser.add_argument("--rate", type=float, default=2000.0, help="payments a second")
    parser.add_argument("--one-in", type=int, default=4, help="payments for each buyer who comes back")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase in which nothing is restarted")
    parser.add_argument("--first", choices=(RECEIVERS, WORKERS), default=RECEIVERS, help="what is restarted first")
    parser.add_argument("--publish", action="store_true", help="write docs/upgrade.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
