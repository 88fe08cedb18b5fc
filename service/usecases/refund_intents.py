"""Intents of refunds: by the policy (ON_MISMATCH, ON_DUPLICATE, ON_PAID_AFTER_CLOSE), or because a person wants one.

An intent does not call PortOne: it begins the wait `refund_after`, after which `usecases.refunds` looks again.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from service.db import operator_actions, orders, payments, refunds
from service.db.pool import Connection, Pool, in_transaction
from service.db.refunds import MACHINE, Origin, Refund
from service.domain.order import ProblemKind
from service.domain.payment import ACCOUNT
from service.domain.refund import BY_PERSON, Hold, Policy, Refundable, may_begin, rule_on_refund
from service.domain.timetable import Timetable
from service.errors import NotRefundable

log = structlog.get_logger()

_CANDIDATES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class RefundPreview:
    """The effect that a person's refund would have: of what, since when its problem is known, and the earliest time.

    `refund` is the payment's refund as it stands, if there is one.
    """

    ruling: Refundable
    found_at: datetime
    due_at: datetime
    refund: Refund | None


@dataclass(frozen=True, slots=True)
class Intents:
    """The recorder of intents. `accounts` names the PortOne accounts that are configured."""

    pool: Pool
    policy: Policy = field(default_factory=Policy)
    accounts: Set[str] = frozenset({ACCOUNT})
    allow_test_channel: bool = False
    times: Timetable = field(default_factory=Timetable)

    async def intend_due(self) -> int:
        """Record an intent for each problem that the policy refunds. Return how many. Raises PostgresUnavailable."""
        kinds, after, count = sorted(self.policy.kinds), ("", ""), 0
        while kinds and (candidates := await self._candidates(kinds, after)):
            for merchant_uid, imp_uid in candidates:
                count += await self._intend(merchant_uid, imp_uid)
            after = candidates[-1]
        return count

    async def intend_by_person(self, imp_uid: str, who: str, why: str) -> Refund:
        """Record that a person wants a refund, whatever the policy. Raises NotRefundable with the reason."""
        origin = Origin(who, why, by_person=True)
        return await in_transaction(self.pool, self._intend_by_person, imp_uid, origin)

    async def rule_on_refund(
        self, db: Connection, merchant_uid: str, imp_uid: str, policy: Policy
    ) -> Refundable | Hold:
        """Rule on a refund by the stored facts. The caller holds the order's lock."""
        for order in await orders.read(db, [merchant_uid], allow_test_channel=self.allow_test_channel):
            ruling = rule_on_refund(order.terms, await payments.of_orders(db, [merchant_uid]), imp_uid, policy)
            if isinstance(ruling, Refundable) and ruling.payment.store.account not in self.accounts:
                return Hold.OTHER_ACCOUNT
            return ruling
        return Hold.NO_FINDING

    async def _candidates(self, kinds: Sequence[ProblemKind], after: tuple[str, str]) -> list[tuple[str, str]]:
        return await in_transaction(self.pool, refunds.candidates, kinds, after, _CANDIDATES_AT_ONCE)

    async def _intend(self, merchant_uid: str, imp_uid: str) -> bool:
        recorded = await in_transaction(self.pool, self._intend_by_policy, merchant_uid, imp_uid)
        if recorded:
            log.info("refund.intended", imp_uid=imp_uid, merchant_uid=merchant_uid)
        return recorded

    async def _intend_by_policy(self, db: Connection, merchant_uid: str, imp_uid: str) -> bool:
        await orders.lock(db, [merchant_uid])
        ruling = await self.rule_on_refund(db, merchant_uid, imp_uid, self.policy)
        if isinstance(ruling, Hold):
            return False
        since = await refunds.found_at(db, merchant_uid, imp_uid, ruling.kinds)
        if await refunds.resolved_since(db, imp_uid, ruling.kinds, since):
            return False
        origin, wait = Origin(MACHINE, ", ".join(ruling.kinds)), self.times.refund_after
        return await refunds.intend(db, imp_uid, merchant_uid, ruling.kinds, since, origin, wait)

    async def preview(self, imp_uid: str) -> RefundPreview:
        """Say what a person's refund would do now, with nothing written. Raises NotRefundable as it would."""
        return await in_transaction(self.pool, self._preview, imp_uid)

    async def _preview(self, db: Connection, imp_uid: str) -> RefundPreview:
        """Rule on a person's refund, and keep the order's lock for the transaction."""
        payment = await payments.one(db, imp_uid)
        if payment is None:
            raise NotRefundable("no payment with this imp_uid is stored")
        await orders.lock(db, [payment.merchant_uid])
        ruling = await self.rule_on_refund(db, payment.merchant_uid, imp_uid, BY_PERSON)
        if isinstance(ruling, Hold):
            raise NotRefundable(ruling.value)
        refund = await refunds.read(db, imp_uid)
        if refund is not None and not may_begin(refund.state):
            raise NotRefundable(f"its refund is {refund.state}, and is not asked for twice")
        since = await refunds.found_at(db, payment.merchant_uid, imp_uid, ruling.kinds)
        return RefundPreview(ruling, since, since + self.times.refund_after, refund)

    async def _intend_by_person(self, db: Connection, imp_uid: str, origin: Origin) -> Refund:
        preview = await self._preview(db, imp_uid)
        kinds, merchant_uid = preview.ruling.kinds, preview.ruling.payment.merchant_uid
        wait = self.times.refund_after
        recorded = await refunds.intend(db, imp_uid, merchant_uid, kinds, preview.found_at, origin, wait)
        refund = await refunds.read(db, imp_uid)
        if refund is None or not recorded:
            raise NotRefundable(f"its refund is {refund.state if refund else 'gone'}, and is not asked for twice")
        await operator_actions.append(db, origin.who, origin.why, "problems.refund", [imp_uid])
        return refund


def policy_of(refund: Refund, policy: Policy) -> Policy:
    """Return the policy for this refund: a person may go beyond the operator's policy, but never beyond the rules."""
    return BY_PERSON if refund.origin.by_person else policy


def still_the_same(refund: Refund, ruling: Refundable | Hold) -> Refundable | Hold:
    """Return the ruling, or a Hold if its problems are not those of the intent."""
    if isinstance(ruling, Refundable) and ruling.kinds != refund.kinds:
        return Hold.OTHER_FINDING
    return ruling
