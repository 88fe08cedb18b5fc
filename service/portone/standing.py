"""An account's standing with PortOne: does it answer, and accept the key, which only an operator can correct?"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from service.domain.payment import ACCOUNT
from service.errors import PortOneRefused, PortOneUnavailable

log = structlog.get_logger()

# A refused key fails every call; its line in the log must not drown the others.
_LOG_EVERY_SECONDS = 60.0

Result = TypeVar("Result")


class Standing:
    """One account's standing with PortOne.

    `refused_at` is set from the first refusal until the next answer, `away_at` from the first call without an answer.
    """

    def __init__(self, account: str = ACCOUNT, clock: Callable[[], float] = time.monotonic) -> None:
        self.refused_at: datetime | None = None
        self.away_at: datetime | None = None
        self._account, self._clock = account, clock
        self._log_again_at = -_LOG_EVERY_SECONDS

    async def note(self, call: Awaitable[Result]) -> Result:
        """Return the call's result, or raise its error. A PortOne that is down says nothing of the key."""
        try:
            result = await call
        except PortOneRefused:
            self._refused()
            raise
        except PortOneUnavailable:
            self.away_at = self.away_at or datetime.now(UTC)
            raise
        self._accepted()
        return result

    def _refused(self) -> None:
        self.refused_at, self.away_at = self.refused_at or datetime.now(UTC), None
        if self._clock() >= self._log_again_at:
            self._log_again_at = self._clock() + _LOG_EVERY_SECONDS
            log.error(
                "portone.key_refused", account=self._account, since=self.refused_at, advice=_advice(self._account)
            )

    def _accepted(self) -> None:
        if self.refused_at:
            log.info("portone.key_accepted", account=self._account)
        self.refused_at = self.away_at = None
        self._log_again_at = -_LOG_EVERY_SECONDS


def _advice(account: str) -> str:
    where = "PORTONE_IMP_KEY and PORTONE_IMP_SECRET" if account == ACCOUNT else f"{account} in PORTONE_ACCOUNTS"
    return f"correct {where}, and restart the workers"
