"""Read what a person typed or what a link of ours has. What cannot be read narrows nothing, or is refused as a page."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from uuid import UUID

from service.domain.money import DECIMALS, InexactAmount, to_minor
from service.http.console.guard import ConsoleRefused
from service.http.console.rendering import KST

_NUMBER_MAX = 2**63 - 1


def choice(query: Mapping[str, str], name: str, allowed: Iterable[str]) -> str | None:
    """Return the choice, if it is one of these."""
    chosen = query.get(name, "")
    return chosen if chosen in set(allowed) else None


def whole_number(text: str) -> int | None:
    """Return a number that a link of ours has, or None."""
    return min(int(text), _NUMBER_MAX) if text.isascii() and text.isdigit() and len(text) < 20 else None


def amount(text: str) -> tuple[int, str | None] | None:
    """Read an amount as people write it: `64,900`, `64900 KRW`, `6.00 USD`. Raises ConsoleRefused.

    Return it in the smallest unit, with the currency if it names one. Without one, two decimals are a hundred units.
    """
    number, _, currency = text.strip().upper().replace(",", "").partition(" ")
    if not number:
        return None
    try:
        value = Decimal(number)
        if currency.strip() in DECIMALS:
            return to_minor(value, currency.strip()), currency.strip()
        if not currency:
            return to_minor(value, "USD" if "." in number else "KRW"), None
    except (InvalidOperation, InexactAmount):
        pass
    raise ConsoleRefused(400, "Write an amount as 64900, 64900 KRW or 6.00 USD.")


def day(text: str, *, end: bool = False) -> datetime | None:
    """Return when a day begins or ends in Korea; None: no day, or one that no calendar of ours has."""
    try:
        midnight = datetime.combine(date.fromisoformat(text), time(), KST)
        return (midnight + timedelta(days=1) if end else midnight).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment(text: str) -> datetime | None:
    """Return the time that a link of ours has, or None."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def notice_place(text: str) -> tuple[datetime, UUID] | None:
    """Return the place in the list of parked notices that a link of ours has; None: the beginning."""
    at, _, notice_id = text.partition(" ")
    parked_at = moment(at)
    try:
        return (parked_at, UUID(notice_id)) if parked_at else None
    except ValueError:
        return None
