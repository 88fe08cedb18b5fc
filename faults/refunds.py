"""Kill a worker (-9) at random moments around its refund call, in many rounds: `python -m faults.refunds`.

Each round pays an order twice, lets a real worker process find the duplicate and refund it, and kills the process
around its nth call to PortOne, give or take some milliseconds. The next worker continues the killed one's work. In the
end no payment may have been refunded twice, and every refund must have ended, or be shown to a person as a problem.
Prints one line of figures. The exit code is 1 if a refund was carried out twice.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from sandbox.config import SandboxConfig
from sandbox.payment import Payment
from sandbox.refunds import Refund
from sandbox.world import WORLD
from service.domain.payment import ACCOUNT
from service.domain.refund import Action
from service.domain.timetable import Timetable
from service.logs import configure_logs
from service.portone.client import PortOne
from service.settings import Settings
from tests.conftest import Stores
from tests.sandbox_client import RunningSandbox, running_sandbox
from tests.service.refunding import CANCEL, Shop
from workers.parts import make_parts
from workers.refunds import REFUNDER, close_refunds, intend_refunds, make_refunder, send_refunds

# The shortest waits that still distinguish a dead worker's refund from one that is under way.
TIMES = replace(
    Timetable().scaled(0),
    refund_lease=timedelta(seconds=0.3),
    refund_retry=timedelta(seconds=0.3),
    refund_look_first=timedelta(seconds=0.3),
    refund_look_last=timedelta(seconds=0.5),
    refund_unknown=timedelta(seconds=4),
    refund_window=timedelta(hours=1),
)
_TURN_SECONDS = 0.02
_CALL_SECONDS = 0.02
_ROUND_SECONDS = 20.0
_END_SECONDS = 60.0


async def work(settings: Settings) -> None:
    """Run the three cron tasks again and again, until killed."""
    async with make_parts(settings) as parts:
        secret = settings.portone_imp_secret.get_secret_value()
        accounts = {ACCOUNT: PortOne(settings.portone_api_url, settings.portone_imp_key, secret, TIMES)}
        verifier = replace(parts.verifier, accounts=accounts, times=TIMES)
        ctx = {REFUNDER: make_refunder(settings, verifier, accounts)}
        while True:
            for task in (intend_refunds, send_refunds, close_refunds):
                await task(ctx)
            await asyncio.sleep(_TURN_SECONDS)


class Harness:
    """The databases, a PortOne that counts refunds, and the running worker."""

    def __init__(self, settings: Settings, sandbox: RunningSandbox, shop: Shop, random: Random) -> None:
        self.settings, self.sandbox, self.shop, self.random = settings, sandbox, shop, random
        self.cancels: Counter[str] = Counter()
        self.killed_at: Counter[str] = Counter()
        self._worker: asyncio.subprocess.Process | None = None
        self._count_refunds()

    async def rounds(self, kills: int) -> None:
        for number in range(kills):
            await self._start_worker()
            await self.shop.paid_twice(f"order-{number}", async_cancel=self.random.random() < 0.2)
            await self._kill_around_the_call()
        await self._start_worker()
        await self._wait_for_all_to_end()
        await self._kill()

    async def hidden(self) -> int:
        """Count the unfinished refunds that their orders do not show as a problem, after a look at each."""
        for row in await self.shop.pool.fetch("SELECT merchant_uid, imp_uid FROM refunds"):
            await self.shop.announce(row["merchant_uid"], row["imp_uid"])
        count: int = await self.shop.pool.fetchval(
            """
            SELECT count(*) FROM refunds r JOIN orders o USING (merchant_uid)
            WHERE r.state NOT IN ('refunded', 'withdrawn')
              AND NOT o.problems @> jsonb_build_array(jsonb_build_object('imp_uid', r.imp_uid))
            """
        )
        return count

    async def _kill_around_the_call(self) -> None:
        """Kill some milliseconds after the refund's own call has arrived (70 %), or after the nth call."""
        calls = self.sandbox.app[WORLD].calls
        arrived, nth = calls.by_template[CANCEL], calls.total + self.random.randint(1, 3)
        at_the_call = self.random.random() < 0.7
        async with asyncio.timeout(_ROUND_SECONDS):
            # The calls come from the worker, which is another process.
            while calls.by_template[CANCEL] == arrived and (at_the_call or calls.total < nth):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await asyncio.sleep(self.random.uniform(0, 0.05))
        await self._kill()
        last = await self.shop.pool.fetchrow(
            "SELECT imp_uid, state FROM refunds ORDER BY asked_at DESC NULLS LAST LIMIT 1"
        )
        done = last is not None and self.cancels[last["imp_uid"]]
        self.killed_at[f"{last['state'] if last else 'nothing'}, {'carried out' if done else 'not carried out'}"] += 1

    async def _start_worker(self) -> None:
        environment = {
            **os.environ,
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "REDIS_URL": self.settings.redis_url.get_secret_value(),
            "PORTONE_API_URL": self.settings.portone_api_url,
            "PORTONE_IMP_KEY": self.settings.portone_imp_key,
            "PORTONE_IMP_SECRET": self.settings.portone_imp_secret.get_secret_value(),
        }
        self._worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "faults.refunds", "--worker", env=environment, stdout=asyncio.subprocess.DEVNULL
        )

    async def _kill(self) -> None:
        if self._worker is not None:
            self._worker.send_signal(signal.SIGKILL)
            await self._worker.wait()

    async def _wait_for_all_to_end(self) -> None:
        async with asyncio.timeout(_END_SECONDS):
            while await self._open():
                for payment in self.sandbox.app[WORLD].ledger.payments():
                    while payment.pending_cancels:
                        self.sandbox.app[WORLD].ledger.finish_cancel(payment)
                await asyncio.sleep(0.05)

    async def _open(self) -> int:
        count: int = await self.shop.pool.fetchval(
            """
            SELECT (SELECT count(*) FROM refunds WHERE state IN ('intended', 'asked'))
                 + (SELECT count(*) FROM orders o WHERE problems <> '[]' AND NOT EXISTS (
                        SELECT FROM refunds r WHERE r.merchant_uid = o.merchant_uid))
            """
        )
        return count

    def _count_refunds(self) -> None:
        ledger = self.sandbox.app[WORLD].ledger
        cancel = ledger.cancel

        def counted(payment: Payment, refund: Refund, **options: Any) -> None:
            self.cancels[payment.imp_uid] += 1
            cancel(payment, refund, **options)

        ledger.cancel = counted  # type: ignore[method-assign]


@asynccontextmanager
async def harness(random: Random) -> AsyncIterator[Harness]:
    with tempfile.TemporaryDirectory(prefix="portone-orders-faults-") as folder:
        Path(folder).chmod(0o711)  # noqa: ASYNC240 - before anything runs
        databases = await Stores.start(Path(folder))
        try:
            async with running_sandbox(SandboxConfig()) as sandbox:
                await sandbox.faults(latency_seconds=_CALL_SECONDS)
                settings = _settings(databases, sandbox)
                async with make_parts(settings) as parts:
                    verifier = replace(parts.verifier, times=TIMES)
                    yield Harness(settings, sandbox, Shop(parts.pool, sandbox, verifier), random)
        finally:
            await databases.stop()


def _settings(databases: Stores, sandbox: RunningSandbox) -> Settings:
    return Settings(
        _env_file=None,
        database_url=databases.postgres.url(),
        redis_url=databases.redis.url(),
        portone_api_url=sandbox.url,
        portone_imp_key=sandbox.imp_key,
        portone_imp_secret=sandbox.imp_secret,
    )


async def run(kills: int, seed: int) -> int:
    async with harness(Random(seed)) as trial:  # noqa: S311 - a repeatable run, no secret
        await trial.rounds(kills)
        rows = await trial.shop.pool.fetch("SELECT state, count(*) AS count FROM refunds GROUP BY state ORDER BY state")
        double, hidden = sum(count > 1 for count in trial.cancels.values()), await trial.hidden()
        sys.stdout.write(
            f"kills {kills}, seed {seed}; killed at {dict(trial.killed_at)}; calls {trial.cancels.total()}, "
            f"double refunds {double}; ends { {row['state']: row['count'] for row in rows} }, of them hidden {hidden}\n"
        )
    return 1 if double or hidden else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.refunds", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    configure_logs(logging.INFO if options.worker else logging.WARNING)
    if options.worker:
        settings = Settings.load(
            on_duplicate=Action.REFUND, refund_max_per_hour=1_000_000, calls_per_second=1_000_000.0
        )
        asyncio.run(work(settings))
        return 0
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the sandbox is cut off at every kill
    return asyncio.run(run(options.kills, options.seed))


if __name__ == "__main__":
    sys.exit(main())
