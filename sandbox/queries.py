"""V1's selection, order and pages of payments. Pure functions."""

from collections.abc import Callable, Iterable
from typing import Any

from sandbox.payment import OWN_TIME_OF_STATUS, Fields, Seen

STATUSES = tuple(OWN_TIME_OF_STATUS)
SORTINGS = ("-started", "started", "-paid", "paid", "-updated", "updated")

_SORT_KEYS: dict[str, Callable[[Seen], tuple[float, int]]] = {
    "started": lambda seen: (time_in(seen.fields, "started_at"), seen.opened_number),
    "paid": lambda seen: (time_in(seen.fields, "paid_at"), seen.opened_number),
    "updated": lambda seen: (seen.changed_number, seen.opened_number),
}


def time_in(fields: Fields, name: str) -> float:
    """Return a time field, or 0 when a test has put something else there."""
    value = fields.get(name)
    return value if isinstance(value, int | float) else 0


def own_time(fields: Fields) -> float:
    """Return the time of the payment's current status, which the ledger compares with its window."""
    status = fields["status"]
    name = OWN_TIME_OF_STATUS.get(status, "started_at") if isinstance(status, str) else "started_at"
    return time_in(fields, name)


def with_status(payments: Iterable[Seen], status: str | None) -> list[Seen]:
    """Return the payments of one status, or all for None."""
    return [seen for seen in payments if status is None or seen.fields["status"] == status]


def within(payments: Iterable[Seen], from_second: int, to_second: int) -> list[Seen]:
    """Return the payments whose own time lies in the window, both ends included."""
    return [seen for seen in payments if from_second <= own_time(seen.fields) <= to_second]


def ordered(payments: Iterable[Seen], sorting: str) -> list[Seen]:
    """Sort by one of SORTINGS. A leading minus is latest first."""
    return sorted(payments, key=_SORT_KEYS[sorting.removeprefix("-")], reverse=sorting.startswith("-"))


def page_of(payments: list[Seen], page: int, limit: int) -> dict[str, Any] | None:
    """Return one page, counted from 1, with its neighbours' numbers (0 for none), or None out of range."""
    pages = max(1, -(-len(payments) // limit))
    if not 1 <= page <= pages:
        return None
    return {
        "total": len(payments),
        "previous": page - 1,
        "next": page + 1 if page < pages else 0,
        "list": [seen.fields for seen in payments[(page - 1) * limit : page * limit]],
    }
