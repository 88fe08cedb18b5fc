"""A schedule: seeded orders, payments and notices, and the processes that deal with them."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

import service.usecases.reconciliation
from faults.explorer.gates import FAULTS, GatedPool, GatedPortOne, GatedQueue, NoBudget
from faults.explorer.scheduler import ACTOR, PROCESS, Call, Process, Scheduler
from faults.explorer.truth import Attempt, Truth
from faults.explorer.world import World
from service.db import feed
from service.db.orders import NewOrder
from service.domain.feed_horizon import Horizon
from service.domain.notice import Notice, Source
from service.domain.order import Order
from service.domain.payment import ACCOUNT, Store
from service.domain.timetable import Timetable
from service.errors import ServiceError
from service.metrics import Metrics
from service.usecases.coalescing import BatchBounds
from service.usecases.intake import Intake, Receipt
from service.usecases.reconciliation import Reconciler
from service.usecases.recording import Recorder
from service.usecases.registration import Registration
from service.usecases.verification import Verifier
from workers.parts import Parts
from workers.tasks import reconcile, sweep
from workers.verify import PARTS, verify_notices

TIMES = Timetable()
TIERS = ("", "ABC")
_LIVES = (
    ("open", "pay"),
    ("open", "pay", "refund_part"),
    ("open", "pay", "refund_part", "refund_all"),
    ("open", "pay", "refund_all"),
    ("open", "fail"),
    ("open", "fail", "pay"),
    ("open", "issue", "deposit"),
    ("open", "issue", "deposit", "refund_all"),
    ("open",),
    ("open", "pay", "touch"),
    ("open", "issue", "touch", "touch"),
    ("open", "pay", "regress"),
)
_ADVANCES = (0.05, 0.6, 0.6, 0.6, 3.1, 8.1, 61.0, 601.0)
_ROUNDS_MAX = 80
_JOBS_MAX = 6


# Errors that the service logged. None is ever expected (`note_errors`).
ERRORS: list[str] = []


def note_errors(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep logged errors for the judge, and drop every line. A structlog processor."""
    if method in ("error", "exception", "critical"):
        ERRORS.append(f"logged {event['event']}: {event.get('exception') or event}")
    raise structlog.DropEvent


@dataclass
class Accepted:
    """A notice that was answered 2xx. `row_id` is None if it was spilled."""

    notice: Notice
    row_id: UUID | None


@dataclass
class Result:
    """The result of a schedule."""

    seed: int
    trace: list[str]
    broken: list[str]
    steps: int
    crashes: int
    faults: int
    accepted: int
    lost_spill: int = 0


@dataclass
class Schedule:
    """Everything that a seed decides."""

    world: World
    seed: int
    rng: random.Random = field(init=False)
    truth: Truth = field(init=False)
    scheduler: Scheduler = field(init=False)
    accepted: list[Accepted] = field(default_factory=list)
    moves_left: int = 0
    crashes: int = 0
    faults: int = 0
    flushed: list[Accepted] = field(default_factory=list)
    feed: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)  # noqa: S311 - a schedule that can be repeated
        self.truth = Truth()
        self.scheduler = Scheduler(self.rng, self.world.waiting_for_locks)
        self.pool = GatedPool(self.world.pool, self.scheduler, self.world.admin)
        self.queue = GatedQueue(self.world.redis, self.scheduler)
        self.portone = GatedPortOne(self.truth, self.scheduler)
        self._ids = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._processes: dict[str, Process] = {}
        self._receivers: dict[str, tuple[Process, Intake]] = {}
        self._crash_rate = self.rng.choice((0.0, 0.0, 0.01, 0.03))
        self._fault_rate = self.rng.choice((0.0, 0.02, 0.06))
        # A lagging replica has its own rate, because tickets exist for it.
        self._stale_rate = self.rng.choice((0.0, 0.0, 0.2, 0.5))
        self._rates = {kind: self.rng.choice((1.0, 0.15, 0.03)) for kind in ("answer", "move", "arrival", "time")}
        self._cursor = 0
        self._horizon = Horizon()

    # The scenario

    async def run(self) -> Result:
        """Make the scenario and run it to its end, let everything recover and come to rest, and judge."""
        random.seed(self.seed)
        ERRORS.clear()
        reconciliation: Any = service.usecases.reconciliation
        reconciliation.new_notice_id = self.new_id  # which that module imports
        await self.world.clear()
        await self._tick(0)
        self.scheduler.choose_fault = self._choose_fault
        self.scheduler.is_willing = self._is_willing
        await self._register_first()
        self._start_actors()
        await self.scheduler.run(lambda: any(not task.done() for task in self._tasks), self._maybe_crash)
        self.scheduler.say("-- everything recovers --")
        self.scheduler.release_all()
        self.pool.away = False
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=0.001)
            for task in pending:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        broken = await self._come_to_rest()
        return Result(
            self.seed, self.scheduler.trace, broken, self.scheduler.steps, self.crashes, self.faults,
            len(self.accepted), len(self.flushed),
        )  # fmt: skip

    async def _register_first(self) -> None:
        rng = self.rng
        self.orders = [self._new_order(number) for number in range(rng.randint(1, 3))]
        self.attempts: list[tuple[Attempt, list[str]]] = []
        for number in range(rng.randint(1, 3)):
            order = rng.choice(self.orders)
            self.attempts.append((self._new_attempt(number, order), list(rng.choice(_LIVES))))
        self.late = [order for order in self.orders if rng.random() < 0.35]
        self.never = [order for order in self.late if rng.random() < 0.2]
        self.scheduler.free = True
        for order in self.orders:
            if order not in self.late:
                await Registration(self.pool, TIMES, BatchBounds(1)).register(order)  # type: ignore[arg-type]
        self.scheduler.free = False

    def _new_order(self, number: int) -> NewOrder:
        tier = self.rng.choice(("", "", "ABC"))
        amount, currency = self.rng.choice(((1000, "KRW"), (64900, "KRW"), (600, "KRW")))
        expires_at = datetime.fromtimestamp(self.truth.clock, UTC) + timedelta(days=30)
        return NewOrder(Order(f"order-{number}", amount, currency, Store("default", tier)), expires_at=expires_at)

    def _new_attempt(self, number: int, order: NewOrder) -> Attempt:
        rng, terms = self.rng, order.terms
        attempt = Attempt(f"imp_{number}", terms.merchant_uid, terms.amount, terms.currency, terms.store.tier)
        match rng.randrange(12):
            case 0:
                attempt.amount += 100
            case 1:
                attempt.currency = "JPY"
            case 2:
                attempt.test = True
            case 3:
                attempt.tier = rng.choice(TIERS)
            case _:
                pass
        return attempt

    def _start_actors(self) -> None:
        rng = self.rng
        for attempt, moves in self.attempts:
            self._start(f"portone {attempt.imp_uid}", self._process("world"), self._live(attempt, moves))
        for order in self.late:
            if order not in self.never:
                self._start(f"shop {order.terms.merchant_uid}", self._process("receiver-0"), self._register(order))
        for number in range(rng.randint(1, 2)):
            self._start(f"worker-{number}", self._process(f"worker-{number}"), self._work(number))
        self._start("sweeper", self._process("worker-s"), self._sweep(rng.randint(1, 3)))
        if rng.random() < 0.6:
            self._start("reconciler", self._process("worker-r"), self._reconcile(rng.randint(1, 2)))
        self._start("clock", self._process("world"), self._pass_time(rng.randint(2, 12)))
        self._start("feed", self._process("world"), self._read_feed(3))

    def _start(self, name: str, process: Process, work: Awaitable[None]) -> None:
        async def run() -> None:
            PROCESS.set(process)
            ACTOR.set(name)
            try:
                await work
            except ServiceError as error:
                self.scheduler.say(f"[{name}] {type(error).__name__}")

        task = asyncio.create_task(run(), name=name)
        process.tasks.add(task)
        self._tasks.add(task)

    # The actors

    async def _live(self, attempt: Attempt, moves: list[str]) -> None:
        """Make a payment's moves, each with any number of notices."""
        for move in moves:
            async with self.scheduler.call("move", f"{attempt.imp_uid}: {move}"):
                status = self.truth.move(attempt, move, self.rng)
            for _ in range(self.rng.choice((0, 1, 2, 3)) if move != "open" else self.rng.choice((0, 0, 1))):
                self._give_notice(attempt, status)

    def _give_notice(self, attempt: Attempt, status: str) -> None:
        rng = self.rng
        source = rng.choice((Source.WEBHOOK, Source.WEBHOOK, Source.COMPLETION))
        cancelled = status == "cancelled"
        notice = Notice(
            self.new_id(),
            source,
            attempt.imp_uid,
            attempt.merchant_uid,
            (attempt.tier or None) if source is Source.WEBHOOK else None,
            status if source is Source.WEBHOOK else "paid",
            "c-1" if cancelled and source is Source.WEBHOOK else None,
        )
        name = f"receiver-{rng.randrange(2)}"
        self._start(f"{name} notice {str(notice.id)[-4:]}", self._process(name), self._accept(name, notice))

    async def _accept(self, name: str, notice: Notice) -> None:
        async with self.scheduler.call("arrival", f"{notice.source} arrives: {notice.imp_uid} {notice.claimed_status}"):
            process, intake = self._receiver(name)
        receipt: Receipt = await intake.accept(notice)
        if process.alive:
            self.scheduler.say(f"[{name}] answers 200 for {str(notice.id)[-4:]}, row {str(receipt.row_id)[-4:]}")
            self.accepted.append(Accepted(notice, receipt.row_id))

    def _receiver(self, name: str) -> tuple[Process, Intake]:
        receiver = self._receivers.get(name)
        if receiver is None or not receiver[0].alive:
            recorder = Recorder(self.pool, self.queue, TIMES)  # type: ignore[arg-type]
            receiver = self._receivers[name] = (self._process(name), Intake(recorder, Metrics()))
        return receiver

    async def _register(self, order: NewOrder) -> None:
        while True:
            async with self.scheduler.call("world", f"registers {order.terms.merchant_uid}"):
                pass
            try:
                await Registration(self.pool, TIMES, BatchBounds(1)).register(order)  # type: ignore[arg-type]
            except ServiceError:
                continue
            self.scheduler.say(f"{order.terms.merchant_uid} is registered")
            return

    async def _work(self, number: int) -> None:
        for _ in range(_JOBS_MAX):
            async with self.scheduler.call("job", "takes a job"):
                ids = await self._take_job()
            if not ids:
                return
            await verify_notices(self._context(), ids)

    async def _take_job(self) -> list[str] | None:
        """Take any job in Redis. As in arq, a running job is not in the queue (docs/design.md §5)."""
        if not self.queue.jobs:
            return None
        ids, self.queue.jobs = await self.world.take_job(self.rng.random())
        return ids

    async def _sweep(self, times: int) -> None:
        for _ in range(times):
            async with self.scheduler.call("world", "sweeps"):
                pass
            await sweep(self._context())

    async def _reconcile(self, times: int) -> None:
        for _ in range(times):
            async with self.scheduler.call("world", "reconciles"):
                pass
            await reconcile(self._context())

    async def _pass_time(self, times: int) -> None:
        for _ in range(times):
            event = self.rng.choice(("time",) * 6 + ("postgres", "flush"))
            if event == "time":
                seconds = self.rng.choice(_ADVANCES)
                async with self.scheduler.call("time", f"{seconds} s pass"):
                    await self._tick(seconds)
            elif event == "postgres":
                async with self.scheduler.call("world", "Postgres goes away"):
                    self.pool.away = True
                async with self.scheduler.call("world", "Postgres comes back"):
                    self.pool.away = False
            else:
                async with self.scheduler.call("world", "FLUSHALL"):
                    await self.world.redis.flushdb()
                    self.queue.jobs = 0
                    self.flushed += [a for a in self.accepted if a.row_id is None]

    async def _read_feed(self, times: int) -> None:
        """Read the feed as its readers do. The events that were read are compared at the end."""
        for _ in range(times):
            async with self.scheduler.call("world", "reads the feed"):
                await self._read_on()

    async def _read_on(self) -> None:
        follower = self.world.follower
        upto = self._horizon.observe(await feed.position(follower))
        for event in await feed.events(follower, self._cursor, upto, 1_000) if upto is not None else []:
            self._cursor = event.id
            self.feed.append((event.merchant_uid, event.version))

    # What goes wrong

    def _is_willing(self, call: Call) -> bool:
        """Return whether a call may pass: a job must be there to take, and slow kinds of calls pass less often.

        With slow payments, moves fall between looks. With a slow PortOne, looks overlap.
        """
        if call.kind in self._rates:
            return self.rng.random() < self._rates[call.kind]
        return call.kind != "job" or self.queue.jobs > 0

    def _choose_fault(self, call: Call) -> str | None:
        kinds = FAULTS.get(call.kind)
        if call.kind in ("portone", "list") and self.rng.random() < self._stale_rate:
            self.faults += 1
            return "stale"
        if not kinds or self.rng.random() >= self._fault_rate:
            return None
        self.faults += 1
        return self.rng.choice(kinds)

    async def _maybe_crash(self) -> bool:
        self.truth.clock += 0.001
        if self.scheduler.steps % 8 == 0:  # once a step, it would be a quarter of all round trips
            await self.world.set_clock(self.truth.clock)
        if self.rng.random() >= self._crash_rate:
            return False
        alive = [p for p in self._processes.values() if p.name != "world" and any(not t.done() for t in p.tasks)]
        if not alive:
            return False
        process = self.rng.choice(sorted(alive, key=lambda p: p.name))
        await self._kill(process)
        return True

    async def _kill(self, process: Process) -> None:
        """Kill a process (-9): its connections end, and its tasks do nothing more. A worker is started again."""
        self.crashes += 1
        self.scheduler.say(f"KILL {process.name}")
        process.alive = False
        del self._processes[process.name]
        for connection in list(process.connections):
            await connection.cut()
        for task in process.tasks:
            task.cancel()
        self.scheduler.drop(process)
        if process.name.startswith("worker-") and process.name[-1].isdigit():
            self._start(process.name, self._process(process.name), self._work(0))
        for order in self.late:
            if process.name == "receiver-0" and order not in self.never:
                name = f"shop {order.terms.merchant_uid}"
                self._start(name, self._process("receiver-0"), self._register(order))

    def _process(self, name: str) -> Process:
        return self._processes.setdefault(name, Process(name))

    # Coming to rest

    async def _come_to_rest(self) -> list[str]:
        """Sweep, verify and reconcile until nothing is left to do, then judge."""
        context = self._context()
        PROCESS.set(Process("healer"))
        for _ in range(_ROUNDS_MAX):
            await self._tick(self.rng.choice((7.0, 9.0, 61.0)))
            await sweep(context)
            while ids := await self._take_job():
                await self._tick(0.6)  # a payment is looked at no more than twice a second
                await verify_notices(context, ids)
            if await self.world.at_rest() and await self._agrees(context):
                break
        return await self._judge()

    async def _agrees(self, context: dict[str, Any]) -> bool:
        """Return whether a walk of all ledgers that begins now finds no difference.

        The first walk may be the end of an earlier one, which goes on at its next page; the second begins at the first.
        """
        for _ in range(2):
            await self._tick(61.0)
            await reconcile(context)
            if not await self.world.at_rest():
                return False
        return True

    async def _judge(self) -> list[str]:
        await self._read_on()
        truth = [
            attempt.now | {"tier": attempt.tier, "was_paid": any(state["paid_at"] for _, state in attempt.states)}
            for attempt in self.truth.attempts.values()
        ]
        return [*await self.world.judge(self, truth), *self.scheduler.broken, *ERRORS]

    def _context(self) -> dict[str, Any]:
        pool: Any = self.pool
        reconciler = Reconciler(pool, self.queue, {ACCOUNT: self.portone}, NoBudget(), TIMES, self._stores())
        return {
            PARTS: Parts(
                pool=pool,
                queue=self.queue,
                recorder=Recorder(pool, self.queue, TIMES),
                verifier=Verifier(pool, {ACCOUNT: self.portone}, NoBudget(), times=TIMES),
                reconciler=reconciler,
                turns=(reconciler.replay_parked,),
                times=TIMES,
            )
        }

    def _stores(self) -> list[Store]:
        """Return the stores in which this schedule has orders or payments."""
        tiers = {attempt.tier for attempt, _ in self.attempts} | {order.terms.store.tier for order in self.orders}
        return [Store("default", tier) for tier in sorted(tiers)]

    def new_id(self) -> UUID:
        """Return the next id. Ids ascend, and are the same for the same seed."""
        return UUID(int=(0x0192 << 112) | (0x7 << 76) | (0x2 << 62) | next(self._ids))

    async def _tick(self, seconds: float) -> None:
        self.truth.clock += seconds
        await self.world.set_clock(self.truth.clock)


Maker = Callable[[int], Schedule]
