"""The judge of `make hostile` says what was broken, and its page has each attack."""

from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest

from faults.hostile import page
from faults.hostile.attacks import ATTACKS, small
from faults.hostile.genuine import Figures
from faults.hostile.strangers import Flood, Strangers
from faults.hostile.verdict import Part, Result

_FLOOD, _SPILL, _STARVED = (
    next(attack for attack in ATTACKS if attack.name == name) for name in ("one_payment", "spill", "starved")
)


def _figures(**changed: Any) -> Figures:
    figures = Figures([0.1, 1.9], [0.5], 0, Counter({200: 3}), Counter({200: 2}), [0.1, 0.4])
    return replace(figures, **changed)


def _broken(**changed: Any) -> list[str]:
    result = Result(_FLOOD, _figures(), {"worker bytes": 80_000_000, "worker descriptors": 30}, [], {"200": 100}, 50)
    result = replace(result, **changed)
    result.judge()
    return result.broken


def test_what_holds_is_not_broken() -> None:
    """An attack beside which every genuine order was paid in time has broken nothing."""
    assert _broken() == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"figures": _figures(during=[2.1])}, "a genuine order became paid after 2.1 s during it"),
        ({"figures": _figures(after=[1.1])}, "a genuine order became paid after 1.1 s after it"),
        ({"figures": _figures(never=2)}, "2 genuine orders did not become paid"),
        ({"figures": _figures(webhooks=Counter({503: 1}))}, "PortOne's webhooks were answered {503: 1}"),
        ({"figures": _figures(confirmations=Counter({424: 1}))}, "PortOne's confirmations were answered {424: 1}"),
        ({"figures": _figures(confirm_seconds=[0.6])}, "p99 of PortOne's confirmations was 600 ms"),
        ({"promise": ["a notice has been due for 11 s"]}, "the promise said ['a notice has been due for 11 s']"),
        ({"attack": _STARVED}, "the promise said nothing"),
        ({"usage": {"receiver bytes": 500_000_000}}, "receiver bytes were 500,000,000"),
        ({"usage": {"receiver descriptors": 20_000}}, "receiver descriptors were 20,000"),
        ({"rows": 2_000}, "2,000 notices were added by 100 requests"),
        ({"spilled_bytes": 5_000_000}, "5,000,000 bytes were spilled"),
        ({"error": "it took too long"}, "it took too long"),
    ],
)
def test_each_bound_that_is_passed_is_said(changed: dict[str, Any], sentence: str) -> None:
    """Each bound that an attack passes has a sentence of its own."""
    assert _broken(**changed) == [sentence]


def test_confirmations_without_postgres_are_not_judged() -> None:
    """While Postgres is away no order can be confirmed, which is not the attack's doing."""
    assert _broken(attack=_SPILL, figures=_figures(confirmations=Counter({424: 9}))) == []


def test_a_part_is_broken_by_a_mutant_too() -> None:
    """A 5xx for a mutated request, or a byte of one in a log, breaks the run."""
    assert not Part("", mutants=Counter({b"400": 5})).is_broken
    assert Part("", mutants=Counter({b"500": 1})).is_broken
    assert Part("", bytes_logged=1).is_broken


def test_the_table_has_each_attack_and_what_it_broke() -> None:
    """Each attack has a row and a sentence, and what it broke stands below."""
    result = Result(_FLOOD, _figures(never=1), {}, [], {"200": 1800}, 5)
    result.judge()
    table = page.table([result])
    assert "| `one_payment` | 1.90 | 1.90 | 0.50 | 400 | 0 | 0 | 5 | 200: 1,800 |" in table
    assert "- **Passed**, `one_payment`: 1 genuine orders did not become paid." in table


def test_a_flood_is_its_senders_together() -> None:
    """The senders of a flood share its requests, each number once."""
    flood = Flood(10, "/orders/{n}", senders=3)
    paths = [request.split(b" ")[1] for sender in range(3) for request in flood.requests(2, sender)]
    assert sorted(paths) == sorted(b"/orders/%d" % number for number in range(20))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_strangers_survive_the_way_to_their_process(attack: Any) -> None:
    """An attack's strangers, also at small rates, are the same once its process has read them."""
    strangers = small(attack).strangers
    spec = Strangers.read(_spec_of(strangers))
    assert [flood.requests(1, 0) for flood in spec.floods] == [flood.requests(1, 0) for flood in strangers.floods]
    assert spec.silent_each == strangers.silent_each


def _spec_of(strangers: Strangers) -> dict[str, Any]:
    """Return the part of the spec that names the strangers, as their process reads it."""
    read: dict[str, Any] = orjson.loads(strangers.spec(1, 1.0))["strangers"]
    return read
