"""arq's cron tasks for refunds, one turn each. They never raise, because a refund's row is its timetable."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from service.domain.refund import Policy
from service.errors import PostgresUnavailable
from service.settings import Settings
from service.usecases.refund_intents import Intents
from service.usecases.refunds import Cancels, Refunder
from service.usecases.verification import Verifier

log = structlog.get_logger()

REFUNDER = "refunder"  # its key in arq's context


def make_refunder(settings: Settings, verifier: Verifier, accounts: Mapping[str, Cancels]) -> Refunder:
    """Make the worker's refunder from the worker's own parts."""
    policy = Policy(settings.on_mismatch, settings.on_duplicate, settings.on_paid_after_close)
    times = verifier.times
    intents = Intents(verifier.pool, policy, accounts.keys(), verifier.allow_test_channel, times)
    return Refunder(verifier.pool, verifier, intents, accounts, settings.refund_max_per_hour, times)


async def intend_refunds(ctx: Mapping[str, Any]) -> None:
    """Record an intent for each problem that the policy refunds (ON_MISMATCH, ON_DUPLICATE, ON_PAID_AFTER_CLOSE)."""
    refunder: Refunder = ctx[REFUNDER]
    await _turn("intended", refunder.intents.intend_due)


async def send_refunds(ctx: Mapping[str, Any]) -> None:
    """Ask PortOne for the refunds that are due, also for those that only a person wants."""
    refunder: Refunder = ctx[REFUNDER]
    await _turn("sent", refunder.refund_due)


async def close_refunds(ctx: Mapping[str, Any]) -> None:
    """Find out how the refunds that were asked for ended."""
    refunder: Refunder = ctx[REFUNDER]
    await _turn("ended", refunder.close_asked)


async def _turn(name: str, turn: Callable[[], Awaitable[int]]) -> None:
    try:
        count = await turn()
    except PostgresUnavailable as error:
        log.warning("refunds.turn_failed", turn=name, reason=str(error))
    except Exception:
        log.exception("refunds.turn_failed", turn=name)
    else:
        if count:
            log.info("refunds.turn_done", turn=name, count=count)
