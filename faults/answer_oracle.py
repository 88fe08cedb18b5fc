"""Judge what receivers answered to browsers and to PortOne, by PortOne's truth at that moment (docs/design.md §2.5).

A verified state must have been true by then. A refusal must have been true at some time since the question was sent,
because PortOne is asked after it. No answer names an order or a payment that the question did not.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from faults.answers import Answer, Kind
from faults.oracle import charge_of, disagreements, expect

# A receiver looks once a second for a promoted Postgres, and the storm freezes one for up to 2.5 s.
_EARLIER_SECONDS = 4.0
_VERIFIED = ("paid", "partially_cancelled", "cancelled", "awaiting_deposit")
_MONEY_SAID = ("paid", "partially_cancelled")
# Refusals that say what disagrees, and the oracle's name for it.
_DISAGREEMENTS = {
    "wrong-amount": "wrong_amount",
    "wrong-currency": "wrong_currency",
    "wrong-store": "wrong_store",
    "test-channel": "test_channel",
}
_FINAL = (*_DISAGREEMENTS, "other-order", "payment-failed", "payment-unknown", "billing-key-issue")
_NOT_REGISTERED = ("order-not-registered", "unusable-notice")
_STATUSES = {
    Kind.PAYMENT: (200, 202, 400, 429, 503),
    Kind.ORDER: (200, 202, 400, 429, 503),
    Kind.RETURN: (303,),
    Kind.CONFIRMATION: (200, 400, 409, 424, 429),
}
_NAMES = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Registered:
    """An order's terms, and the Unix times when the shop began to register it and knew that it was. None: never."""

    terms: Mapping[str, Any]
    began_at: float
    done_at: float | None = None

    def was_done(self, moment: float) -> bool:
        """Return whether the shop knew by then that the order was registered."""
        return self.done_at is not None and self.done_at < moment


class Past:
    """A payment at each moment, from the history that the sandbox keeps. `lag`: how late PortOne's reads may be."""

    def __init__(self, payment: Mapping[str, Any], lag: float) -> None:
        self.payment, self._lag = payment, lag

    def until(self, moment: float) -> list[Mapping[str, Any]]:
        """Return the payment as it was after each change so far."""
        return [payment for at, payment in self._versions if at <= moment]

    def between(self, since: float, until: float) -> list[Mapping[str, Any] | None]:
        """Return all that PortOne could say of it from a moment to another: None while there was no such payment."""
        before = self.until(since - self._lag)
        after = [payment for at, payment in self._versions if since - self._lag < at <= until]
        return [before[-1] if before else None, *after]

    @cached_property
    def _versions(self) -> list[tuple[float, Mapping[str, Any]]]:
        versions, fields = [], dict(self.payment)
        for change in self.payment["history"]:
            fields = fields | change["fields"]
            versions.append((change["at"], fields))
        return versions


class AnswerOracle:
    """Knows the orders that the shop registered, and PortOne's truth with its history.

    `began_at`: the Unix time from which its sentences count, as the storm's notes do. `promoted_at`: when another
    Postgres became the primary.
    """

    def __init__(
        self,
        orders: Mapping[str, Registered],
        truth: Iterable[Mapping[str, Any]],
        lag: float = 0.0,
        began_at: float = 0.0,
        promoted_at: Sequence[float] = (),
    ) -> None:
        self._orders, self._began_at, self._promoted_at = orders, began_at, promoted_at
        self._pasts = {payment["imp_uid"]: Past(payment, lag) for payment in truth}
        self._names = {*orders, *self._pasts, *(past.payment["merchant_uid"] for past in self._pasts.values())}

    def judge(self, answers: Sequence[Answer]) -> list[str]:
        """Return a sentence for each answer that was wrong."""
        told_of_money = self._told_of_money(answers)
        return [
            f"{answer.kind} {answer.imp_uid or '-'} of {answer.merchant_uid}, sent at"
            f" {answer.sent_at - self._began_at:.2f}, was answered {answer.status} after"
            f" {answer.received_at - answer.sent_at:.2f} s, {answer.text.strip()[:200]}: {wrong}"
            for answer in answers
            for wrong in self._wrong(answer, told_of_money)
        ]

    def _wrong(self, answer: Answer, told_of_money: Mapping[str, float]) -> Iterator[str]:
        if answer.status not in _STATUSES[answer.kind]:
            yield "no such answer is promised"
            return
        if leaked := (set(_NAMES.findall(answer.text)) & self._names) - {answer.imp_uid, answer.merchant_uid}:
            yield f"it names {sorted(leaked)}"
        if answer.kind is Kind.CONFIRMATION:
            if not self._may_be_of_an_earlier_primary(answer):
                yield from self._wrong_confirmation(answer, told_of_money)
        elif (state := verified_state(answer)) is not None:
            yield from self._wrong_state(answer, state)
        elif (refusal := _refusal(answer)) is not None:
            yield from self._wrong_refusal(answer, refusal)

    def _may_be_of_an_earlier_primary(self, answer: Answer) -> bool:
        """Return whether a receiver may have read rows of before a promotion, as docs/failover.md says."""
        return any(at - 1 <= answer.received_at <= at + _EARLIER_SECONDS for at in self._promoted_at)

    def _wrong_state(self, answer: Answer, state: str) -> Iterator[str]:
        order = self._orders.get(answer.merchant_uid)
        if order is None or order.began_at > answer.received_at:
            yield "the order was not registered"
            return
        known = {
            expect(order.terms, [payment]).state
            for past in self._agreeing(answer)
            for payment in past.until(answer.received_at)
        }
        if state not in known:
            yield f"by PortOne's truth it could be one of {sorted(known)}"

    def _wrong_refusal(self, answer: Answer, refusal: str) -> Iterator[str]:
        past = self._pasts.get(answer.imp_uid)
        if refusal in _NOT_REGISTERED:
            order = self._orders.get(answer.merchant_uid)
            if order and order.was_done(answer.sent_at):
                yield "the order was registered before"
        elif refusal not in _FINAL:
            return
        elif any(self._held_throughout(one, answer) for one in self._agreeing(answer)):
            yield "a payment that agrees held the money all the time"
        elif answer.kind is not Kind.ORDER and past is not None:
            yield from self._untrue(answer, refusal, past)

    def _untrue(self, answer: Answer, refusal: str, past: Past) -> Iterator[str]:
        """Check what a refusal says of the payment that was asked about."""
        order, said = self._orders.get(answer.merchant_uid), self._said_of(past, answer)
        kinds = disagreements(order.terms, charge_of(past.payment)) if order else []
        match refusal:
            case "other-order" if past.payment["merchant_uid"] == answer.merchant_uid:
                yield "the payment is this order's"
            # Nobody looks for it in another store than the order's.
            case "payment-unknown" if order and "wrong_store" not in kinds and None not in said:
                yield "PortOne knew the payment all the time"
            case "payment-failed" if not any(payment and payment["status"] == "failed" for payment in said):
                yield "the payment had not failed"
            case _ if order and refusal in _DISAGREEMENTS and _DISAGREEMENTS[refusal] not in kinds:
                yield "the payment does not disagree so"
            case _:
                pass

    def _wrong_confirmation(self, answer: Answer, told_of_money: Mapping[str, float]) -> Iterator[str]:
        order = self._orders.get(answer.merchant_uid)
        if answer.status == 200:
            if order is None or order.began_at > answer.received_at:
                yield "the order was not registered"
            elif answer.amount != order.terms["amount"]:
                yield f"the order is of {order.terms['amount']}"
            elif told_of_money.get(answer.merchant_uid, answer.sent_at) < answer.sent_at:
                yield "a caller had been told before that it is paid"
        elif answer.status == 409 and order and order.was_done(answer.sent_at):
            held = any(
                charge_of(payment).held for past in self._of_order(answer) for payment in past.until(answer.received_at)
            )
            if answer.amount == order.terms["amount"] and not held:
                yield "the order was registered with this amount, and nothing was paid"

    def _told_of_money(self, answers: Sequence[Answer]) -> dict[str, float]:
        """Return when it was first answered of an order that it holds money, which it has held ever since."""
        told: dict[str, float] = {}
        for answer in sorted(answers, key=lambda one: one.received_at):
            if verified_state(answer) in _MONEY_SAID and any(
                charge_of(past.payment).held for past in self._agreeing(answer)
            ):
                told.setdefault(answer.merchant_uid, answer.received_at)
        return told

    def _held_throughout(self, past: Past, answer: Answer) -> bool:
        return all(payment and charge_of(payment).held for payment in self._said_of(past, answer))

    def _said_of(self, past: Past, answer: Answer) -> list[Mapping[str, Any] | None]:
        return past.between(answer.sent_at, answer.received_at)

    def _agreeing(self, answer: Answer) -> list[Past]:
        """Return the payment that was asked about, or all of the order, as far as they agree with the order's terms."""
        order = self._orders.get(answer.merchant_uid)
        return [
            past
            for past in self._of_order(answer)
            if order
            and answer.imp_uid in ("", past.payment["imp_uid"])
            and not disagreements(order.terms, charge_of(past.payment))
        ]

    def _of_order(self, answer: Answer) -> list[Past]:
        return [past for past in self._pasts.values() if past.payment["merchant_uid"] == answer.merchant_uid]


def verified_state(answer: Answer) -> str | None:
    """Return the state that a completion or a return was told as verified, if it was."""
    if answer.kind is Kind.RETURN:
        state = parse_qs(urlsplit(answer.text).query).get("state", [""])[0]
        return state if state in _VERIFIED else None
    if answer.kind is Kind.CONFIRMATION or answer.status != 200:
        return None
    return str(orjson.loads(answer.text)["state"])


def _refusal(answer: Answer) -> str | None:
    """Return what kind of problem was answered, or why nothing final was."""
    if answer.kind is Kind.RETURN:
        return parse_qs(urlsplit(answer.text).query).get("reason", [None])[0]
    if answer.status not in (202, 400):
        return None
    content = orjson.loads(answer.text)
    return str(content["reason"] if answer.status == 202 else content["type"].rpartition(":")[2])
