"""Orders, payments and events as the service answers them. Fields that are new to this client are left out.

Amounts are integers in the currency's smallest unit. `state`, `closed`, `kind` and `type` are texts, because their
lists may grow: act on those that you know, and wait on the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A record made from an answer's fields."""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """Make one from an answer."""
        plain = {field.name: answer[field.name] for field in fields(cls) if field.name in answer}
        return cls(**plain | cls._converted(answer))

    @classmethod
    def _converted(cls, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that are no plain JSON here."""
        return {}


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(_Model):
    """A problem of an order that a person must see, about one of its payments."""

    kind: str
    imp_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment(_Model):
    """The payment that decides an order's state. `details` are for people, never to decide by."""

    imp_uid: str
    status: str
    amount: int
    currency: str
    cancelled_amount: int
    paid_at: datetime | None
    details: Mapping[str, Any]

    @classmethod
    def _converted(cls, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {"paid_at": _time(answer["paid_at"])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(_Model):
    """An order as it stands. Of two answers, the one with more `version` is the newer.

    `payment` is None where there is none, and in the answer of a registration, which does not have it.
    """

    merchant_uid: str
    state: str
    closed: str | None
    version: int
    amount: int
    registered_amount: int | None
    currency: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    problems: tuple[Finding, ...]
    test_channel: bool
    allow_billing_key_issue: bool
    prepared: str | None
    name: str | None
    account: str
    tier: str | None
    metadata: Mapping[str, Any] | None
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    payment: Payment | None = None

    @property
    def is_deliverable(self) -> bool:
        """Return whether the goods may go out: the whole amount is there, and nothing is to be said against it.

        The order still stands (`closed` is None), and no problem is about the payment that pays it.
        """
        is_clear = all(problem.imp_uid != self.imp_uid for problem in self.problems)
        return self.state == "paid" and self.closed is None and is_clear

    @classmethod
    def _converted(cls, answer: Mapping[str, Any]) -> dict[str, Any]:
        payment = answer.get("payment")
        return {
            "problems": tuple(map(Finding.of, answer["problems"])),
            "payment": Payment.of(payment) if payment else None,
            **{name: _time(answer[name]) for name in ("expires_at", "created_at", "updated_at")},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """A page of orders. `next` is the cursor of the next page; None at the end."""

    orders: tuple[Order, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(_Model):
    """The cause of a version of an order, and PortOne's answer at that time."""

    cause: str
    source: str | None
    looked_at: datetime | None
    facts: tuple[Mapping[str, Any], ...]
    who: str | None
    why: str | None

    @classmethod
    def _converted(cls, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {"looked_at": _time(answer["looked_at"]), "facts": tuple(answer["facts"])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version(_Model):
    """A version of an order, as it stood from `at` on."""

    version: int
    at: datetime
    state: str
    closed: str | None
    amount: int
    currency: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    problems: tuple[Finding, ...]
    evidence: Evidence

    @classmethod
    def _converted(cls, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "at": _time(answer["at"]),
            "problems": tuple(map(Finding.of, answer["problems"])),
            "evidence": Evidence.of(answer["evidence"]),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(_Model):
    """A change of an order. `merchant_uid` and `version` name it: an order has each version once.

    `id` is also the cursor just after it.
    """

    id: str
    type: str
    merchant_uid: str
    version: int
    state: str
    closed: str | None
    amount: int
    currency: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    problems: tuple[Finding, ...]
    at: datetime

    @classmethod
    def _converted(cls, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {"at": _time(answer["at"]), "problems": tuple(map(Finding.of, answer["problems"]))}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events in the feed's order. `next` is the cursor to read on from, past events that a filter left out too."""

    events: tuple[Event, ...]
    next: str
