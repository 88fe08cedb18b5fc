"""Calls that are repeated with an Idempotency-Key: the first answer is given again, and nothing runs twice at once.

A process that is killed between a call's write and its answer leaves a claim, which ends by itself. Then the repeated
call runs again. That does no harm, because each of our writes says what it found done already: an order is registered,
withdrawn or accepted once, an amendment that stands is no new version, and a look changes nothing by itself. So the key
saves a caller from a second answer that differs (200 for 201), and no rule rests on it.
"""

from collections.abc import Sequence

import structlog

from service.db import idempotency_keys
from service.db.idempotency_keys import CallClaim, CallKey, FirstAnswer, Taken
from service.db.pool import Pool, in_statement
from service.domain.timetable import Timetable
from service.errors import KeyInUse, KeyReused
from service.usecases.coalescing import BatchBounds, Coalescer

log = structlog.get_logger()

_CALLS_AT_ONCE = 40
# Answers are weighed in KiB, because one of a batch of orders has hundreds.
_KIB_AT_ONCE = 1_000
_KIB_WAITING = 50_000

_Ended = tuple[CallClaim, FirstAnswer | None]


class Idempotency:
    """Claims calls and keeps their answers, both in batches. `pool` has a connection for either."""

    def __init__(self, pool: Pool, times: Timetable, waiting: int) -> None:
        self._pool = pool
        self._times = times
        self.claims = Coalescer[CallKey, CallClaim | FirstAnswer](
            self._claim, BatchBounds(_CALLS_AT_ONCE, waiting=waiting)
        )
        self.answers = Coalescer[_Ended, None](self._end, BatchBounds(_KIB_AT_ONCE, waiting=_KIB_WAITING), weigh=_weigh)

    async def begin(self, call: CallKey) -> CallClaim | FirstAnswer:
        """Return the claim to run a call, or its first answer.

        Raises KeyReused, KeyInUse, Overloaded or PostgresUnavailable.
        """
        return await self.claims.join(call)

    async def end(self, claim: CallClaim, answer: FirstAnswer | None) -> None:
        """Keep the call's final answer; None: it has none, and may run again. The caller is answered in any case."""
        try:
            await self.answers.join((claim, answer))
        except Exception as error:  # the call's work is done, and its claim ends by itself
            log.warning("idempotency.not_kept", kind=type(error).__name__)

    async def close(self) -> None:
        """Wait for what is being written."""
        await self.claims.close()
        await self.answers.close()

    async def _claim(self, calls: Sequence[CallKey]) -> Sequence[CallClaim | FirstAnswer | Exception]:
        """Claim each call. Of several that are the same, the first may run, and the others come while it does."""
        times = self._times
        found = await in_statement(
            self._pool,
            idempotency_keys.claim,
            list(dict.fromkeys(calls)),
            times.idempotency_lease,
            times.idempotency_kept,
        )
        results: list[CallClaim | FirstAnswer | Exception] = []
        for call in calls:
            results.append(_result(found[call]))
            if isinstance(found[call], CallClaim):
                found[call] = Taken(by_same=True)
        return results

    async def _end(self, ended: Sequence[_Ended]) -> Sequence[None]:
        """Keep answers, and give back claims. Each statement goes by the keys, sorted, as claiming does."""
        sorted_by_id = sorted(ended, key=lambda one: one[0].id)
        answered = [(claim, answer) for claim, answer in sorted_by_id if answer is not None]
        unanswered = [claim for claim, answer in sorted_by_id if answer is None]
        if answered:
            await in_statement(self._pool, idempotency_keys.end, answered)
        if unanswered:
            await in_statement(self._pool, idempotency_keys.give_back, unanswered)
        return [None] * len(ended)


def _result(found: CallClaim | FirstAnswer | Taken) -> CallClaim | FirstAnswer | Exception:
    if isinstance(found, Taken):
        return KeyInUse() if found.by_same else KeyReused()
    return found


def _weigh(ended: _Ended) -> int:
    answer = ended[1]
    return 1 + len(answer.body) // 1024 if answer else 1
