"""PortOne's truth in a schedule: each payment's states in turn, as V1 would show them, on the schedule's clock."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# A replica of PortOne's lags by this much at most. DESIGN.md §2.4 takes 60 s of the same answer for the truth.
LAG_SECONDS = 25.0
PAGE = 2


@dataclass
class Attempt:
    """A payment: its states (moment, V1's object), first to last."""

    imp_uid: str
    merchant_uid: str
    amount: int
    currency: str = "KRW"
    tier: str = ""
    test: bool = False
    states: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    regressed: bool = False

    def at(self, moment: float | None) -> dict[str, Any] | None:
        """What V1 showed at the moment; None before it was opened. Without a moment: now."""
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
        self.told_stale = False
        self._changed: dict[str, int] = {}
        self._changes = 0

    def move(self, attempt: Attempt, move: str, rng: random.Random) -> str:
        """Make one move; returns V1's status, as a webhook would tell it."""
        self.attempts[attempt.imp_uid] = attempt
        state = dict(attempt.states[-1][1]) if attempt.states else _opened(attempt, int(self.clock))
        _MOVES[move](state, int(self.clock), rng)
        self._changes += 1
        self._changed[attempt.imp_uid] = self._changes
        # Which of its states the service has stored can be read from a detail that it keeps.
        state["receipt_url"] = f"state-{len(attempt.states)}"
        attempt.regressed |= move == "regress"
        attempt.states.append((self.clock, state))
        return str(state["status"])

    def some_moment_ago(self, rng: random.Random) -> float:
        """What a replica that lags may show: the moment of any change of late, or just before one."""
        past = [when for a in self.attempts.values() for when, _ in a.states if when >= self.clock - LAG_SECONDS]
        return rng.choice([self.clock - LAG_SECONDS, *past, *(when - 1e-6 for when in past)])

    def payment(self, imp_uid: str, tier: str, at: float | None) -> dict[str, Any] | None:
        attempt = self.attempts.get(imp_uid)
        return attempt.at(at) if attempt and attempt.tier == tier else None

    def payments_of(self, merchant_uids: Sequence[str], tier: str, at: float | None) -> list[object]:
        """The latest attempt of each order only: all that PortOne can be taken to promise (PORTONE.md §1)."""
        latest = {a.merchant_uid: a for a in self.attempts.values() if a.tier == tier}
        return [found for m in merchant_uids if m in latest and (found := latest[m].at(at))]

    def ledger(self, tier: str, page: int, at: float | None) -> dict[str, Any]:
        """Last change first, in pages so small that a walk has several."""
        in_turn = sorted(self.attempts.values(), key=lambda a: -self._changed[a.imp_uid])
        shown = [found for a in in_turn if a.tier == tier and (found := a.at(at))]
        listed = shown[(page - 1) * PAGE : page * PAGE]
        return {"payments": listed, "total": len(shown), "more": len(shown) > page * PAGE}


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
    """PortOne takes it back: what it had told was wrong."""
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
