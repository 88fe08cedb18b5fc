"""Writes docs/states.md from the code: `python -m docs.make_states`. tests/docs/test_states.py holds the two together.

What each word means stands here; what leads to what is asked of the rule itself (`service/domain/settle.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from service.domain.completion import CompletionRefusal, Unsettled
from service.domain.notice import Outcome, Source
from service.domain.order import Closed, Order, ProblemKind, State
from service.domain.payment import Payment, Status, Store
from service.domain.refund import RefundState
from service.domain.settle import settle

Word = TypeVar("Word", bound=StrEnum)

PAGE = Path(__file__).with_name("states.md")

STATES = {
    State.PENDING: "Registered; no money is known of. A payment window may be open.",
    State.AWAITING_DEPOSIT: "A virtual account was issued. The buyer has yet to send the money. Not paid.",
    State.PAID: "The whole amount is held, in the right currency, store and channel. Only this says: send the goods.",
    State.PARTIALLY_CANCELLED: "It was paid, and a part was given back. `cancelled_amount` says how much.",
    State.CANCELLED: "All money was given back, or an issued account was closed before its deposit.",
    State.FAILED: "An attempt failed, and no other came further. It may still become `paid`.",
    State.MISMATCHED: "Money is held now that disagrees with the order. A person must look; see `problems`.",
}

CLOSED = {
    Closed.EXPIRED: "Its `expires_at` has passed.",
    Closed.WITHDRAWN: "The shop withdrew it.",
}

STATUSES = {
    Status.READY: "PortOne's `ready`, without an account: a window was opened.",
    Status.ISSUED: "PortOne's `ready`, with an account: a virtual account was issued.",
    Status.FAILED: "The attempt failed. PortOne may still turn it into `paid`.",
    Status.PAID: "The money is held.",
    Status.CANCELLED: "Given back, in full or in part: PortOne says `cancelled` for both, the amounts tell.",
}

PROBLEMS = {
    ProblemKind.WRONG_AMOUNT: "The payment's amount is not the order's.",
    ProblemKind.WRONG_CURRENCY: "The payment's currency is not the order's.",
    ProblemKind.WRONG_STORE: "The payment was made under another account or tier than the order was registered for.",
    ProblemKind.TEST_CHANNEL: "The payment was made on a test channel: no money moved.",
    ProblemKind.DUPLICATE_PAYMENT: "A second payment holds money for the same order. Give it back.",
    ProblemKind.REFUND_UNKNOWN: "Whether a refund was made is not known. Look in PortOne's console before you refund.",
    ProblemKind.REGRESSED_PAYMENT: "PortOne now says less than it said before. It is asked again; no one need act yet.",
}

REFUNDS = {
    RefundState.INTENDED: "Decided, not sent yet.",
    RefundState.ASKED: "Sent to PortOne, once. Nothing is known of it yet.",
    RefundState.REFUNDED: "PortOne's facts show it. The money is back.",
    RefundState.REFUSED: "PortOne refused it. A person must look.",
    RefundState.REFUND_UNKNOWN: "It was sent, and nobody knows whether it was done. It is never sent again by itself.",
    RefundState.WITHDRAWN: "It was never sent, and will not be.",
}

SOURCES = {
    Source.WEBHOOK: "PortOne's call.",
    Source.COMPLETION: "The buyer's page, by `POST /payment/complete`.",
    Source.REDIRECT: "The buyer's browser, by `GET /payment-redirect`.",
    Source.RECONCILE: "Our own comparison with PortOne's list.",
    Source.OPERATOR: "A person.",
}

OUTCOMES = {
    Outcome.LOOKED: "PortOne was asked, and what it said is stored. Handled.",
    Outcome.SERVED: "What was stored already answers the notice; PortOne was not asked. Handled.",
    Outcome.CLAIMS_MORE: "The notice claims more than PortOne shows. Asked again, in case PortOne's answer lags.",
    Outcome.REGRESSED: "PortOne says less than is stored. Asked again before it is believed.",
    Outcome.ORDER_NOT_REGISTERED: "The payment is stored; nobody registered its order yet. Waits, then parked.",
    Outcome.PAYMENT_UNKNOWN: "PortOne knows no such payment. Asked again, then parked.",
    Outcome.PORTONE_UNAVAILABLE: "PortOne did not answer. Asked again; changes no order.",
    Outcome.PORTONE_REFUSED: "PortOne refused our key. Asked again; changes no order.",
    Outcome.ANSWER_UNREADABLE: "PortOne's answer could not be read. Asked again, then parked; changes no order.",
}

REFUSALS = {
    CompletionRefusal.WRONG_AMOUNT: "The amount is not the order's.",
    CompletionRefusal.WRONG_CURRENCY: "The currency is not the order's.",
    CompletionRefusal.WRONG_STORE: "The account or tier is not the order's.",
    CompletionRefusal.TEST_CHANNEL: "A test channel: no money moved.",
    CompletionRefusal.OTHER_ORDER: "PortOne names another order than the caller does.",
    CompletionRefusal.PAYMENT_FAILED: "The payment failed.",
    CompletionRefusal.PAYMENT_UNKNOWN: "PortOne, asked until the wait was over, knows no such payment.",
}

UNSETTLED = {
    Unsettled.WINDOW_OPEN: "The payment window is still open.",
    Unsettled.PORTONE_NOT_ANSWERING: "PortOne did not answer, refused our key, or was not understood.",
    Unsettled.ORDER_NOT_REGISTERED: "The payment is known; its order is not registered yet.",
    Unsettled.NOT_LOOKED_YET: "PortOne was not asked yet, or Postgres is away.",
}

AMOUNT, PART = 1000, 300
STORE = Store("default")
ORDER = Order("order-1", AMOUNT, "KRW", STORE)
AT = datetime(2026, 11, 1, tzinfo=UTC)
READY = Payment("imp_1", "order-1", STORE, Status.READY, AMOUNT, "KRW", started_at=AT)
PAID = replace(READY, status=Status.PAID, paid_at=AT)

# How far a payment may have come. PortOne's `cancelled` is three things.
STAGES = {
    "`ready`": READY,
    "`issued`": replace(READY, status=Status.ISSUED),
    "`failed`": replace(READY, status=Status.FAILED),
    "`paid`": PAID,
    "`cancelled`, a part given back": replace(PAID, status=Status.CANCELLED, cancelled_amount=PART, cancellations=1),
    "`cancelled`, all given back": replace(PAID, status=Status.CANCELLED, cancelled_amount=AMOUNT, cancellations=1),
    "`cancelled`, never paid": replace(READY, status=Status.CANCELLED),
}

AGREEMENTS: dict[str, ProblemKind | None] = {
    "agrees": None,
    "wrong amount": ProblemKind.WRONG_AMOUNT,
    "wrong currency": ProblemKind.WRONG_CURRENCY,
    "wrong store": ProblemKind.WRONG_STORE,
    "test channel": ProblemKind.TEST_CHANNEL,
}

# What an order was before one more payment is seen of it: for each state the other payment that made it so.
BEFORE: dict[State, Payment | None] = {
    State.PENDING: None,
    State.AWAITING_DEPOSIT: STAGES["`issued`"],
    State.PAID: PAID,
    State.PARTIALLY_CANCELLED: STAGES["`cancelled`, a part given back"],
    State.CANCELLED: STAGES["`cancelled`, all given back"],
    State.FAILED: STAGES["`failed`"],
    State.MISMATCHED: replace(PAID, amount=2 * AMOUNT),
}


def astray(payment: Payment, kind: ProblemKind | None) -> Payment:
    """The payment, made to disagree with the order in one way."""
    match kind:
        case ProblemKind.WRONG_AMOUNT:
            back = 2 * payment.cancelled_amount if payment.cancelled_amount == AMOUNT else payment.cancelled_amount
            return replace(payment, amount=2 * AMOUNT, cancelled_amount=back)
        case ProblemKind.WRONG_CURRENCY:
            return replace(payment, currency="USD")
        case ProblemKind.WRONG_STORE:
            return replace(payment, store=Store("default", "abc"))
        case ProblemKind.TEST_CHANNEL:
            return replace(payment, live=False)
        case _:
            return payment


def cell(payments: Sequence[Payment]) -> str:
    """What the rule makes of these payments: the state, and the problems that it opens."""
    settled = settle(ORDER, payments)
    problems = dict.fromkeys(f"`{problem.kind.value}`" for problem in settled.problems)
    return f"`{settled.state.value}`" + (f" + {', '.join(problems)}" if problems else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def meanings(kind: type[Word], texts: Mapping[Word, str]) -> str:
    """A word and its meaning a line; a word without one raises."""
    return table(["word", "meaning"], [[f"`{word.value}`", texts[word]] for word in kind])


def one_payment() -> str:
    """Payment status × agreement → state and problems."""
    rows = [
        [stage, *(cell([astray(payment, kind)]) for kind in AGREEMENTS.values())] for stage, payment in STAGES.items()
    ]
    return table(["the payment", *AGREEMENTS], rows)


def two_payments() -> str:
    """Both agree with the order; the second came later."""
    rows = [[stage, *(cell([one, later(two)]) for two in STAGES.values())] for stage, one in STAGES.items()]
    return table(["first ↓ second →", *STAGES], rows)


def one_more_payment() -> str:
    """Order state before × payment status × agreement → state and problems: a table for each agreement."""
    parts = []
    for agreement, kind in AGREEMENTS.items():
        rows = [[f"`{state.value}`", *after(state, kind)] for state in State]
        parts.append(f"### It: {agreement}\n\n" + table(["the order was", *STAGES], rows))
    return "\n\n".join(parts)


def after(before: State, kind: ProblemKind | None) -> list[str]:
    """What an order of this state becomes by one more payment, for each stage of it."""
    other = BEFORE[before]
    of_order = [other] if other else []
    return [cell([*of_order, astray(later(payment), kind)]) for payment in STAGES.values()]


def later(payment: Payment) -> Payment:
    """The same, as another payment of a day later."""
    day = AT.replace(day=2)
    return replace(payment, imp_uid="imp_2", started_at=day, paid_at=day if payment.paid_at else None)


def page() -> str:
    """The whole of docs/states.md."""
    return f"""\
<!-- Made by `python -m docs.make_states` from the code. Do not edit: change the code, then make it again. -->

# States

An order's state says what PortOne, asked by us, reported of its payments. `service/domain/settle.py` decides it.
Send goods only on `paid`. Show every order that has `problems` to a person.

## Order states

{meanings(State, STATES)}

`pending` → `awaiting_deposit` → `paid` → `partially_cancelled` → `cancelled` is the usual way. `failed` may still
become `paid`. `mismatched` ends once the money is given back: then the other payments decide.

`closed` is a field beside the state: the order takes no payment any more. Money may come all the same, and then the
state says so.

{meanings(Closed, CLOSED)}

## One payment

`ready` and `issued` are both V1's `ready`; `issued` has a virtual account.

{meanings(Status, STATUSES)}

What it makes of its order, and the problems that it opens, when it is the order's only payment:

{one_payment()}

A payment that disagrees never becomes the order's. With `ALLOW_TEST_CHANNEL=true` the test channel agrees.

## Two payments that both agree

Each window that a buyer opens is a payment of its own. The first that still holds money decides. Where none does,
an account that waits comes before what was given back, and that before what failed.

{two_payments()}

## One more payment, whatever the order was

The rule asks for the payments as last seen, never for the state before. So the same payment's next word is the first
table, whatever the order was; here another payment made the order what it was, and one more is seen. A payment that
names another order's number is that order's: it is not seen here at all.

{one_more_payment()}

## Problems

A problem is open for as long as the rule finds it. Opening or closing one is a new version of the order.

{meanings(ProblemKind, PROBLEMS)}

## Refunds

Money that should not be there is held for a person. With `ON_MISMATCH` or `ON_DUPLICATE` set to `refund` it is given
back. `portone-orders problems` lists it, and lets a person decide.

{meanings(RefundState, REFUNDS)}

## Notices

A notice is a reason to look, never evidence. Its row says who gave it, in `source`:

{meanings(Source, SOURCES)}

and what its last look came to, in `last_outcome`. Every row is open (`due_at`), handled (`handled_at`) or parked
(`parked_at`), and exactly one of them.

{meanings(Outcome, OUTCOMES)}

## What a completion call is told

200 with the state that this payment makes of its order. 202, nothing final yet, with one of these as `reason`:

{meanings(Unsettled, UNSETTLED)}

400, with one of these at the end of the problem's `type`:

{meanings(CompletionRefusal, REFUSALS)}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
