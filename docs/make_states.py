"""Write docs/states.md from the code: `python -m docs.make_states`. tests/docs/test_states.py compares the two.

This module explains each word. The tables of states come from the rule itself (`service/domain/settle.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from service.domain.completion import CompletionRefusal, Unsettled
from service.domain.evidence import Cause
from service.domain.notice import Outcome, Source
from service.domain.order import Closed, Order, ProblemKind, State
from service.domain.payment import CUSTOMER_UID_USAGE, Payment, Status, Store
from service.domain.refund import RefundState
from service.domain.settle import settle

Word = TypeVar("Word", bound=StrEnum)

PAGE = Path(__file__).with_name("states.md")

STATES = {
    State.PENDING: "The order is registered, and no money is known. A payment window may be open.",
    State.AWAITING_DEPOSIT: "A virtual account was issued. The buyer has not sent the money yet.",
    State.PAID: "PortOne holds the whole amount, in the right currency, store and channel. Unless it is closed: send.",
    State.PARTIALLY_CANCELLED: "It was paid, and a part was refunded. `cancelled_amount` says how much.",
    State.CANCELLED: "All money was refunded, or an issued account was closed before its deposit.",
    State.FAILED: "A payment failed, and no other made more progress. The order may still become `paid`.",
    State.MISMATCHED: "PortOne holds money that disagrees with the order. A person must decide; see `problems`.",
}

CLOSED = {
    Closed.EXPIRED: "Its `expires_at` has passed, no account takes a deposit any more, and PortOne was asked.",
    Closed.WITHDRAWN: "The shop withdrew it, after PortOne was asked, or a person by force.",
}

STATUSES = {
    Status.READY: "PortOne says `ready`, without an account: a window was opened.",
    Status.ISSUED: "PortOne says `ready`, with an account: a virtual account was issued.",
    Status.FAILED: "The payment failed. PortOne may still change it to `paid`.",
    Status.PAID: "PortOne holds the money.",
    Status.CANCELLED: "The money was refunded, in full or in part: PortOne says `cancelled` for both.",
}

PROBLEMS = {
    ProblemKind.WRONG_AMOUNT: "The payment's amount is not the order's.",
    ProblemKind.WRONG_CURRENCY: "The payment's currency is not the order's.",
    ProblemKind.WRONG_STORE: "The payment was made under another account or tier than the order's.",
    ProblemKind.TEST_CHANNEL: "The payment was made on a test channel, so no money moved.",
    ProblemKind.DUPLICATE_PAYMENT: "A second payment holds money for the same order. Refund it.",
    ProblemKind.REFUND_UNKNOWN: "It is unknown whether a refund was made. Check PortOne's console first.",
    ProblemKind.PAID_AFTER_CLOSE: "The order was closed, and money came all the same. Give it back, or accept it.",
    ProblemKind.BILLING_KEY_ISSUE: "The window issued a billing key: perhaps no money moved. It never counts as paid.",
    ProblemKind.UNREADABLE_PAYMENT: "PortOne's answer is unreadable, and the payment may hold money. Look there.",
    ProblemKind.REGRESSED_PAYMENT: "PortOne reports less than before. It is asked again; nobody needs to act yet.",
}

REFUNDS = {
    RefundState.INTENDED: "The refund is decided and not sent yet.",
    RefundState.ASKED: "It was sent to PortOne once. Its result is not known yet.",
    RefundState.REFUNDED: "PortOne's payment shows it. The money is with the buyer.",
    RefundState.REFUSED: "PortOne refused it. A person must decide.",
    RefundState.REFUND_UNKNOWN: "It was sent, and its result is unknown. It is never sent again automatically.",
    RefundState.WITHDRAWN: "It was not sent, and will not be.",
}

SOURCES = {
    Source.WEBHOOK: "PortOne called.",
    Source.COMPLETION: "The buyer's page called `POST /payment/complete`.",
    Source.REDIRECT: "The buyer's browser called `GET /payment-redirect`.",
    Source.RECONCILE: "The service found a difference from PortOne's list.",
    Source.SEARCH: "The service asked PortOne for the order's payments, for a browser, a service or a person.",
    Source.REFUND: "The service looks before it gives money back, and until it sees that the money is back.",
    Source.OPERATOR: "A person asked for a look.",
}

OUTCOMES = {
    Outcome.LOOKED: "PortOne was asked, and its answer is stored. The notice is handled.",
    Outcome.SERVED: "The stored payment already answers the notice, so PortOne was not asked. It is handled.",
    Outcome.CLAIMS_MORE: "The notice claims more than PortOne shows. PortOne is asked again, in case its answer lags.",
    Outcome.REGRESSED: "PortOne shows less than is stored. It is asked again before that is accepted.",
    Outcome.ORDER_NOT_REGISTERED: "The payment is stored, but its order is not registered. It waits, then is parked.",
    Outcome.ORDER_ARCHIVED: "The payment is stored, but its order is in an archive. It is parked until it is restored.",
    Outcome.PAYMENT_UNKNOWN: "PortOne does not know the payment. It is asked again, then the notice is parked.",
    Outcome.PORTONE_UNAVAILABLE: "PortOne did not answer. It is asked again, and no order changes.",
    Outcome.PORTONE_REFUSED: "PortOne refused our key. It is asked again, and no order changes.",
    Outcome.STORE_NOT_CONFIGURED: "The account or tier is not configured. The notice is parked until it is.",
    Outcome.DISMISSED: "A person ended the parked notice without a look. It is handled.",
    Outcome.ANSWER_UNREADABLE: "PortOne's answer is unreadable. It is asked again, then parked; no order changes.",
}

REFUSALS = {
    CompletionRefusal.WRONG_AMOUNT: "The amount is not the order's.",
    CompletionRefusal.WRONG_CURRENCY: "The currency is not the order's.",
    CompletionRefusal.WRONG_STORE: "The account or tier is not the order's.",
    CompletionRefusal.TEST_CHANNEL: "The payment was made on a test channel, so no money moved.",
    CompletionRefusal.BILLING_KEY_ISSUE: "The payment only issued a billing key, and the order does not allow that.",
    CompletionRefusal.OTHER_ORDER: "PortOne and the caller name different orders.",
    CompletionRefusal.PAYMENT_FAILED: "The payment failed.",
    CompletionRefusal.PAYMENT_UNKNOWN: "PortOne was asked until the wait was over, and does not know the payment.",
}

UNSETTLED = {
    Unsettled.WINDOW_OPEN: "The payment window is still open.",
    Unsettled.PORTONE_NOT_ANSWERING: "PortOne did not answer, or refused our key.",
    Unsettled.ANSWER_UNREADABLE: "PortOne's answer is unreadable, and the payment may hold money: do not pay again.",
    Unsettled.ORDER_NOT_REGISTERED: "The payment is known, but its order is not registered yet.",
    Unsettled.NOT_LOOKED_YET: "PortOne was not asked yet, or Postgres is unavailable.",
}

CAUSES = {
    Cause.REGISTRATION: "The shop registered the order. Payments that were stored already count at once.",
    Cause.AMENDMENT: "The shop amended the order.",
    Cause.LOOK: "PortOne was asked. The row has the notice, when and with which ticket, and what PortOne said.",
    Cause.WITHDRAWAL: "The shop withdrew the order.",
    Cause.EXPIRY: "The order's time was over.",
    Cause.ACCEPTANCE: "A person accepted a payment as it is. The row has who and why.",
}

AMOUNT, PART = 1000, 300
STORE = Store("default")
ORDER = Order("order-1", AMOUNT, "KRW", STORE)
AT = datetime(2026, 11, 1, tzinfo=UTC)
READY = Payment("imp_1", "order-1", STORE, Status.READY, AMOUNT, "KRW", started_at=AT)
PAID = replace(READY, status=Status.PAID, paid_at=AT)

# The stages of a payment. PortOne's `cancelled` stands for three of them.
STAGES = {
    "`ready`": READY,
    "`issued`": replace(READY, status=Status.ISSUED),
    "`failed`": replace(READY, status=Status.FAILED),
    "`paid`": PAID,
    "`cancelled`, partly refunded": replace(PAID, status=Status.CANCELLED, cancelled_amount=PART, cancellations=1),
    "`cancelled`, fully refunded": replace(PAID, status=Status.CANCELLED, cancelled_amount=AMOUNT, cancellations=1),
    "`cancelled`, never paid": replace(READY, status=Status.CANCELLED),
}

AGREEMENTS: dict[str, ProblemKind | None] = {
    "agrees": None,
    "wrong amount": ProblemKind.WRONG_AMOUNT,
    "wrong currency": ProblemKind.WRONG_CURRENCY,
    "wrong store": ProblemKind.WRONG_STORE,
    "test channel": ProblemKind.TEST_CHANNEL,
    "billing key": ProblemKind.BILLING_KEY_ISSUE,
}

# For each state of an order, the payment that led to it, before one more payment is seen.
BEFORE: dict[State, Payment | None] = {
    State.PENDING: None,
    State.AWAITING_DEPOSIT: STAGES["`issued`"],
    State.PAID: PAID,
    State.PARTIALLY_CANCELLED: STAGES["`cancelled`, partly refunded"],
    State.CANCELLED: STAGES["`cancelled`, fully refunded"],
    State.FAILED: STAGES["`failed`"],
    State.MISMATCHED: replace(PAID, amount=2 * AMOUNT),
}


def disagreeing(payment: Payment, kind: ProblemKind | None) -> Payment:
    """Return the payment, changed to disagree with the order in one way."""
    match kind:
        case ProblemKind.WRONG_AMOUNT:
            refunded = 2 * payment.cancelled_amount if payment.cancelled_amount == AMOUNT else payment.cancelled_amount
            return replace(payment, amount=2 * AMOUNT, cancelled_amount=refunded)
        case ProblemKind.WRONG_CURRENCY:
            return replace(payment, currency="USD")
        case ProblemKind.WRONG_STORE:
            return replace(payment, store=Store("default", "abc"))
        case ProblemKind.TEST_CHANNEL:
            return replace(payment, live=False)
        case ProblemKind.BILLING_KEY_ISSUE:
            return replace(payment, details=((CUSTOMER_UID_USAGE, "issue"),))
        case _:
            return payment


def cell(payments: Sequence[Payment], order: Order = ORDER) -> str:
    """Return the state and the problems that the rule derives from these payments."""
    settled = settle(order, payments)
    problems = dict.fromkeys(f"`{problem.kind.value}`" for problem in settled.problems)
    return f"`{settled.state.value}`" + (f" + {', '.join(problems)}" if problems else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def meanings(kind: type[Word], texts: Mapping[Word, str]) -> str:
    """Return a table of words and meanings. A word without a meaning raises."""
    return table(["word", "meaning"], [[f"`{word.value}`", texts[word]] for word in kind])


def one_payment() -> str:
    """Return the table payment status × agreement → state and problems."""
    rows = [
        [stage, *(cell([disagreeing(payment, kind)]) for kind in AGREEMENTS.values())]
        for stage, payment in STAGES.items()
    ]
    return table(["the payment", *AGREEMENTS], rows)


def closed_order() -> str:
    """Return the table payment status → state and problems of an order that is closed."""
    closed = replace(ORDER, closed=Closed.EXPIRED)
    return table(["the payment", "agrees"], [[stage, cell([payment], closed)] for stage, payment in STAGES.items()])


def two_payments() -> str:
    """Return the table for two payments that both agree with the order, the second of them later."""
    rows = [[stage, *(cell([one, later(two)]) for two in STAGES.values())] for stage, one in STAGES.items()]
    return table(["first ↓ second →", *STAGES], rows)


def one_more_payment() -> str:
    """Return a table state before × payment status → state and problems for each agreement."""
    parts = []
    for agreement, kind in AGREEMENTS.items():
        rows = [[f"`{state.value}`", *after(state, kind)] for state in State]
        parts.append(f"### The new payment: {agreement}\n\n" + table(["order before", *STAGES], rows))
    return "\n\n".join(parts)


def after(before: State, kind: ProblemKind | None) -> list[str]:
    """Return the content of an order in this state after one more payment, for each stage of that payment."""
    other = BEFORE[before]
    of_order = [other] if other else []
    return [cell([*of_order, disagreeing(later(payment), kind)]) for payment in STAGES.values()]


def later(payment: Payment) -> Payment:
    """Return the payment as another one, a day later."""
    day = AT.replace(day=2)
    return replace(payment, imp_uid="imp_2", started_at=day, paid_at=day if payment.paid_at else None)


def page() -> str:
    """Return the content of docs/states.md."""
    return f"""\
<!-- Made by `python -m docs.make_states` from the code. Do not edit: change the code, then make it again. -->

# States

An order's state follows from what PortOne reported of its payments when this service asked. `service/domain/settle.py`
decides it. Send goods only on `paid` with `closed` null and no problem of the order's own `imp_uid`. Show every order
that has `problems` to a person.

## Order states

{meanings(State, STATES)}

The usual order is `pending` → `awaiting_deposit` → `paid` → `partially_cancelled` → `cancelled`. `failed` may still
become `paid`. `mismatched` ends once the money is refunded; then the other payments decide.

`closed` is a field beside the state: the order takes no more payments. If money comes nevertheless, the state shows it.

{meanings(Closed, CLOSED)}

## One payment

`ready` and `issued` are both V1's `ready`; `issued` has a virtual account.

{meanings(Status, STATUSES)}

This is the state of an order with one payment, and the problems that the payment opens:

{one_payment()}

A payment that disagrees never decides an order. With `ALLOW_TEST_CHANNEL=true` the test channel agrees, and in an order
that was registered with `allow_billing_key_issue` the issue of a billing key does.

This is the state of an order that is `closed`. Money that came all the same is a problem for as long as it is held:

{closed_order()}

## Two payments that both agree

Each window that a buyer opens is a payment. The first payment that still holds money decides. If none does, an account
that waits for its deposit comes before a refunded payment, and that before a failed one.

{two_payments()}

## One more payment, for each state before

The rule reads the payments as last seen, never the state before. So a change of the only payment is in the first table,
whatever the state was. In these tables another payment led to the state before, and one more payment is seen. A payment
that names another order's number belongs to that order and is not counted here.

{one_more_payment()}

## Problems

A problem is open as long as the rule finds it. Opening or closing one makes a new version of the order.

{meanings(ProblemKind, PROBLEMS)}

## Refunds

Money that should not be there is kept until a person decides. With `ON_MISMATCH`, `ON_DUPLICATE` or
`ON_PAID_AFTER_CLOSE` set to `refund` it is refunded automatically. `portone-orders problems` lists it, and lets a
person decide.

{meanings(RefundState, REFUNDS)}

## Notices

A notice is a reason to look, never evidence. The `source` in its row says where it came from:

{meanings(Source, SOURCES)}

`last_outcome` is the result of its last look. Every row is exactly one of open (`due_at`), handled (`handled_at`) and
parked (`parked_at`).

{meanings(Outcome, OUTCOMES)}

## Events

Each version of an order has a row in `order_events`, whose `cause` says what led to it:

{meanings(Cause, CAUSES)}

## The answers to a completion call

200 answers the state of the payment's order. 202 means that nothing is final yet, with one of these as `reason`:

{meanings(Unsettled, UNSETTLED)}

400 is final, with one of these at the end of the problem's `type`:

{meanings(CompletionRefusal, REFUSALS)}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
