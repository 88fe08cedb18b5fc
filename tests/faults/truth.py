"""PortOne's truth as the sandbox shows it, for tests of the oracles."""

from collections.abc import Mapping
from typing import Any

TERMS = {"amount": 1000, "currency": "KRW", "account": "default", "tier": ""}


def payment(*changes: Mapping[str, Any], begun: float = 10.0, **opening: Any) -> dict[str, Any]:
    """Return a payment of order-1 that was opened at `begun`, and made each change a second after the one before."""
    first: dict[str, Any] = {
        "imp_uid": "imp_1",
        "merchant_uid": "order-1",
        "status": "ready",
        "amount": 1000,
        "cancel_amount": 0,
        "cancel_history": [],
        "currency": "KRW",
        "vbank_num": None,
        "sandbox": False,
        "paid_at": 0,
        "started_at": int(begun),
    }
    owner: dict[str, Any] = {"account": opening.pop("account", "default"), "tier": opening.pop("tier", None)}
    moves = [first | opening, *map(dict, changes)]
    history = [{"at": begun + number, "fields": fields} for number, fields in enumerate(moves)]
    for fields in moves:
        first = first | fields
    return first | owner | {"changed_at": history[-1]["at"], "history": history}


def paid(at: int = 11) -> dict[str, Any]:
    """Return the change that pays."""
    return {"status": "paid", "paid_at": at}


def given_back(*rows: tuple[int, str | None]) -> dict[str, Any]:
    """Return the change after refunds of such amounts, each with its reason."""
    history = [{"amount": amount, "reason": reason} for amount, reason in rows]
    return {"status": "cancelled", "cancel_amount": sum(amount for amount, _ in rows), "cancel_history": history}
