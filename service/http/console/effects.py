"""The form of an operation of the console: its effect, which a page says first, and its doing."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from service.http.console.guard import ConsoleRefused
from service.http.console.languages import word
from service.http.console.visits import Visit


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of an operation: sentences, the page to come back to, and the order that it is about, if any."""

    sentences: list[str]
    back: str
    query: Mapping[str, str] = field(default_factory=dict)
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its heading, its effect on a subject, and its doing, which returns a word for what was done."""

    heading: str
    foresee: Callable[[Visit, str], Awaitable[Effect]]
    do: Callable[[Visit, str, str], Awaitable[str]]
    # It moves money or cannot be undone: its button says so by its colour.
    is_grave: bool = False


def of_order(sentences: list[str], merchant_uid: str) -> Effect:
    """Return an effect on an order, to whose page it leads."""
    return Effect(sentences, "/console/order", {"number": merchant_uid}, merchant_uid)


def words(visit: Visit, names: Iterable[str]) -> str:
    """Return the names of problems and the like in the visitor's language."""
    return ", ".join(word(visit.language, name) for name in names)


def notice_id(text: str) -> UUID:
    """Read a notice's id. Raises ConsoleRefused."""
    try:
        return UUID(text)
    except ValueError:
        raise ConsoleRefused(404, "There is nothing of this name.") from None
