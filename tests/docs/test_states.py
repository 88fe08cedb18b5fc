"""docs/states.md is what the code says."""

from itertools import product

from docs import make_states
from service.domain.order import ProblemKind
from service.domain.payment import Status
from service.domain.settle import disagreements


def test_the_page_is_what_the_code_makes() -> None:
    """The committed page is the one that `python -m docs.make_states` writes."""
    assert make_states.PAGE.read_text("utf-8") == make_states.page(), "run `python -m docs.make_states`"


def test_the_table_leaves_no_hole() -> None:
    """Every payment status is a row, and every way to disagree is a column."""
    assert {payment.status for payment in make_states.STAGES.values()} == set(Status)
    ways = {kind for kind in make_states.AGREEMENTS.values() if kind}
    not_of_one_look = {ProblemKind.DUPLICATE_PAYMENT, ProblemKind.REFUND_UNKNOWN, ProblemKind.REGRESSED_PAYMENT}
    assert ways == set(ProblemKind) - not_of_one_look


def test_each_column_disagrees_as_it_says() -> None:
    """A payment in a column disagrees with the order in that column's way, and in no other."""
    for payment, kind in product(make_states.STAGES.values(), make_states.AGREEMENTS.values()):
        found = disagreements(make_states.ORDER, make_states.astray(payment, kind))
        assert found == ((kind,) if kind else ())
