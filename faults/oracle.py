"""Says from PortOne's truth and the stored rows whether the service kept its word (DESIGN.md §2).

It shares no code with the service: plain SQL, V1's own payment objects, and a re-statement of the rule that decides.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import asyncpg
import orjson

_DECIMALS = {"KRW": 0, "JPY": 0, "USD": 2}
_NEVER = float("inf")


@dataclass(frozen=True)
class Paid:
    """One attempt, in the smallest unit of its currency."""

    imp_uid: str
    status: str
    amount: int
    given_back: int
    currency: str
    tier: str
    live: bool
    turn: tuple[float, float, str]
    came: bool

    @property
    def held(self) -> int:
        if self.status == "paid" or (self.status == "cancelled" and self.given_back):
            return self.amount - self.given_back
        return 0


@dataclass(frozen=True)
class Expected:
    """What an order must say."""

    state: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    problems: frozenset[tuple[str, str]]


def attempt_of(told: Mapping[str, Any]) -> Paid:
    """Read V1's object; `tier` stands beside its fields, `test` too or else `sandbox`."""
    unit = 10 ** _DECIMALS.get(told["currency"], 2)
    status = "issued" if told["status"] == "ready" and told.get("vbank_num") else told["status"]
    return Paid(
        told["imp_uid"],
        status,
        int(Decimal(str(told["amount"])) * unit),
        int(Decimal(str(told["cancel_amount"])) * unit),
        told["currency"],
        told.get("tier") or "",
        not told["sandbox"],
        (told["paid_at"] or _NEVER, told["started_at"] or _NEVER, told["imp_uid"]),
        bool(told["paid_at"]),
    )


def expect(terms: Mapping[str, Any], told: Iterable[Mapping[str, Any]]) -> Expected:
    """The rule: what these payments, as PortOne has them, mean for an order of these terms."""
    attempts = sorted((attempt_of(one) for one in told), key=lambda one: one.turn)
    against = {one.imp_uid: _against(terms, one) for one in attempts}
    agreeing = [one for one in attempts if not against[one.imp_uid]]
    holding = [one for one in agreeing if one.held]
    problems = {
        (kind, one.imp_uid) for one in attempts if one.held or one.status == "issued" for kind in against[one.imp_uid]
    } | {("duplicate_payment", one.imp_uid) for one in holding[1:]}
    state, one = _decide(agreeing, holding, [p for p in attempts if against[p.imp_uid] and p.live and p.held])
    counts = one is not None and state in ("paid", "partially_cancelled", "cancelled") and _had_money(one)
    return Expected(
        state,
        one.amount if counts and one else 0,
        one.amount - one.held if counts and one else 0,
        one.imp_uid if one else None,
        frozenset(problems),
    )


def _decide(agreeing: Sequence[Paid], holding: Sequence[Paid], astray: Sequence[Paid]) -> tuple[str, Paid | None]:
    if holding:
        return ("partially_cancelled" if holding[0].given_back else "paid"), holding[0]
    if astray:
        return "mismatched", astray[0]
    for status, state in (("issued", "awaiting_deposit"), ("cancelled", "cancelled"), ("failed", "failed")):
        found = [one for one in agreeing if one.status == status]
        if found:
            return state, found[-1]
    return "pending", None


def _had_money(one: Paid) -> bool:
    return one.status == "paid" or one.given_back > 0 or one.came


def _against(terms: Mapping[str, Any], one: Paid) -> list[str]:
    wrong = {
        "wrong_store": one.tier != terms["tier"],
        "test_channel": not one.live,
        "wrong_currency": one.currency != terms["currency"],
        "wrong_amount": one.amount != terms["amount"],
    }
    return [kind for kind, is_so in wrong.items() if is_so]


_CONTENT = (
    "state", "amount", "currency", "paid_amount", "cancelled_amount", "imp_uid", "problems", "closed", "test_channel",
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """What is stored."""

    orders: list[dict[str, Any]]
    events: list[dict[str, Any]]
    notices: list[dict[str, Any]]
    payments: list[dict[str, Any]]


async def read_rows(db: asyncpg.Connection, merchant_uids: Sequence[str] | None = None) -> Rows:
    """All rows that the promises are about, or only those of these orders, from one snapshot."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        found = [[_plain(row) for row in await db.fetch(select, merchant_uids)] for select in _ROWS]
    return Rows(*found)


_ROWS = [
    f"SELECT * FROM {table} WHERE $1::text[] IS NULL OR merchant_uid = ANY($1::text[])"  # noqa: S608 - names of our own
    for table in ("orders", "order_events", "notices", "payments")
]


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    """jsonb comes as text unless the session says otherwise."""
    return {
        key: orjson.loads(value) if key in ("problems", "details") and isinstance(value, str) else value
        for key, value in row.items()
    }


def judge(rows: Rows, truth: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every broken promise that the rows show, one sentence each; all must have come to rest."""
    told: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in truth:
        told[one["merchant_uid"]].append(one)
    return [
        *(sentence for order in rows.orders for sentence in _wrong_order(order, told[order["merchant_uid"]])),
        *_wrong_versions(rows),
        *_wrong_feed(rows.events),
        *_wrong_paid(rows, told),
        *_endless(rows.notices),
        *_stored_wrong(rows, told),
    ]


def _wrong_order(order: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Invariant 3: the order is what PortOne's truth makes of it."""
    expected = expect(order, told)
    problems = frozenset((problem["kind"], problem["imp_uid"]) for problem in order["problems"])
    found = Expected(
        order["state"], order["paid_amount"], order["cancelled_amount"], order["imp_uid"], frozenset(problems)
    )
    return [] if found == expected else [f"order {order['merchant_uid']} is {found}, in truth {expected}"]


def _wrong_versions(rows: Rows) -> list[str]:
    """Invariant 7: versions 1..n, one event each, and the last is what the order is now."""
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
    """A reader in (xid, id) order sees each order's versions in their order."""
    seen: dict[str, int] = defaultdict(int)
    wrong = []
    for event in sorted(events, key=lambda event: (event["xid"], event["id"])):
        if event["version"] != seen[event["merchant_uid"]] + 1:
            wrong.append(f"the feed has version {event['version']} of {event['merchant_uid']} out of turn")
        seen[event["merchant_uid"]] = event["version"]
    return wrong


def _wrong_paid(rows: Rows, told: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Invariant 5: whenever an order said `paid`, a live payment of its own held its whole price, or had."""
    orders = {order["merchant_uid"]: order for order in rows.orders}
    wrong = []
    for event in rows.events:
        order = orders.get(event["merchant_uid"])
        if order is None or not event["paid_amount"]:
            continue
        payment = next((one for one in told[event["merchant_uid"]] if one["imp_uid"] == event["imp_uid"]), None)
        terms = {"tier": order["tier"], "amount": event["amount"], "currency": event["currency"]}
        # `was_paid`: it was, and PortOne took it back since.
        came = payment is not None and (attempt_of(payment).came or payment.get("was_paid", False))
        if payment is None or _against(terms, attempt_of(payment)) or not came:
            wrong.append(f"{event['merchant_uid']} said {event['state']} for {event['imp_uid']}, which never paid it")
    return wrong


_HANDLED_BY = ("looked", "served_by_stored_look")
_PARKED_FOR = ("order_not_registered", "payment_unknown", "answer_unreadable")


def _endless(notices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Invariants 2 and 6: every notice with a row is handled by an answer, or parked for what a person may mend."""
    return [
        f"notice {notice['id']} of {notice['imp_uid']} ({notice['source']}) has not ended: {notice['last_outcome']}"
        for notice in notices
        if not (
            (notice["handled_at"] is not None and notice["last_outcome"] in _HANDLED_BY)
            or (notice["parked_at"] is not None and notice["last_outcome"] in _PARKED_FOR)
        )
    ]


def _stored_wrong(rows: Rows, told: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Each stored payment of a registered order is stored as PortOne has it."""
    truth = {one["imp_uid"]: one for attempts in told.values() for one in attempts}
    orders = {order["merchant_uid"] for order in rows.orders}
    wrong = []
    for payment in rows.payments:
        one = truth.get(payment["imp_uid"])
        if one is None:
            wrong.append(f"payment {payment['imp_uid']} is stored and PortOne has none of that name")
        elif payment["merchant_uid"] in orders:
            now = attempt_of(one)
            stored = (payment["status"], payment["amount"], payment["cancelled_amount"])
            if stored != (now.status, now.amount, now.given_back):
                wrong.append(f"payment {payment['imp_uid']} is stored as {stored}, in truth {now}")
    return wrong
