"""Giving back money that should not be there: look afresh, ask once, and look until it is known.

Two loops, each a turn that any worker may run at any time. What must hold stands in Postgres: only the
transaction that moved a refund intended → asked sends it, after its commit and once; a crash from there on is
answered by looking, never by sending again.
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
# Said by something between us and PortOne that lost patience: the call may have been carried out.
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
    """Sends what was intended and learns how it ended. `accounts` holds a client for each PortOne account."""

    pool: Pool
    verifier: Verifier
    intents: Intents
    accounts: Mapping[str, Cancels]
    max_per_hour: int = 5
    times: Timetable = field(default_factory=Timetable)
    call_seconds: float = CANCEL_SECONDS

    async def refund_due(self) -> int:
        """Send the refunds that are due and still right; returns how many were sent. Raises PostgresUnavailable."""
        sent = 0
        for refund in await self._take_due(RefundState.INTENDED, _SENT_A_TURN):
            sent += await self._refund(refund)
        return sent

    async def close_asked(self) -> int:
        """Look at the refunds that were asked for; returns how many ended. Raises PostgresUnavailable."""
        ended = 0
        for refund in await self._take_due(RefundState.ASKED, _CLOSED_A_TURN):
            ended += await self._close(refund)
        return ended + await self._close_unknown()

    async def _take_due(self, state: RefundState, limit: int) -> list[Refund]:
        lease = self.times.refund_lease
        return await in_transaction(self.pool, refunds.take_due, state, limit, lease)

    # Looking

    async def _look(self, refund: Refund, *, at_order: bool) -> list[Notice]:
        """Have the payment, or all of its order's, looked at in the way that every notice goes.

        A look that handles one of these notices began after now: it serves only what it claimed before.
        """
        said = await in_transaction(self.pool, self._give_notice, refund, at_order=at_order)
        await self._verify(said)
        return said

    async def _give_notice(self, db: Connection, refund: Refund, *, at_order: bool) -> list[Notice]:
        of_order = await payments.of_orders(db, [refund.merchant_uid]) if at_order else []
        imp_uids = [payment.imp_uid for payment in of_order] or [refund.imp_uid]
        said = [Notice(new_notice_id(), Source.RECONCILE, imp_uid, refund.merchant_uid) for imp_uid in imp_uids]
        rows = await notices.record(db, said, self.times.queued)
        return [replace(notice, id=row) for notice, row in zip(said, rows, strict=True)]

    async def _verify(self, said: Sequence[Notice]) -> None:
        for start in range(0, len(said), PAYMENTS_PER_CALL):
            await self.verifier.verify([notice.id for notice in said[start : start + PAYMENTS_PER_CALL]])

    # Sending

    async def _refund(self, refund: Refund) -> bool:
        """Look afresh, move to `asked`, commit, and only then send. Whether it was sent."""
        said = await self._look(refund, at_order=True)
        sending = await in_transaction(self.pool, self._ask, refund, said)
        if sending is None:
            return False
        log.info("refund.asked", imp_uid=refund.imp_uid, who=refund.said.who)
        answer, text = await self._send(sending)
        again = await in_transaction(self.pool, self._record, sending.refund, answer, text)
        log.info("refund.answered", imp_uid=refund.imp_uid, answer=answer.value)
        await self._verify(again)
        if answer is CancelResult.REFUSED:
            await self._close(replace(sending.refund, answer=answer))
        return True

    async def _ask(self, db: Connection, refund: Refund, said: Sequence[Notice]) -> Sending | None:
        """Move it intended → asked if all is as it was found; else withdraw it, or leave it for later."""
        await orders.lock(db, [refund.merchant_uid])
        if not await self._all_looked_at(db, refund.merchant_uid, said):
            await self._hold(db, refund, Hold.NOT_FRESH)
            return None
        ruling = await self._judge(db, refund)
        if isinstance(ruling, Hold):
            await refunds.end(db, refund, RefundState.WITHDRAWN, ruling.value)
            return None
        await refunds.lock_hourly_cap(db)
        if await refunds.asked_within(db, self.times.refund_window) >= self.max_per_hour:
            await self._hold(db, refund, Hold.HOURLY_CAP)
            return None
        return await self._move(db, refund, ruling.payment)

    async def _judge(self, db: Connection, refund: Refund) -> Refundable | Hold:
        policy = policy_of(refund, self.intents.policy)
        ruling = await self.intents.rule_on_refund(db, refund.merchant_uid, refund.imp_uid, policy)
        resolved = not refund.said.by_person and await refunds.resolved_since(
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
        asked = await refunds.read(db, refund.imp_uid) if moved else None
        return Sending(asked, payment) if asked else None

    async def _all_looked_at(self, db: Connection, merchant_uid: str, said: Sequence[Notice]) -> bool:
        looked = await notices.looked(db, [notice.id for notice in said])
        fresh = {notice.imp_uid for notice in said if notice.id in looked}
        return {payment.imp_uid for payment in await payments.of_orders(db, [merchant_uid])} <= fresh

    async def _hold(self, db: Connection, refund: Refund, why: Hold) -> None:
        await refunds.hold(db, refund, why.value, self.times.refund_retry)
        log.warning("refund.held", imp_uid=refund.imp_uid, why=why.value)

    async def _send(self, sending: Sending) -> tuple[CancelResult, str]:
        """The call itself, with no transaction open: the whole remaining balance, which is its own checksum."""
        payment, kinds = sending.payment, sending.refund.kinds
        amount = str(to_major(payment.held, payment.currency))
        form = {"imp_uid": payment.imp_uid, "amount": amount, "checksum": amount, "reason": ", ".join(kinds)}
        client = self.accounts[payment.store.account]
        try:
            return _read_answer(await client.cancel(form, payment.store.tier, self.call_seconds), sending)
        except NotAsked as error:
            return CancelResult.UNKNOWN, str(error)

    async def _record(self, db: Connection, refund: Refund, answer: CancelResult, text: str) -> list[Notice]:
        """Write the answer down; what is done ends, and its order is due to hear of it."""
        await refunds.answered(db, refund, answer, text)
        if answer is CancelResult.DONE and await refunds.end(
            db, refund, RefundState.REFUNDED, "PortOne's answer shows it"
        ):
            return await self._give_notice(db, refund, at_order=False)
        return []

    # Closing

    async def _close(self, refund: Refund) -> bool:
        """Look at a refund that was asked for, and end it if that shows how it ended."""
        said = await self._look(refund, at_order=False)
        state, again = await in_transaction(self.pool, self._close_after, refund, said)
        await self._verify(again)
        if state:
            log.info("refund.ended", imp_uid=refund.imp_uid, state=state.value)
        return state is not None

    async def _close_after(
        self, db: Connection, refund: Refund, said: Sequence[Notice]
    ) -> tuple[RefundState | None, list[Notice]]:
        """The answer counts as it stood before the look: a refusal since may be of a later moment."""
        current = await refunds.read(db, refund.imp_uid, lock=True)
        if current is None or (current.round, current.state) != (refund.round, RefundState.ASKED):
            return None, []
        asked = replace(current.asked, refused=refund.answer is CancelResult.REFUSED)
        looked = bool(await notices.looked(db, [notice.id for notice in said]))
        payment = await payments.one(db, refund.imp_uid)
        state = after_look(asked, payment, looked=looked, unknown_after=self.times.refund_unknown)
        if state is None:
            wait = max(self.times.refund_look_first, min(asked.age, self.times.refund_look_last))
            await refunds.hold(db, current, None, wait)
            return None, []
        await refunds.end(db, current, state, "a look shows it" if looked else "no look showed it in time")
        # Its order's problems change with it.
        again = await self._give_notice(db, refund, at_order=False) if state is RefundState.REFUND_UNKNOWN else []
        return state, again

    async def _close_unknown(self) -> int:
        """What was unknown is known once PortOne has shown it, however long that took."""
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
    """HTTP 200 alone says nothing: code, facts and a new row of cancel_history do. Raises NotAsked."""
    if envelope.code != 0 and envelope.status != _REQUEST_TIMEOUT:
        text = envelope.message[:_ANSWER_TEXT_MAX]
        return CancelResult.REFUSED, text if is_plain(text) else ""
    payment = read_payment(envelope.response, sending.payment.store, live=sending.payment.live)
    done = envelope.success and is_refunded(sending.refund.asked, payment)
    return (CancelResult.DONE if done else CancelResult.ACCEPTED), ""
