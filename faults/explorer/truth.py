"""PortOne's truth in a schedule: the states of each payment, as V1 shows them, on the schedule's clock."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# A replica of PortOne lags by at most this. After 60 s the same answer is the truth (docs/design.md §2.4).
LAG_SECONDS = 25.0
PAGE = 2


@dataclass
class Attempt:
    """A payment, with its states (moment, V1's object) from first to last."""

    imp_uid: str
    merchant_uid: str
    amount: int
    currency: str = "KRW"
    tier: str = ""
    test: bool = False
    states: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    regressed: bool = False

    def at(self, moment: float | None) -> dict[str, Any] | None:
        """Return V1's object at a moment, or now. Returns None before the payment was opened."""
        past = [state for when, state in self.states if moment is None or when <= moment]
        return past[-1] if past else None

    @property
    def now(self) -> dict[str, Any]:
        return self.states[-1][1]


class Truth:
    """All payments of a schedule."""

    def __init__(self) -> None:
        self.clock = 1_790_000_000.0
        self.attempts: dict[str, Attempt] = {}
        self.was_stale = False
        self._changed: dict[str, int] = {}
        self._changes = 0

    def move(self, attempt: Attempt, move: str, rng: random.Random) -> str:
        """Make a move. Returns V1's status, as a webhook would name it."""
        self.attempts[attempt.imp_uid] = attempt
        state = dict(attempt.states[-1][1]) if attempt.states else _opened(attempt, int(self.clock))
        _MOVES[move](state, int(self.clock), rng)
        self._changes += 1
        self._changed[attempt.imp_uid] = self._changes
        # The service keeps this detail, so it shows which of the states is stored.
        state["receipt_url"] = f"state-{len(attempt.states)}"
        attempt.regressed |= move == "regress"
        attempt.states.append((self.clock, state))
        return str(state["status"])

    def some_moment_ago(self, rng: random.Random) -> float:
        """Return the moment that a lagging replica shows: of a recent change, or just before it."""
        past = [when for a in self.attempts.values() for when, _ in a.states if when >= self.clock - LAG_SECONDS]
        return rng.choice([self.clock - LAG_SECONDS, *past, *(when - 1e-6 for when in past)])

    def payment(self, imp_uid: str, tier: str, at: float | None) -> dict[str, Any] | None:
        attempt = self.attempts.get(imp_uid)
        return attempt.at(at) if attempt and attempt.tier == tier else None

    def payments_of(self, merchant_uids: Sequence[str], tier: str, at: float | None) -> list[object]:
        """Return only the latest payment of each order, because PortOne promises no more (docs/portone.md §1)."""
        latest = {a.merchant_uid: a for a in self.attempts.values() if a.tier == tier}
        return [payment for m in merchant_uids if m in latest and (payment := latest[m].at(at))]

    def ledger(self, tier: str, page: int, at: float | None) -> dict[str, Any]:
        """Return a page, newest change first. Pages are small, so that a walk has several."""
        newest_first = sorted(self.attempts.values(), key=lambda a: -self._changed[a.imp_uid])
        payments = [payment for a in newest_first if a.tier == tier and (payment := a.at(at))]
        listed = payments[(page - 1) * PAGE : page * PAGE]
        return {"payments": listed, "total": len(payments), "more": len(payments) > page * PAGE}


def _opened(attempt: Attempt, now: int) -> dict[str, Any]:
    return {
        "imp_uid": attempt.imp_uid,
        "merchant_uid": attempt.merchant_uid,
        "amount": attempt.amount,
        "cancel_amount": 0,
        "currency": attempt.currency,
        "status": "ready",
        "sandbox": attempt.test,
        "vbank_num": None,
        "started_at": now,
        "paid_at": 0,
        "failed_at": 0,
        "cancelled_at": 0,
        "cancel_history": [],
    }


def _open(_state: dict[str, Any], _now: int, _rng: random.Random) -> None:
    pass


def _pay(state: dict[str, Any], now: int, _rng: random.Random) -> None:
    state.update(status="paid", paid_at=now)


def _fail(state: dict[str, Any], now: int, _rng: random.Random) -> None:
    state.update(status="failed", failed_at=now)


def _issue(state: dict[str, Any], _now: int, _rng: random.Random) -> None:
    state.update(vbank_num="00000000001234")


def _refund_part(state: dict[str, Any], now: int, rng: random.Random) -> None:
    left = state["amount"] - state["cancel_amount"]
    _refund(state, now, rng.randrange(1, left) if left > 1 else left)


def _refund_all(state: dict[str, Any], now: int, _rng: random.Random) -> None:
    _refund(state, now, state["amount"] - state["cancel_amount"])


def _refund(state: dict[str, Any], now: int, amount: int) -> None:
    state.update(status="cancelled", cancelled_at=now, cancel_amount=state["cancel_amount"] + amount)
    state["cancel_history"] = [*state["cancel_history"], {"amount": amount, "cancelled_at": now}]


def _regress(state: dict[str, Any], _now: int, _rng: random.Random) -> None:
    """Withdraw what PortOne said of the payment before."""
    state.update(status="ready", paid_at=0, failed_at=0, cancelled_at=0, cancel_amount=0, cancel_history=[])


_MOVES = {
    "open": _open,
    "pay": _pay,
    "fail": _fail,
    "issue": _issue,
    "deposit": _pay,
    "refund_part": _refund_part,
    "refund_all": _refund_all,
    "touch": _open,
    "regress": _regress,
}
