"""The assembly of a receiver's parts: each kind of work has connections, batches and a queue of its own.

So no flood of one kind keeps another waiting for Postgres (docs/design.md §2.13).
"""

import contextlib
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import SecretStr

from service.db.pool import Pool, open_pool
from service.domain.timetable import Timetable
from service.http.client_address import ClientAddresses
from service.http.connections import Bounds, Connections
from service.http.receiver import Limits, Receiver
from service.logs import Lines
from service.metrics import Metrics
from service.rate_limits import Limiter
from service.redis.queue import Queue
from service.redis.waiters import Waiters
from service.settings import Settings
from service.shop.stock import StockHook
from service.tracing import Tracing
from service.usecases.announcing import Announcer
from service.usecases.asking import Asking
from service.usecases.change_waiters import ChangeWaiters
from service.usecases.checkout import Checkout, CheckoutTokens
from service.usecases.closing import Withdrawals
from service.usecases.coalescing import BatchBounds
from service.usecases.completion import Completion
from service.usecases.confirmation import Confirmation
from service.usecases.console import STATEMENT_SECONDS, Console
from service.usecases.console_sessions import Sessions
from service.usecases.console_today import TodayReading
from service.usecases.following import Feed, FeedBounds
from service.usecases.idempotency import Idempotency
from service.usecases.intake import Intake
from service.usecases.listing import Listing
from service.usecases.measuring import SharedMeter, show_shared
from service.usecases.readiness import Readiness
from service.usecases.reading import Reading
from service.usecases.rechecking import Rechecks
from service.usecases.recording import Recorder
from service.usecases.registration import Registration
from service.usecases.search_requests import SearchRequests
from service.usecases.service_keys import ServiceKeys
from service.usecases.standby_reads import Beats, StandbyReads

# Connections to Postgres for what has none of its own: terms that are amended, searches, the measure of the promise.
_CONNECTIONS = 4
# Registrations of orders of which something is stored already are written by themselves, beside the batches.
_SETTLED_FIRST = 2
# As many as one statement takes: of a larger batch, the last would wait longer than they gain.
_BATCH = 100
# Answering a batch keeps everybody else waiting: of reads and registrations, which give way, it is a smaller one.
_SMALL_BATCH = 40
# Calls with an Idempotency-Key: one connection claims them, and the other keeps their answers.
_IDEMPOTENCY = 2
# `confirm_url` questions about one order from one address: PortOne asks once for each attempt.
_QUESTIONS_PER_SECOND = 10.0
# Wrong keys at the console's sign-in: a person pastes a few, then waits some seconds for each. There is no rate for all
# clients together, with which strangers would keep people out.
_WRONG_KEYS = 10.0
_WRONG_KEYS_PER_SECOND = 0.1


class _Closes(Protocol):
    async def close(self) -> None: ...


Part = TypeVar("Part", bound=_Closes)


@dataclass(frozen=True, slots=True)
class _Assembly:
    """Makes parts, each of which is closed before those that it uses."""

    stack: contextlib.AsyncExitStack
    settings: Settings
    metrics: Metrics

    async def pool(self, name: str, size: int, **options: float) -> Pool:
        return await self._pool(self.settings.database_url, name, size, **options)

    async def standby_reads(self, beats: Beats) -> StandbyReads | None:
        """Make what reads on a standby, with a connection for each batch of reads and lists, and one for histories."""
        settings = self.settings
        if not settings.read_database_url.get_secret_value():
            return None
        size = settings.read_connections + settings.list_connections + 1
        pool = await self._pool(settings.read_database_url, "standby", size, reads_only=True)
        return StandbyReads(pool, beats, settings.read_age_max_seconds)

    async def _pool(self, url: SecretStr, name: str, size: int, **options: Any) -> Pool:
        pool = await open_pool(url.get_secret_value(), size, **options)
        self.metrics.watch_pool(name, pool)
        self.stack.push_async_callback(pool.close)
        return pool

    def closing(self, part: Part) -> Part:
        self.stack.push_async_callback(part.close)
        return part

    def stock(self) -> StockHook | None:
        settings = self.settings
        if not settings.stock_hook_url:
            return None
        return self.closing(StockHook(settings.stock_hook_url, settings.stock_hook_per_second))

    async def confirmation(self) -> Confirmation:
        settings = self.settings
        bounds = BatchBounds(_BATCH, settings.confirmation_connections, settings.confirmation_waiting)
        unsure = settings.confirm_when_unsure == "allow"
        return Confirmation(
            await self.pool("confirmation", bounds.runs), bounds, self.stock(), allow_when_unsure=unsure
        )

    async def registration(self, times: Timetable, intake: Intake, announcer: Announcer) -> Registration:
        settings = self.settings
        bounds = BatchBounds(_SMALL_BATCH, settings.registration_connections, settings.registration_waiting)
        pool = await self.pool("registration", bounds.runs + _SETTLED_FIRST)
        return self.closing(
            Registration(pool, times, bounds, intake=intake, announcer=announcer, prepare=settings.prepare_amount)
        )

    async def service_keys(self) -> ServiceKeys:
        configured = [key.get_secret_value() for key in self.settings.service_keys]
        # Two connections: a reading is due while the uses are written.
        return self.closing(ServiceKeys(await self.pool("service_keys", 2), configured))

    async def idempotency(self, times: Timetable) -> Idempotency:
        pool = await self.pool("idempotency", _IDEMPOTENCY)
        return self.closing(Idempotency(pool, times, self.settings.idempotency_waiting))

    async def reading(self, intake: Intake, waiters: ChangeWaiters, standby: StandbyReads | None) -> Reading:
        bounds = BatchBounds(_SMALL_BATCH, self.settings.read_connections, self.settings.read_waiting)
        return self.closing(Reading(await self.pool("reads", bounds.runs), intake, bounds, waiters, standby))

    async def feed(self, waiters: ChangeWaiters) -> Feed:
        settings = self.settings
        bounds = FeedBounds(settings.feed_connections, settings.feed_waiting, settings.feed_followers)
        head_pool, pool = await self.pool("feed_head", 1), await self.pool("feed", bounds.connections)
        return self.closing(Feed(head_pool, pool, waiters, bounds))

    async def listing(self, intake: Intake, standby: StandbyReads | None) -> Listing:
        bounds = BatchBounds(1, self.settings.list_connections, self.settings.list_waiting)
        return self.closing(Listing(await self.pool("lists", bounds.runs + 1), bounds, intake, standby))

    async def readiness(self, queue: Queue, intake: Intake) -> Readiness:
        return Readiness(await self.pool("readiness", 1), queue, lambda: intake.finds_disk_full)

    async def console(self, intake: Intake) -> Console:
        bounds = BatchBounds(1, self.settings.console_connections, self.settings.console_waiting)
        pool = await self.pool("console", bounds.runs, statement_seconds=STATEMENT_SECONDS)
        return self.closing(Console(pool, bounds, intake))

    async def checkout(self, intake: Intake, waiters: Waiters) -> Checkout:
        settings = self.settings
        bounds = BatchBounds(_SMALL_BATCH, settings.checkout_connections, settings.checkout_waiting)
        return self.closing(Checkout(await self.pool("checkout", bounds.runs), intake, waiters, bounds))

    def checkout_tokens(self) -> CheckoutTokens:
        settings = self.settings
        secrets = [secret.get_secret_value().encode() for secret in settings.checkout_secrets]
        return CheckoutTokens(secrets, settings.checkout_token_seconds)

    async def completion(self, intake: Intake, searches: SearchRequests, waiters: Waiters) -> Completion:
        settings = self.settings
        bounds = BatchBounds(_BATCH, settings.completion_connections, settings.completion_waiting)
        pool = await self.pool("completion", bounds.runs)
        allow = settings.allow_test_channel
        return self.closing(Completion(pool, intake, searches, waiters, bounds, allow_test_channel=allow))


async def open_receiver(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    queue: Queue,
    waiters: Waiters,
    bounds: Bounds,
    tracing: Tracing | None,
) -> Receiver:
    """Make the parts; leaving the stack closes them."""
    times, metrics, clients = settings.times, Metrics(), ClientAddresses(settings.trusted_proxies)
    assembly = _Assembly(stack, settings, metrics)
    assembly.closing(queue)
    pool = await assembly.pool("others", _CONNECTIONS)
    # Intake writes one batch at a time, on one connection.
    intake = assembly.closing(Intake(Recorder(await assembly.pool("intake", 1), queue, times), metrics, tracing))
    searches = assembly.closing(SearchRequests(pool, queue, times.spacing))
    announcer = assembly.closing(Announcer(queue))
    change_waiters, beats = ChangeWaiters(settings.read_waiters), Beats()
    registration, standby = await assembly.registration(times, intake, announcer), await assembly.standby_reads(beats)
    reading, feed = await assembly.reading(intake, change_waiters, standby), await assembly.feed(change_waiters)
    listing = await assembly.listing(intake, standby)
    waiters.hear = feed.heard
    completion, confirmation = await assembly.completion(intake, searches, waiters), await assembly.confirmation()
    asking = Asking(searches, waiters, completion.order_batches)
    service_keys, checkout = await assembly.service_keys(), await assembly.checkout(intake, waiters)
    console, readiness = await assembly.console(intake), await assembly.readiness(queue, intake)
    receiver = Receiver(
        settings=settings,
        pool=pool,
        queue=queue,
        intake=intake,
        metrics=metrics,
        meter=assembly.closing(SharedMeter(pool, queue, feed, readiness, settings)),
        lines=Lines(),
        accounts=settings.accounts,
        registration=registration,
        beats=beats,
        reading=reading,
        listing=listing,
        feed=feed,
        announcer=announcer,
        change_waiters=change_waiters,
        checkout=checkout,
        checkout_tokens=assembly.checkout_tokens(),
        completion=completion,
        confirmation=confirmation,
        withdrawals=Withdrawals(pool, asking, settings.allow_test_channel, times.deposit_grace),
        rechecks=Rechecks(pool, reading, asking),
        idempotency=await assembly.idempotency(times),
        readiness=assembly.closing(readiness),
        service_keys=service_keys,
        console=console,
        sessions=Sessions(console, service_keys),
        today=assembly.closing(TodayReading(console, settings, readiness)),
        limits=_limits(settings),
        clients=clients,
        connections=Connections(bounds, clients, metrics),
    )
    _watch(receiver, searches)
    return receiver


def _limits(settings: Settings) -> Limits:
    return Limits(
        webhooks=Limiter(settings.webhooks_per_client, settings.webhooks_per_second),
        completions=Limiter(settings.completions_per_client, shared=True),
        shed=Limiter(settings.completions_per_second),
        checkouts=Limiter(settings.checkouts_per_client, shared=True),
        confirmations=Limiter(settings.confirmations_per_client),
        questions=Limiter(_QUESTIONS_PER_SECOND),
        wrong_keys=Limiter(_WRONG_KEYS_PER_SECOND, burst=_WRONG_KEYS),
    )


def _watch(receiver: Receiver, searches: SearchRequests) -> None:
    """Show each kind of work, and what all processes share, in the metrics."""
    show_shared(receiver.metrics, lambda: receiver.meter.state)
    receiver.metrics.watch(
        intake=receiver.intake.batches,
        registration=receiver.registration.batches,
        reads=receiver.reading.batches,
        recent_reads=receiver.reading.recent_batches,
        lists=receiver.listing.batches,
        histories=receiver.listing.history_batches,
        idempotency_claims=receiver.idempotency.claims,
        idempotency_answers=receiver.idempotency.answers,
        checkout=receiver.checkout.batches,
        completion=receiver.completion.batches,
        completion_by_order=receiver.completion.order_batches,
        confirmation=receiver.confirmation.batches,
        searches=searches.batches,
        feed_head=receiver.feed.head_reads,
        feed=receiver.feed.reads,
        followers=receiver.feed.followers,
        waiting_reads=receiver.change_waiters.places,
        unknown_keys=receiver.service_keys.batches,
        console=receiver.console.batches,
    )
