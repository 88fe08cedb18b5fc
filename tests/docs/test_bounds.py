"""The table in docs/design.md §2.13 says what the code does, and each of its rows is seen by a test or an attack."""

import ast
import importlib
import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from faults.hostile.attacks import ATTACKS
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
TABLE = (
    (REPOSITORY / "docs/design.md").read_text("utf-8").partition("<!-- begin: bounds -->")[2]
    .partition("<!-- end: bounds -->")[0]
)  # fmt: skip
ROWS = [line.strip("|").split(" | ") for line in TABLE.strip().splitlines()[2:]]
IDS = [row[0].strip() for row in ROWS]

_NUMBER = r"(?P<number>[\d.]+)"
_BOUND = re.compile(rf"`(?P<name>[^`]+)`(?: {_NUMBER})?(?:(?: and [^|]*?)? in `(?P<file>[^`]+)`)?")
_TEST = re.compile(r"`(tests/[^`]+)::([^`]+)`")
_ATTACK = re.compile(r"attack `(\w+)`")


def _bounds(cell: str) -> list[tuple[str, str | None, str | None]]:
    """Return the bounds of a cell as (name, number, file); names joined by `and` are of the file that follows."""
    found = []
    for part in cell.split(", "):
        *names, last = re.split(r" and (?=`)", part)
        file = re.search(r" in `([^`]+)`", last)
        for bound in (*names, last):
            match = _BOUND.match(bound.strip())
            assert match, bound
            found.append((match["name"], match["number"], file[1] if file else None))
    return found


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_each_bound_is_the_codes(row: list[str]) -> None:
    """Each bound is a setting with this default, a constant with this value, or a text of the file that it names."""
    for name, number, file in _bounds(row[1]):
        if file is None:
            assert Settings.model_fields[name.lower()].default == float(number or "nan"), name
        elif number is None:
            assert name in (REPOSITORY / file).read_text("utf-8"), name
        else:
            value = _value(file, name)
            assert float(getattr(value, "value", value)) == float(number), name


def _value(file: str, name: str) -> Any:
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    return reduce(getattr, name.split("."), module)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_each_row_is_seen_past_its_bound(row: list[str]) -> None:
    """Each row says what happens past the bound, and names a test of the repository, and attacks that exist."""
    _, _, past, seen_by = row
    assert past.strip()
    tests = _TEST.findall(seen_by)
    assert tests
    for file, function in tests:
        assert function in _functions(REPOSITORY / file), function
    assert {*_ATTACK.findall(seen_by)} <= {attack.name for attack in ATTACKS}


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_attack_is_in_the_table() -> None:
    """Each attack of `make hostile` goes past a bound of the table; one has no strangers, and shows the alarm."""
    assert {*_ATTACK.findall(TABLE)} == {attack.name for attack in ATTACKS if not attack.starves}


def test_each_limit_in_the_settings_is_in_the_table() -> None:
    """Each setting that limits what comes in from outside has its row."""
    names = {name.upper() for name in Settings.model_fields}
    limits = {name for name in names if re.search("_PER_(CLIENT|SECOND)$|MEGABYTES$", name)} - {"CALLS_PER_SECOND"}
    assert limits <= {name for row in ROWS for name, _, _ in _bounds(row[1])}
