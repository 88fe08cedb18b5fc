"""An order as it is answered: the models of the OpenAPI document, and its fields as handlers send them.

Handlers send plain dictionaries, because making a model of each would cost a read half its speed. Tests hold what is
sent to the models.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field

from service.db.order_views import OrderView
from service.db.orders import StoredOrder
from service.db.preparations import Preparation
from service.domain.order import Closed, Problem, ProblemKind, State
from service.domain.payment import Payment, Status
from service.http.field_types import Account, Amount, Currency, ImpUid, MerchantUid, Tier, open_words

Money = Annotated[int, Field(ge=0, description="In the currency's smallest unit.")]


class FindingAnswer(BaseModel):
    """A problem of an order, about one of its payments."""

    kind: str = open_words(ProblemKind, "A person must see each kind, also one that is new.")
    imp_uid: ImpUid


class PaymentAnswer(BaseModel):
    """The payment that decides an order's state."""

    imp_uid: ImpUid
    status: str = open_words(Status, "PortOne's word. Decide by the order's `state`.")
    amount: Money
    currency: str = Field(description="As PortOne names it.")
    cancelled_amount: Money
    paid_at: AwareDatetime | None
    details: dict[str, Any] = Field(
        description="For people, never to decide by. Never a buyer, card or account holder."
    )


class AnyOrder(BaseModel):
    """An order as every answer has it. Of two answers, the one with more `version` is the newer."""

    merchant_uid: MerchantUid
    state: str = open_words(
        State,
        "docs/states.md describes each. Send goods only on `paid` with `closed` null and no problem of the"
        " order's own `imp_uid`; wait on what is new to you.",
    )
    closed: str | None = open_words(
        Closed, "Whether the order takes no payment any more, and why. Money may come all the same."
    )
    version: int = Field(ge=1, description="One more with each change.")
    amount: Amount = Field(description="What is to be paid, in the currency's smallest unit.")
    registered_amount: Amount | None = Field(
        description="What the shop gave, where a person has accepted a payment of another amount; else null."
    )
    currency: Currency
    paid_amount: Money = Field(
        description="What was paid by the deciding payment; only money that agrees with the order counts."
    )
    cancelled_amount: Money = Field(description="What was given back of it.")
    imp_uid: ImpUid | None = Field(description="The payment that decides the state.")
    problems: list[FindingAnswer] = Field(description="What a person must see; empty when all is well.")
    test_channel: bool = Field(
        description="The deciding payment was made on a test channel, which ALLOW_TEST_CHANNEL lets in; no money moved."
    )
    allow_billing_key_issue: bool = Field(description="As it was registered.")
    prepared: str | None = Field(
        description="Whether PortOne was told the amount beforehand (PREPARE_AMOUNT): `pending`, `done`, or `refused: `"
        " and why; others may come. null if it is not to be.",
        examples=["pending", "done", "refused: the amount is not allowed"],
    )
    name: str | None
    account: Account
    tier: Tier | None
    metadata: dict[str, Any] | None
    expires_at: AwareDatetime
    created_at: AwareDatetime
    updated_at: AwareDatetime


class OrderAnswer(AnyOrder):
    """An order as it stands after its registration, with a token for its buyer's page."""

    checkout_token: str | None = Field(
        description="With it the buyer's page reads the order's state at `/checkout/{merchant_uid}`, for"
        " CHECKOUT_TOKEN_SECONDS. Registering the same order again gives a fresh one. null without CHECKOUT_SECRETS."
    )


class OrderWithPaymentAnswer(AnyOrder):
    """An order as it stands, with the payment that decides its state."""

    payment: PaymentAnswer | None


def whole_order(found: OrderView) -> dict[str, Any]:
    """Return the fields of an OrderWithPaymentAnswer."""
    payment = payment_fields(found.payment) if found.payment else None
    return order_fields(found.order, found.preparation) | {"payment": payment}


def order_fields(order: StoredOrder, preparation: Preparation | None) -> dict[str, Any]:
    """Return the fields of AnyOrder."""
    terms, settled = order.terms, order.settlement
    return {
        "merchant_uid": terms.merchant_uid,
        "state": settled.state.value,
        "closed": terms.closed.value if terms.closed else None,
        "version": order.version,
        "amount": terms.amount,
        "registered_amount": order.registered_amount,
        "currency": terms.currency,
        "paid_amount": settled.paid_amount,
        "cancelled_amount": settled.cancelled_amount,
        "imp_uid": settled.imp_uid,
        "problems": finding_list(settled.problems),
        "test_channel": settled.test_channel,
        "allow_billing_key_issue": terms.allow_billing_key_issue,
        "prepared": _preparation_text(preparation) if preparation else None,
        "name": order.name,
        "account": terms.store.account,
        "tier": terms.store.tier or None,
        "metadata": order.metadata,
        "expires_at": order.expires_at,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
    }


def finding_list(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Return the fields of the FindingAnswers of an order, or of one of its versions."""
    return [{"kind": problem.kind.value, "imp_uid": problem.imp_uid} for problem in problems]


def _preparation_text(preparation: Preparation) -> str:
    return f"refused: {preparation.reason}" if preparation.reason else preparation.outcome.value


def payment_fields(payment: Payment) -> dict[str, Any]:
    """Return the fields of a PaymentAnswer."""
    return {
        "imp_uid": payment.imp_uid,
        "status": payment.status.value,
        "amount": payment.amount,
        "currency": payment.currency,
        "cancelled_amount": payment.cancelled_amount,
        "paid_at": payment.paid_at,
        "details": dict(payment.details),
    }
