"""The texts of guards and steps, which are taken out to show that they matter, are still in their files."""

from pathlib import Path

import pytest

from bench.steps import STEPS, Step
from faults.guards import GUARDS, Guard

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("part", [*GUARDS, *(step for step in STEPS if step.file)], ids=lambda part: part.name)
def test_it_stands_once(part: Guard | Step) -> None:
    """Each text is exactly once in its file. If not, correct it in faults/guards.py or bench/steps.py."""
    assert (ROOT / part.file).read_text("utf-8").count(part.text) == 1
