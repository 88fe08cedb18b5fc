"""docs/states.md agrees with the code."""

from itertools import product

import pytest

from docs import make_states
from service.domain.order import ProblemKind, State
from service.domain.payment import Status
from service.domain.settle import disagreements, settle


def test_the_page_is_what_the_code_makes() -> None:
    """The committed page equals what `python -m docs.make_states` writes."""
    assert make_states.PAGE.read_text("utf-8") == make_states.page(), "run `python -m docs.make_states`"


def test_the_table_leaves_no_hole() -> None:
    """Every payment status is a row, and every way to disagree is a column."""
    assert {payment.status for payment in make_states.STAGES.values()} == set(Status)
    ways = {kind for kind in make_states.AGREEMENTS.values() if kind}
    not_of_one_look = {
        ProblemKind.DUPLICATE_PAYMENT,
        ProblemKind.REFUND_UNKNOWN,
        ProblemKind.REGRESSED_PAYMENT,
        ProblemKind.PAID_AFTER_CLOSE,
        ProblemKind.UNREADABLE_PAYMENT,
    }
    assert ways == set(ProblemKind) - not_of_one_look


def test_what_an_order_was_is_each_state() -> None:
    """Every order state has a payment that leads to it by the rule."""
    assert make_states.BEFORE.keys() == set(State)
    for state, payment in make_states.BEFORE.items():
        assert settle(make_states.ORDER, [payment] if payment else []).state is state


def test_the_page_has_every_case() -> None:
    """Each combination of state before, payment status and agreement has a cell that is not empty."""
    page = make_states.PAGE.read_text("utf-8")
    _, *tables = page.partition("\n## Problems")[0].split("### The new payment: ")
    assert [part.partition("\n")[0] for part in tables] == list(make_states.AGREEMENTS)
    for part, kind in zip(tables, make_states.AGREEMENTS.values(), strict=True):
        rows = [line.strip("| ").split(" | ") for line in part.strip().splitlines()[4:]]
        assert rows == [[f"`{state.value}`", *make_states.after(state, kind)] for state in State]
        assert {len(row) for row in rows} == {1 + len(make_states.STAGES)}
        assert all(text.startswith("`") for row in rows for text in row)


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("kind", [kind for kind in make_states.AGREEMENTS.values() if kind])
def test_what_disagrees_never_makes_an_order_more(before: State, kind: ProblemKind) -> None:
    """A payment that disagrees changes no state, except to `mismatched` if no other money agrees."""
    states = {text.partition(" + ")[0].strip("`") for text in make_states.after(before, kind)}
    has_money = before in (State.PAID, State.PARTIALLY_CANCELLED)
    assert states <= {before.value, *(() if has_money else ("mismatched",))}


def test_each_column_disagrees_as_it_says() -> None:
    """A payment in a column disagrees with the order only in that column's way."""
    for payment, kind in product(make_states.STAGES.values(), make_states.AGREEMENTS.values()):
        kinds = disagreements(make_states.ORDER, make_states.disagreeing(payment, kind))
        assert kinds == ((kind,) if kind else ())
