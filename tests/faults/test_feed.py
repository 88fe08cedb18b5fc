"""The small run of `make feed`: everybody who follows has each change once, and the judge would say if not."""

import pytest

from faults.feed import CHANGES_OF_AN_ORDER, TROUBLES, follow_all, judge
from faults.stack import running_stack

_ORDERS = 60
EVENTS = [("evt_1", "order-1", 1), ("evt_2", "order-2", 1), ("evt_3", "order-1", 2)]


@pytest.mark.parametrize("trouble", ["calm", "killed"])
async def test_every_follower_has_every_change_once(trouble: str) -> None:
    """Steady, slow and interrupted followers see what is in the table, in its order, also beside killed processes."""
    async with running_stack(0.1) as stack:
        result = await follow_all(stack, TROUBLES[trouble], _ORDERS, seed=1)
    assert (result.wrong, len(result.followers)) == ([], 20)
    assert result.changes == CHANGES_OF_AN_ORDER * _ORDERS


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (EVENTS[:2], "one missed 1 changes, had 0 twice, and had 2 of 3 in all"),
        ([*EVENTS, EVENTS[0]], "one missed 0 changes, had 1 twice, and had 4 of 3 in all"),
        ([EVENTS[0], EVENTS[2], EVENTS[1]], "one missed 0 changes, had 0 twice, and had 3 of 3 in all"),
    ],
)
def test_the_judge_says_what_is_wrong(seen: list[tuple[str, str, int]], sentence: str) -> None:
    """A change that is missed, comes twice, or comes out of order is reported."""
    assert judge("one", seen, EVENTS) == [sentence]
    assert judge("one", EVENTS, EVENTS) == []
