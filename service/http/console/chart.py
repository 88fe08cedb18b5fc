"""The changes of the last hours as bars, drawn on the server: the browser needs no script and no library."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.db.today import Span

HEIGHT = 64
_BAR = 20
_GAP = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """An hour: where its bar stands, and how much of it is those who paid."""

    span: Span
    x: int
    height: float
    paid_height: float


def bars(spans: Sequence[Span]) -> list[Bar]:
    """Return a bar for each span, the oldest first."""
    most = max((*(span.changes for span in spans), 1))
    return [
        Bar(span, number * (_BAR + _GAP), _height(span.changes, most), _height(span.paid, most))
        for number, span in enumerate(spans)
    ]


def width(spans: Sequence[Span]) -> int:
    return len(spans) * (_BAR + _GAP) - _GAP


def _height(count: int, most: int) -> float:
    """Return a height that tells one from none, however many the others are."""
    return max(1.5, round(HEIGHT * count / most, 1)) if count else 0.0
