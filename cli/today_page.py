"""Write today's figures for a person: a line for each, with its weight, and the day's hours as bars."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from cli.output import count_of

if TYPE_CHECKING:
    from service.db.today import Span
    from service.usecases.today import PortOneHealth, Today

Weight = Literal["well", "look", "bad"]

_BARS = " ▁▂▃▄▅▆▇█"
_PORTONE = {
    "answers": "answers",
    "away": "gives no answer",
    "key_refused": "refuses the key",
    "unknown": "not known, because no worker runs",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of today as text. `look` and `bad` ones are for a person to see to, soon or now."""

    label: str
    text: str
    weight: Weight = "well"


def figures(today: "Today") -> Iterator[Figure]:
    """Yield today's figures, as the console's first page has them."""
    about = "about " if today.is_estimated else ""
    yield Figure(
        "paid", f"{about}{count_of(today.paid, 'order')} within a day, {today.minute.paid:,} in the last minute"
    )
    yield _waiting(today)
    for sentence in today.broken:
        yield Figure("promise", sentence, "bad")
    measure = today.measure
    yield _count("problems", measure.open_problems, "see `portone-orders problems list`")
    yield _count("parked", measure.parked_notices, "see `portone-orders notices list`")
    if measure.parked_unregistered or measure.unregistered_payments:
        foreign = f"{measure.parked_unregistered:,} notices, {measure.unregistered_payments:,} payments"
        yield Figure("foreign", f"{foreign} of orders that nobody registered")
    for health in today.portone:
        yield _portone(health, several=len(today.portone) > 1)
    lag = measure.ledger_lag_seconds
    yield Figure("last scan", "of PortOne's list: " + ("never" if lag is None else f"{_age(lag)} ago"))
    yield Figure("feed", f"{today.feed_lag_seconds:.0f} s behind" if today.feed_lag_seconds >= 1 else "up to date")
    if today.endpoints:
        yield _endpoints(today)
    running = f"{count_of(today.receivers, 'receiver')}, {count_of(today.workers, 'worker')}"
    yield Figure("running", running, "well" if today.receivers and today.workers else "bad")


def _waiting(today: "Today") -> Figure:
    text = count_of(today.measure.open_notices, "notice")
    if today.longest_due is None:
        return Figure("waiting", f"{text}, none is due")
    due = today.longest_due
    about = f"{due.imp_uid} of {due.merchant_uid or '-'}"
    return Figure("waiting", f"{text}, the oldest has been due for {_age(due.due_seconds)}: {about}")


def _count(label: str, count: int, advice: str) -> Figure:
    return Figure(label, f"{count:,}: {advice}", "look") if count else Figure(label, "none")


def _portone(health: "PortOneHealth", *, several: bool) -> Figure:
    since = f" since {health.since:%Y-%m-%d %H:%M:%S %Z}" if health.since else ""
    account = f"{health.account}: " if several else ""
    weight: Weight = "well" if health.state == "answers" else "bad"
    return Figure("PortOne", f"{account}{_PORTONE[health.state]}{since}", weight)


def _endpoints(today: "Today") -> Figure:
    if not today.endpoints_down:
        return Figure("endpoints", f"{today.endpoints}, none is down")
    return Figure("endpoints", f"{', '.join(today.endpoints_down)} of {today.endpoints}: down or disabled", "look")


def _age(seconds: float) -> str:
    if seconds < 60:
        return f"{max(0.0, seconds):.0f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def plot(hours: "Sequence[Span]") -> str:
    """Return a bar for each hour, as high as its share of the busiest one's paid orders."""
    most = max((span.paid for span in hours), default=0)
    return "".join(_BARS[_height(span.paid, most)] for span in hours)


def _height(paid: int, most: int) -> int:
    """Return the bar's height: at least 1 where any order was paid."""
    return max(1, round(paid * (len(_BARS) - 1) / most)) if paid else 0


def as_json(today: "Today") -> dict[str, object]:
    """Return all figures for JSON."""
    named = {field.name: getattr(today, field.name) for field in fields(today)}
    return {"at": named.pop("at"), "paid": today.paid, "estimated": today.is_estimated, **named}
