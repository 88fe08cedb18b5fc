"""Today's figures as a person reads them: what is well, what a person should see to, and what to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cli.today_page import Figure, as_json, figures, plot
from service.db.promise import Measure
from service.db.today import DueNotice, Span
from service.usecases.today import PortOneHealth, Today

_NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_CALM = Today(
    at=_NOW,
    measure=Measure(None, None, 0, 0, 0, 0, 0, 12.0, 0),
    longest_due=None,
    hours=[Span(_NOW - timedelta(hours=ago), 10, paid, estimated=False) for ago, paid in ((2, 0), (1, 1), (0, 800))],
    minute=Span(_NOW - timedelta(minutes=1), 3, 2, estimated=False),
    portone=[PortOneHealth("default", "answers")],
    receivers=1,
    workers=2,
    feed_lag_seconds=0.0,
    endpoints=0,
    endpoints_down=[],
    broken=[],
)


def shown(today: Today) -> dict[str, Figure]:
    return {figure.label: figure for figure in figures(today)}


def test_a_calm_day_has_nothing_to_see_to() -> None:
    """Where nothing is wrong, every figure is well, and those of what is not there are left out."""
    page = shown(_CALM)
    assert {figure.weight for figure in page.values()} == {"well"}
    assert page["paid"].text == "801 orders within a day, 2 in the last minute"
    assert page["running"].text == "1 receiver, 2 workers"
    assert "endpoints" not in page
    assert plot(_CALM.hours) == " ▁█"
    assert plot([]) == ""


@pytest.mark.parametrize(
    ("changed", "label", "text", "weight"),
    [
        (
            {"portone": [PortOneHealth("a", "away", _NOW), PortOneHealth("b", "answers")]},
            "PortOne",
            "b: answers",
            "well",
        ),
        ({"portone": [PortOneHealth("default", "key_refused", _NOW)]}, "PortOne", "refuses the key since 2026", "bad"),
        (
            {"measure": replace(_CALM.measure, open_problems=2)},
            "problems",
            "2: see `portone-orders problems list`",
            "look",
        ),
        ({"workers": 0}, "running", "1 receiver, 0 workers", "bad"),
        ({"endpoints": 2, "endpoints_down": ["a"]}, "endpoints", "a of 2: down or disabled", "look"),
        ({"feed_lag_seconds": 17.2}, "feed", "17 s behind", "well"),
        ({"hours": [Span(_NOW, 5000, 4000, estimated=True)]}, "paid", "about 4,000 orders within a day", "well"),
        (
            {"longest_due": DueNotice("n", "webhook", "imp_1", None, 4000.0)},
            "waiting",
            "0 notices, the oldest has been due for 1 h 6 min: imp_1 of -",
            "well",
        ),
        ({"broken": ["a notice has been due for 4000 s"]}, "promise", "a notice has been due for 4000 s", "bad"),
    ],
)
def test_what_is_wrong_is_marked(changed: dict[str, object], label: str, text: str, weight: str) -> None:
    """A figure that a person should see to is marked, with what to do where a command helps."""
    figure = shown(replace(_CALM, **changed))[label]  # type: ignore[arg-type]
    assert (figure.text.startswith(text), figure.weight) == (True, weight), figure


def test_json_has_every_figure() -> None:
    """For programs each figure is there under its name, with the totals that a person sees."""
    answer = as_json(_CALM)
    assert (answer["paid"], answer["estimated"], answer["workers"]) == (801, False, 2)
    assert set(Today.__slots__) <= set(answer)
