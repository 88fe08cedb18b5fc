"""Refunds of money that should not be there: look again, ask once, and look until the end is known.

There are two loops, each a turn that any worker may run at any time. Postgres keeps what must hold: only the process
whose transaction moved a refund intended → asked sends it, once, after the commit. After a crash from there on a
worker looks, and never sends again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from service.db import notices, orders, payments, refunds
from service.db.pool import Connection, Pool, in_transaction
from service.db.refunds import Refund
from service.domain.ids import is_plain
from service.domain.money import to_major
from service.domain.notice import Notice, Source
from service.domain.payment import Payment
from service.domain.refund import CancelResult, Hold, Refundable, RefundState, after_look, is_refunded
from service.domain.timetable import Timetable
from service.errors import NotAsked
from service.notice_ids import new_notice_id
from service.portone.client import CANCEL_SECONDS, PAYMENTS_PER_CALL, Envelope
from service.portone.payment import read_payment
from service.usecases.refund_intents import Intents, policy_of, still_the_same
from service.usecases.verification import Verifier

log = structlog.get_logger()

# A turn is bounded: what it leaves is due in the next.
_SENT_A_TURN = 5
_CLOSED_A_TURN = 20
_ANSWER_TEXT_MAX = 300
# The time-out of a proxy before PortOne: the call may have been carried out.
_REQUEST_TIMEOUT = 408


class Cancels(Protocol):
    """The part of the client that gives money back."""

    async def cancel(self, form: Mapping[str, str], tier: str, timeout_seconds: float = ...) -> Envelope: ...


@dataclass(frozen=True, slots=True)
class Sending:
    """A refund that this process alone may send, and the payment as the fresh look showed it."""

    refund: Refund
    payment: Payment


@dataclass(frozen=True, slots=True)
class Refunder:
    """The sender of intended refunds, which also learns how they end. `accounts` holds a client for each account."""

    pool: Pool
    verifier: Verifier
    intents: Intents
    accounts: Mapping[str, Cancels]
    max_per_hour: int = 5
    times: Timetable = field(default_factory=Timetable)
    call_seconds: float = CANCEL_SECONDS

    async def refund_due(self) -> int:
        """Send the refunds that are due and still right. Return how many were sent. Raises PostgresUnavailable."""
        sent = 0
        for refund in await self._take_due(RefundState.INTENDED, _SENT_A_TURN):
            sent += await self._refund(refund)
        return sent

    async def close_asked(self) -> int:
        """Look at the refunds that were asked for. Return how many ended. Raises PostgresUnavailable."""
        ended = 0
        for refund in await self._take_due(RefundState.ASKED, _CLOSED_A_TURN):
            ended += await self._close(refund)
        return ended + await self._close_unknown()

    async def _take_due(self, state: RefundState, limit: int) -> list[Refund]:
        lease = self.times.refund_lease
        return await in_transaction(self.pool, refunds.take_due, state, limit, lease)

    async def _look(self, refund: Refund, *, at_order: bool) -> list[Notice]:
        """Have the payment, or all payments of its order, looked at through notices. Return the notices.

        A look that handles one of these notices begins after now, because it must claim the notice first.
        """
        given = await in_transaction(self.pool, self._give_notice, refund, at_order=at_order)
        await self._verify(given)
        return given

    async def _give_notice(self, db: Connection, refund: Refund, *, at_order: bool) -> list[Notice]:
        of_order = await payments.of_orders(db, [refund.merchant_uid]) if at_order else []
        imp_uids = [payment.imp_uid for payment in of_order] or [refund.imp_uid]
        given = [Notice(new_notice_id(), Source.REFUND, imp_uid, refund.merchant_uid) for imp_uid in imp_uids]
        rows = await notices.record(db, given, self.times.queued)
        return [replace(notice, id=row) for notice, row in zip(given, rows, strict=True)]

    async def _verify(self, given: Sequence[Notice]) -> None:
        for start in range(0, len(given), PAYMENTS_PER_CALL):
            await self.verifier.verify([notice.id for notice in given[start : start + PAYMENTS_PER_CALL]])

    async def _refund(self, refund: Refund) -> bool:
        """Look again, move to `asked`, commit, and only then send. Return whether it was sent."""
        given = await self._look(refund, at_order=True)
        sending = await in_transaction(self.pool, self._ask, refund, given)
        if sending is None:
            return False
        log.info("refund.asked", imp_uid=refund.imp_uid, who=refund.origin.who)
        answer, text = await self._send(sending)
        following = await in_transaction(self.pool, self._record, sending.refund, answer, text)
        log.info("refund.answered", imp_uid=refund.imp_uid, answer=answer.value)
        await self._verify(following)
        if answer is CancelResult.REFUSED:
            await self._close(replace(sending.refund, answer=answer))
        return True

    async def _ask(self, db: Connection, refund: Refund, given: Sequence[Notice]) -> Sending | None:
        """Move a refund intended → asked if it is still right; else withdraw or postpone it, and return None."""
        await orders.lock(db, [refund.merchant_uid])
        if not await self._all_looked_at(db, refund.merchant_uid, given):
            await self._postpone(db, refund, Hold.NOT_FRESH)
            return None
        ruling = await self._rule(db, refund)
        if isinstance(ruling, Hold):
            await refunds.end(db, refund, RefundState.WITHDRAWN, ruling.value)
            return None
        await refunds.lock_hourly_cap(db)
        if await refunds.asked_within(db, self.times.refund_window) >= self.max_per_hour:
            await self._postpone(db, refund, Hold.HOURLY_CAP)
            return None
        return await self._move(db, refund, ruling.payment)

    async def _rule(self, db: Connection, refund: Refund) -> Refundable | Hold:
        policy = policy_of(refund, self.intents.policy)
        ruling = await self.intents.rule_on_refund(db, refund.merchant_uid, refund.imp_uid, policy)
        resolved = not refund.origin.by_person and await refunds.resolved_since(
            db, refund.imp_uid, refund.kinds, refund.found_at
        )
        return Hold.RESOLVED if resolved else still_the_same(refund, ruling)

    async def _move(self, db: Connection, refund: Refund, payment: Payment) -> Sending | None:
        moved = await refunds.ask(
            db,
            refund,
            payment,
            wait=self.times.refund_after,
            first_look=self.times.refund_look_first,
        )
        current = await refunds.read(db, refund.imp_uid) if moved else None
        return Sending(current, payment) if current else None

    async def _all_looked_at(self, db: Connection, merchant_uid: str, given: Sequence[Notice]) -> bool:
        looked = await notices.looked(db, [notice.id for notice in given])
        fresh = {notice.imp_uid for notice in given if notice.id in looked}
        return {payment.imp_uid for payment in await payments.of_orders(db, [merchant_uid])} <= fresh

    async def _postpone(self, db: Connection, refund: Refund, why: Hold) -> None:
        await refunds.postpone(db, refund, why.value, self.times.refund_retry)
        log.warning("refund.postponed", imp_uid=refund.imp_uid, why=why.value)

    async def _send(self, sending: Sending) -> tuple[CancelResult, str]:
        """Call PortOne, with no transaction open, for the whole remaining balance, which is its own checksum."""
        payment, kinds = sending.payment, sending.refund.kinds
        amount = str(to_major(payment.held, payment.currency))
        form = {"imp_uid": payment.imp_uid, "amount": amount, "checksum": amount, "reason": ", ".join(kinds)}
        client = self.accounts[payment.store.account]
        try:
            return _read_answer(await client.cancel(form, payment.store.tier, self.call_seconds), sending)
        except NotAsked as error:
            return CancelResult.UNKNOWN, str(error)

    async def _record(self, db: Connection, refund: Refund, answer: CancelResult, text: str) -> list[Notice]:
        """Record the answer. If the money is back, end the refund, and return a notice that settles its order."""
        await refunds.answered(db, refund, answer, text)
        if answer is CancelResult.DONE and await refunds.end(
            db, refund, RefundState.REFUNDED, "PortOne's answer shows it"
        ):
            return await self._give_notice(db, refund, at_order=False)
        return []

    async def _close(self, refund: Refund) -> bool:
        """Look at a refund that was asked for, and end it if the look shows how it ended."""
        given = await self._look(refund, at_order=False)
        state, following = await in_transaction(self.pool, self._close_after, refund, given)
        await self._verify(following)
        if state:
            log.info("refund.ended", imp_uid=refund.imp_uid, state=state.value)
        return state is not None

    async def _close_after(
        self, db: Connection, refund: Refund, given: Sequence[Notice]
    ) -> tuple[RefundState | None, list[Notice]]:
        """End a refund after its look, if that shows how it ended.

        PortOne's answer counts as it was before the look, because a refusal since may concern a later moment.
        """
        current = await refunds.read(db, refund.imp_uid, lock=True)
        if current is None or (current.round, current.state) != (refund.round, RefundState.ASKED):
            return None, []
        asked = replace(current.asked, refused=refund.answer is CancelResult.REFUSED)
        looked = bool(await notices.looked(db, [notice.id for notice in given]))
        payment = await payments.one(db, refund.imp_uid)
        state = after_look(asked, payment, looked=looked, unknown_after=self.times.refund_unknown)
        if state is None:
            wait = max(self.times.refund_look_first, min(asked.age, self.times.refund_look_last))
            await refunds.postpone(db, current, None, wait)
            return None, []
        await refunds.end(db, current, state, "a look shows it" if looked else "no look showed it in time")
        # The problems of its order change with it.
        is_unknown = state is RefundState.REFUND_UNKNOWN
        return state, await self._give_notice(db, refund, at_order=False) if is_unknown else []

    async def _close_unknown(self) -> int:
        """End the refunds of unknown end that PortOne has shown since, however late."""
        shown = await in_transaction(self.pool, self._end_shown)
        await self._verify(shown)
        return len(shown)

    async def _end_shown(self, db: Connection) -> list[Notice]:
        shown: list[Notice] = []
        for refund in await refunds.shown_unknown(db, _CLOSED_A_TURN):
            if await refunds.end(db, refund, RefundState.REFUNDED, "PortOne has shown it since"):
                shown += await self._give_notice(db, refund, at_order=False)
        return shown


def _read_answer(envelope: Envelope, sending: Sending) -> tuple[CancelResult, str]:
    """Read the answer to a cancel by code, facts and new rows of cancel_history, not by HTTP 200. Raises NotAsked."""
    if envelope.code != 0 and envelope.status != _REQUEST_TIMEOUT:
        text = envelope.message[:_ANSWER_TEXT_MAX]
        return CancelResult.REFUSED, text if is_plain(text) else ""
    payment = read_payment(envelope.response, sending.payment.store, live=sending.payment.live)
    done = envelope.success and is_refunded(sending.refund.asked, payment)
    return (CancelResult.DONE if done else CancelResult.ACCEPTED), ""
