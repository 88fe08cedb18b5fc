"""The parts that handlers use, made once a process."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from service.account_settings import PortOneAccount
from service.db.pool import Pool
from service.http.client_address import ClientAddresses
from service.http.connections import Connections
from service.logs import Lines
from service.metrics import Metrics
from service.rate_limits import Limiter
from service.redis.queue import Queue
from service.settings import Settings
from service.usecases.announcing import Announcer
from service.usecases.change_waiters import ChangeWaiters
from service.usecases.checkout import Checkout, CheckoutTokens
from service.usecases.closing import Withdrawals
from service.usecases.completion import Completion
from service.usecases.confirmation import Confirmation
from service.usecases.console import Console
from service.usecases.console_sessions import Sessions
from service.usecases.console_today import TodayReading
from service.usecases.following import Feed
from service.usecases.idempotency import Idempotency
from service.usecases.intake import Intake
from service.usecases.listing import Listing
from service.usecases.measuring import SharedMeter
from service.usecases.readiness import Readiness
from service.usecases.reading import Reading
from service.usecases.rechecking import Rechecks
from service.usecases.registration import Registration
from service.usecases.service_keys import ServiceKeys
from service.usecases.standby_reads import Beats


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each kind of call, most of them for each client; `shed`: of completion calls, for all clients."""

    webhooks: Limiter
    completions: Limiter
    shed: Limiter
    checkouts: Limiter
    confirmations: Limiter
    questions: Limiter
    wrong_keys: Limiter


@dataclass(frozen=True, slots=True)
class Receiver:
    """The receiver's parts."""

    settings: Settings
    pool: Pool
    queue: Queue
    intake: Intake
    metrics: Metrics
    meter: SharedMeter
    lines: Lines
    accounts: Mapping[str, PortOneAccount]
    registration: Registration
    beats: Beats
    reading: Reading
    listing: Listing
    feed: Feed
    announcer: Announcer
    change_waiters: ChangeWaiters
    checkout: Checkout
    checkout_tokens: CheckoutTokens
    completion: Completion
    confirmation: Confirmation
    withdrawals: Withdrawals
    rechecks: Rechecks
    idempotency: Idempotency
    readiness: Readiness
    service_keys: ServiceKeys
    console: Console
    sessions: Sessions
    today: TodayReading
    limits: Limits
    clients: ClientAddresses
    connections: Connections


RECEIVER = web.AppKey("receiver", Receiver)
