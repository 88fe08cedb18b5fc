"""Judge refunds by what the sandbox gave back: each at most once, only what was wrong, and as the table says.

PortOne's console names no reason where it gives money back, and the service names the problems. So PortOne's truth
says whose each refund was.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from faults.answer_oracle import Past
from faults.oracle import charge_of, disagreements, expect

_KINDS = {"wrong_amount", "wrong_currency", "wrong_store", "duplicate_payment", "paid_after_close"}
# A refund whose call got no answer may have been made or not. It is looked for during an hour, and left to a person.
_NOT_SHOWN = ("asked", "refund_unknown")
CANCEL = "POST /payments/cancel"


@dataclass(frozen=True)
class Refunds:
    """The rows of `refunds`, and how often any was asked for."""

    rows: Sequence[Mapping[str, Any]]
    asked: int


async def read_refunds(db: asyncpg.Connection) -> Refunds:
    """Read what the service says of its refunds, from one snapshot."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        rows = await db.fetch("SELECT * FROM refunds ORDER BY imp_uid")
        asked = await db.fetchval("SELECT count(*) FROM refund_moves WHERE state = 'asked'")
    return Refunds([dict(row) for row in rows], asked)


class RefundOracle:
    """Knows the orders' terms by number, PortOne's truth with its history, and how often PortOne was asked to refund.

    `wanted` has the payments whose refund a person was promised. Duplicates are refunded by the policy.
    """

    def __init__(
        self,
        terms: Mapping[str, Mapping[str, Any]],
        truth: Iterable[Mapping[str, Any]],
        calls: int,
        wanted: Collection[str] = (),
    ) -> None:
        self._terms, self._calls, self._wanted = terms, calls, wanted
        self._truth = {payment["imp_uid"]: payment for payment in truth}

    def judge(self, refunds: Refunds) -> list[str]:
        """Return a sentence for each broken promise. Those about a refund that is under way end with it."""
        rows = {row["imp_uid"]: row for row in refunds.rows}
        wrong = [f"refunds of {name}, which PortOne does not have" for name in sorted(rows.keys() - self._truth.keys())]
        if self._calls > refunds.asked:
            wrong.append(f"refunds were sent {self._calls} times, and asked for {refunds.asked} times")
        for imp_uid, payment in self._truth.items():
            wrong += [f"refund of {imp_uid}: {why}" for why in self._wrong(payment, rows.get(imp_uid))]
        return wrong

    def _wrong(self, payment: Mapping[str, Any], row: Mapping[str, Any] | None) -> Iterator[str]:
        own, state = own_refunds(payment), row["state"] if row else None
        if len(own) > 1:
            yield f"it was given back {len(own)} times"
        if own and state != "refunded":
            yield f"it was given back, and the table says {state}"
        if not own and state == "refunded":
            yield "the table says that it was given back, and PortOne did not"
        if own and row and row["amount"] != sum(refund["amount"] for refund in own):
            yield f"{[refund['amount'] for refund in own]} was given back, and the table says {row['amount']}"
        if not own and state not in _NOT_SHOWN and self._is_due(payment):
            yield f"it should be given back, and the table says {state}"
        for refund in own:
            yield from self._undue(payment, refund)

    def _is_due(self, payment: Mapping[str, Any]) -> bool:
        """Return whether the money is still here, and the policy or a person wants it given back."""
        charge, terms = charge_of(payment), self._terms.get(payment["merchant_uid"])
        if not charge.held or terms is None:
            return False
        problems = {
            kind for kind, imp_uid in expect(terms, self._of_order(payment)).problems if imp_uid == charge.imp_uid
        }
        return problems == {"duplicate_payment"} or charge.imp_uid in self._wanted

    def _undue(self, payment: Mapping[str, Any], refund: Mapping[str, Any]) -> Iterator[str]:
        """Check that the refund was right when it was made: the money disagreed, or other money paid the order."""
        terms, imp_uid = self._terms.get(payment["merchant_uid"]), payment["imp_uid"]
        if terms is None:
            yield "it was given back, and nobody registered its order"
        elif "duplicate_payment" not in refund["reason"]:
            if not disagreements(terms, charge_of(payment)) or imp_uid not in self._wanted:
                yield f"it was given back for {refund['reason']}, which nobody wanted or which is not so"
        else:
            if not any(self._held_at(other, terms, payment["changed_at"]) for other in self._of_order(payment)):
                yield "it was given back as a duplicate, and no other payment paid the order then"

    def _held_at(self, payment: Mapping[str, Any], terms: Mapping[str, Any], moment: float) -> int:
        """Return what an agreeing payment held at a moment."""
        then = Past(payment, 0).until(moment)
        return charge_of(then[-1]).held if then and not disagreements(terms, charge_of(then[-1])) else 0

    def _of_order(self, payment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [other for other in self._truth.values() if other["merchant_uid"] == payment["merchant_uid"]]


def own_refunds(payment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the payment's refunds that the service asked for, by their reason."""
    return [row for row in payment["cancel_history"] if set(str(row["reason"]).split(", ")) <= _KINDS]
