"""What a handler needs, made once a process."""

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from service.completion import Completion
from service.confirmation import Confirmation
from service.db.pool import Pool
from service.http.limits import Limiter, Network
from service.intake import Intake
from service.logs import Lines
from service.metrics import Metrics
from service.queue import Queue
from service.settings import Settings
from service.timetable import Timetable


@dataclass(frozen=True, slots=True)
class Receiver:
    """The receiver's parts."""

    settings: Settings
    times: Timetable
    pool: Pool
    queue: Queue
    intake: Intake
    metrics: Metrics
    lines: Lines
    completion: Completion
    confirmation: Confirmation
    webhook_limits: Limiter
    completion_limits: Limiter
    confirmation_limits: Limiter
    trusted_proxies: Sequence[Network]


RECEIVER = web.AppKey("receiver", Receiver)
