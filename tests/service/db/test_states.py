"""Each literal set of states in SQL is one that the rules name (service/domain/order.py)."""

import re
from pathlib import Path

import pytest

from service.domain.order import ASKED_ABOUT, EXPIRES, HOLDS_MONEY, IS_REACHED, WITHOUT_MONEY, State

SERVICE = Path(__file__).parents[3] / "service"
SPELLED_OUT = {"db/migrations/0001_schema.sql": [frozenset(State)]}
_LITERALS = re.compile(r"\bstate IN \(([^)]*)\)")


def _sets(file: Path) -> list[frozenset[str]]:
    sets = [frozenset(re.findall(r"'(\w+)'", text)) for text in _LITERALS.findall(file.read_text("utf-8"))]
    return [states for states in sets if states <= set(State)]


def test_sql_spells_out_no_other_sets_of_states() -> None:
    """SQL gets its sets of states as parameters, so that a new state is added in one place."""
    files = [*SERVICE.rglob("*.sql"), *(SERVICE / "db").glob("*.py")]
    literal_sets = {str(file.relative_to(SERVICE)): sets for file in files if (sets := _sets(file))}
    assert literal_sets == SPELLED_OUT


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (ASKED_ABOUT, "pending awaiting_deposit failed mismatched"),
        (EXPIRES, "pending awaiting_deposit failed"),
        (HOLDS_MONEY, "paid partially_cancelled mismatched"),
        (IS_REACHED, "paid partially_cancelled cancelled"),
        (WITHOUT_MONEY, "pending awaiting_deposit failed"),
    ],
)
def test_what_follows_from_a_state(states: frozenset[State], expected: str) -> None:
    """Each set contains the expected states."""
    assert states == set(expected.split())
