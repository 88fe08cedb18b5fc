"""Judge from PortOne's truth and the stored rows whether the service kept its promises (docs/design.md §2).

The oracle shares no code with the service: it has its own SQL, V1's payment objects, and its own copy of the rule.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter
from typing import Any

import asyncpg
import orjson

_DECIMALS = {"KRW": 0, "JPY": 0, "USD": 2}
_NEVER = float("inf")


@dataclass(frozen=True)
class Charge:
    """One attempt to pay. Amounts are in the smallest unit of the currency; a store is an account and its tier."""

    imp_uid: str
    status: str
    amount: int
    refunded: int
    currency: str
    store: tuple[str, str]
    live: bool
    order_key: tuple[float, float, str]
    ever_paid: bool

    @property
    def held(self) -> int:
        if self.status == "paid" or (self.status == "cancelled" and self.refunded):
            return self.amount - self.refunded
        return 0


@dataclass(frozen=True)
class Expected:
    """The content that an order must have."""

    state: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    problems: frozenset[tuple[str, str]]


def charge_of(payment: Mapping[str, Any]) -> Charge:
    """Read V1's payment object, to which the sandbox adds `account` and `tier`."""
    unit = 10 ** _DECIMALS.get(payment["currency"], 2)
    status = "issued" if payment["status"] == "ready" and payment.get("vbank_num") else payment["status"]
    return Charge(
        payment["imp_uid"],
        status,
        int(Decimal(str(payment["amount"])) * unit),
        int(Decimal(str(payment["cancel_amount"])) * unit),
        payment["currency"],
        (payment.get("account", "default"), payment.get("tier") or ""),
        not payment["sandbox"],
        (payment["paid_at"] or _NEVER, payment["started_at"] or _NEVER, payment["imp_uid"]),
        bool(payment["paid_at"]),
    )


def expect(terms: Mapping[str, Any], payments: Iterable[Mapping[str, Any]]) -> Expected:
    """Apply the rule: return what an order with these terms must say about PortOne's payments."""
    charges = sorted((charge_of(payment) for payment in payments), key=lambda charge: charge.order_key)
    kinds = {charge.imp_uid: disagreements(terms, charge) for charge in charges}
    agreeing = [charge for charge in charges if not kinds[charge.imp_uid]]
    holding = [charge for charge in agreeing if charge.held]
    problems = {(kind, c.imp_uid) for c in charges if c.held or c.status == "issued" for kind in kinds[c.imp_uid]} | {
        ("duplicate_payment", charge.imp_uid) for charge in holding[1:]
    }
    state, deciding = _decide(agreeing, holding, [c for c in charges if kinds[c.imp_uid] and c.live and c.held])
    counts = deciding is not None and state in ("paid", "partially_cancelled", "cancelled") and _had_money(deciding)
    return Expected(
        state,
        deciding.amount if counts and deciding else 0,
        deciding.amount - deciding.held if counts and deciding else 0,
        deciding.imp_uid if deciding else None,
        frozenset(problems),
    )


def _decide(
    agreeing: Sequence[Charge], holding: Sequence[Charge], disagreeing: Sequence[Charge]
) -> tuple[str, Charge | None]:
    if holding:
        return ("partially_cancelled" if holding[0].refunded else "paid"), holding[0]
    if disagreeing:
        return "mismatched", disagreeing[0]
    for status, state in (("issued", "awaiting_deposit"), ("cancelled", "cancelled"), ("failed", "failed")):
        matching = [charge for charge in agreeing if charge.status == status]
        if matching:
            return state, matching[-1]
    return "pending", None


def _had_money(charge: Charge) -> bool:
    return charge.status == "paid" or charge.refunded > 0 or charge.ever_paid


def disagreements(terms: Mapping[str, Any], charge: Charge) -> list[str]:
    """Return what keeps the payment from paying an order with these terms."""
    checks = {
        "wrong_store": charge.store != (terms["account"], terms["tier"]),
        "test_channel": not charge.live,
        "wrong_currency": charge.currency != terms["currency"],
        "wrong_amount": charge.amount != terms["amount"],
    }
    return [kind for kind, failed in checks.items() if failed]


_CONTENT = (
    "state", "amount", "currency", "paid_amount", "cancelled_amount", "imp_uid", "problems", "closed", "test_channel",
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """The stored rows that the oracle judges."""

    orders: list[dict[str, Any]]
    events: list[dict[str, Any]]
    notices: list[dict[str, Any]]
    payments: list[dict[str, Any]]


async def read_rows(db: asyncpg.Connection, merchant_uids: Sequence[str] | None = None) -> Rows:
    """Read all rows that the promises cover, or only those of some orders, from one snapshot."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        tables = [[_plain(row) for row in await db.fetch(select, merchant_uids)] for select in _ROWS]
    return Rows(*tables)


_ROWS = [
    f"SELECT * FROM {table} WHERE $1::text[] IS NULL OR merchant_uid = ANY($1::text[])"  # noqa: S608 - names of our own
    for table in ("orders", "order_events", "notices", "payments")
]


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    """Return the row as a dict. jsonb arrives as text unless the session decodes it."""
    return {
        key: orjson.loads(value) if key in ("problems", "details") and isinstance(value, str) else value
        for key, value in row.items()
    }


def judge(rows: Rows, truth: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each broken promise. All work must have ended before."""
    by_order: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for payment in truth:
        by_order[payment["merchant_uid"]].append(payment)
    return [
        *(sentence for order in rows.orders for sentence in _wrong_order(order, by_order[order["merchant_uid"]])),
        *_wrong_versions(rows),
        *_wrong_feed(rows.events),
        *_wrong_paid(rows, by_order),
        *_without_end(rows.notices),
        *_stored_wrong(rows, by_order),
    ]


def _wrong_order(order: Mapping[str, Any], payments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Check invariant 3: the order matches PortOne's truth."""
    expected = expect(order, payments)
    problems = frozenset((problem["kind"], problem["imp_uid"]) for problem in order["problems"])
    actual = Expected(
        order["state"], order["paid_amount"], order["cancelled_amount"], order["imp_uid"], frozenset(problems)
    )
    return [] if actual == expected else [f"order {order['merchant_uid']} is {actual}, but should be {expected}"]


def _wrong_versions(rows: Rows) -> list[str]:
    """Check invariant 7: versions are 1 to n, with one event each, and the last event is the order as stored."""
    events: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in rows.events:
        events[event["merchant_uid"]].append(event)
    wrong = []
    for order in rows.orders:
        own = sorted(events.pop(order["merchant_uid"], []), key=lambda event: event["version"])
        versions = [event["version"] for event in own]
        if versions != list(range(1, order["version"] + 1)):
            wrong.append(f"order {order['merchant_uid']} has version {order['version']} and events {versions}")
        elif _content(own[-1]) != _content(order):
            wrong.append(f"order {order['merchant_uid']} is {_content(order)}, its last event {_content(own[-1])}")
        wrong += [
            f"order {order['merchant_uid']}: version {later['version']} changed nothing"
            for earlier, later in pairwise(own)
            if _content(earlier) == _content(later)
        ]
    return wrong + [f"events of {merchant_uid}, which is no order" for merchant_uid in events]


def _content(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in _CONTENT}


def _wrong_feed(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Check that a reader in the order of ids sees the versions of each order in order."""
    versions: dict[str, int] = defaultdict(int)
    wrong = []
    for event in sorted(events, key=itemgetter("id")):
        if event["version"] != versions[event["merchant_uid"]] + 1:
            wrong.append(f"the feed has version {event['version']} of {event['merchant_uid']} out of order")
        versions[event["merchant_uid"]] = event["version"]
    return wrong


def _wrong_paid(rows: Rows, by_order: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Check invariant 5: when an order said `paid`, a live payment of it held its whole price, then or before."""
    orders = {order["merchant_uid"]: order for order in rows.orders}
    wrong = []
    for event in rows.events:
        order = orders.get(event["merchant_uid"])
        if order is None or not event["paid_amount"]:
            continue
        payment = next((p for p in by_order[event["merchant_uid"]] if p["imp_uid"] == event["imp_uid"]), None)
        # The store of an order never changes.
        terms = {name: event[name] for name in ("amount", "currency")} | {
            name: order[name] for name in ("account", "tier")
        }
        # `was_paid`: the payment was paid, and PortOne has withdrawn that since.
        ever_paid = payment is not None and (charge_of(payment).ever_paid or payment.get("was_paid", False))
        if payment is None or disagreements(terms, charge_of(payment)) or not ever_paid:
            wrong.append(f"{event['merchant_uid']} said {event['state']} for {event['imp_uid']}, which never paid it")
    return wrong


_HANDLED_BY = ("looked", "served_by_stored_look")
_PARKED_FOR = ("order_not_registered", "payment_unknown", "answer_unreadable")


def _without_end(notices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Check invariants 2 and 6: every notice with a row is handled by an answer, or parked for a person."""
    return [
        f"notice {notice['id']} of {notice['imp_uid']} ({notice['source']}) has not ended: {notice['last_outcome']}"
        for notice in notices
        if not (
            (notice["handled_at"] is not None and notice["last_outcome"] in _HANDLED_BY)
            or (notice["parked_at"] is not None and notice["last_outcome"] in _PARKED_FOR)
        )
    ]


def _stored_wrong(rows: Rows, by_order: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Check that each payment of a registered order is stored as PortOne has it."""
    truth = {payment["imp_uid"]: payment for payments in by_order.values() for payment in payments}
    orders = {order["merchant_uid"] for order in rows.orders}
    wrong = []
    for row in rows.payments:
        payment = truth.get(row["imp_uid"])
        if payment is None:
            wrong.append(f"payment {row['imp_uid']} is stored, but PortOne does not have it")
        elif row["merchant_uid"] in orders:
            charge = charge_of(payment)
            stored = (row["status"], row["amount"], row["cancelled_amount"])
            if stored != (charge.status, charge.amount, charge.refunded):
                wrong.append(f"payment {row['imp_uid']} is stored as {stored}, but PortOne has {charge}")
    return wrong
