"""Accepting a payment as it is: a person says that money of another amount, or of a closed order, is the order's.

It takes the locks that registering takes, and settles what is stored: one version, with who and why in its event.
"""

from collections.abc import Set
from dataclasses import dataclass, replace

from service.db import operator_actions, orders, payments, refunds, terms
from service.db.order_views import OrderView
from service.db.orders import StoredOrder
from service.db.pool import Connection, Pool, in_snapshot, in_transaction
from service.domain.acceptance import Unacceptable, rule_on_acceptance
from service.domain.evidence import Cause, of_stored
from service.domain.order import Order, Settlement
from service.domain.payment import Payment
from service.domain.refund import RefundState
from service.domain.settle import settle
from service.errors import NotAcceptable, VersionMoved
from service.usecases.archiving import why_unknown
from service.usecases.terms import lock_and_read, read_registered


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A person's word that a payment is the order's as it is."""

    imp_uid: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class AcceptancePreview:
    """The effect that an acceptance would have: the order's terms before and after, and what they settle to."""

    before: Order
    after: Order
    settlement: Settlement


async def accept(
    pool: Pool, merchant_uid: str, versions: Set[int] | None, acceptance: Acceptance, *, allow_test_channel: bool
) -> OrderView:
    """Make the payment the order's. Doing it again changes nothing. `versions` None: any.

    A refund of it that was not sent is withdrawn. Raises OrderArchived, OrderNotRegistered, VersionMoved, NotAcceptable
    with the reason, or PostgresUnavailable.
    """

    async def work(db: Connection) -> OrderView:
        order, stored = await lock_and_read(db, merchant_uid, allow_test_channel=allow_test_channel)
        refund = await refunds.read(db, acceptance.imp_uid, lock=True)
        accepted = rule_on_acceptance(order.terms, stored, acceptance.imp_uid, refund.state if refund else None)
        if isinstance(accepted, Unacceptable):
            raise NotAcceptable(accepted.value)
        if (accepted, accepted.closed) == (order.terms, order.terms.closed):
            return await read_registered(db, merchant_uid)
        if versions is not None and order.version not in versions:
            raise VersionMoved
        if refund and refund.state is RefundState.INTENDED:
            await refunds.end(db, refund, RefundState.WITHDRAWN, acceptance.why, acceptance.who)
        await _write(db, order, accepted, stored, acceptance)
        return await read_registered(db, merchant_uid)

    return await in_transaction(pool, work)


async def accept_payment(pool: Pool, acceptance: Acceptance, *, allow_test_channel: bool) -> OrderView:
    """Do as `accept` does for the order that the payment names, whatever its version. Raises what `accept` does."""
    merchant_uid = await _order_of(pool, acceptance.imp_uid)
    return await accept(pool, merchant_uid, None, acceptance, allow_test_channel=allow_test_channel)


async def preview(pool: Pool, imp_uid: str, *, allow_test_channel: bool) -> AcceptancePreview:
    """Say what accepting this payment would do now, or raise NotAcceptable as it would."""
    return await in_snapshot(pool, _preview, await _order_of(pool, imp_uid), imp_uid, allow_test_channel)


async def _preview(db: Connection, merchant_uid: str, imp_uid: str, allow_test_channel: bool) -> AcceptancePreview:
    for order in await orders.read(db, [merchant_uid], allow_test_channel=allow_test_channel):
        stored = await payments.of_orders(db, [merchant_uid])
        refund = await refunds.read(db, imp_uid)
        accepted = rule_on_acceptance(order.terms, stored, imp_uid, refund.state if refund else None)
        if isinstance(accepted, Unacceptable):
            raise NotAcceptable(accepted.value)
        return AcceptancePreview(order.terms, accepted, settle(accepted, stored))
    raise await why_unknown(db, merchant_uid)


async def _order_of(pool: Pool, imp_uid: str) -> str:
    payment = await in_transaction(pool, payments.one, imp_uid)
    if payment is None:
        raise NotAcceptable(f"no payment is stored as {imp_uid!r}")
    return payment.merchant_uid


async def _write(
    db: Connection, before: StoredOrder, accepted: Order, stored: list[Payment], acceptance: Acceptance
) -> None:
    registered = before.registered_amount or before.terms.amount
    after = replace(
        before,
        terms=accepted,
        settlement=settle(accepted, stored),
        registered_amount=registered if registered != accepted.amount else None,
    )
    evidence = of_stored(Cause.ACCEPTANCE, stored, acceptance.who, acceptance.why)
    await terms.rewrite(db, before, after, evidence)
    await operator_actions.append(db, acceptance.who, acceptance.why, "orders.accept", [acceptance.imp_uid])
