"""The horizon passes no id that may still come, and moves although others always write."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.domain.feed_horizon import FeedPosition, Horizon


def _sample(last_id: int, *writers: str, life: str = "a life", prepared: bool = False) -> FeedPosition:
    return FeedPosition(life, last_id, frozenset(writers), prepared)


def test_without_writers_it_is_the_last_id() -> None:
    """A sample that nobody writes beside is the horizon at once."""
    horizon = Horizon()
    assert (horizon.observe(_sample(7)), horizon.is_behind) == (7, False)


def test_a_sample_waits_for_its_writers() -> None:
    """The horizon stays until all writers of the sample that is kept have ended, whoever began since."""
    horizon = Horizon()
    assert horizon.observe(_sample(7)) == 7
    assert (horizon.observe(_sample(9, "a", "b")), horizon.is_behind) == (7, True)
    assert horizon.observe(_sample(12, "b", "c")) == 7
    assert horizon.observe(_sample(15, "c", "d")) == 9
    assert horizon.observe(_sample(18, "d", "e")) == 9, "the newest sample took the place of the last"
    assert horizon.observe(_sample(20, "e", "f")) == 15


def test_a_sample_that_brought_all_gives_its_place_away() -> None:
    """A writer that has drawn nothing since the horizon does not keep a newer sample out."""
    horizon = Horizon()
    horizon.observe(_sample(7))
    assert (horizon.observe(_sample(7, "a")), horizon.is_behind) == (7, False)
    assert (horizon.observe(_sample(9, "a", "b")), horizon.is_behind) == (7, True)
    assert horizon.observe(_sample(9, "c")) == 9


def test_a_prepared_transaction_keeps_the_horizon() -> None:
    """A writer that is gone by its name may have been prepared, so a prepared one stands for all of them."""
    horizon = Horizon()
    horizon.observe(_sample(5))
    horizon.observe(_sample(7, "a"))
    assert horizon.observe(_sample(8, "-1/99", prepared=True)) == 5
    assert horizon.observe(_sample(8)) == 8


def test_another_life_begins_again() -> None:
    """A crash ends the life of Postgres, and ids may be drawn a second time: nothing is known any more."""
    horizon = Horizon()
    assert horizon.observe(_sample(130)) == 130
    assert (horizon.observe(_sample(105, "a", life="another")), horizon.is_behind) == (None, True)
    assert horizon.observe(_sample(106, "b", life="another")) == 105


class _Feed(RuleBasedStateMachine):
    """Transactions that draw ids and end in any order, beside a reader that samples, with crashes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.last_id = self.durable = self.names = self.lives = 0
        self.open: dict[str, tuple[bool, list[int]]] = {}
        self.committed: set[int] = set()
        self.horizon, self.cursor = Horizon(), 0
        self.read: list[int] = []

    @rule()
    def begins(self) -> None:
        self.names += 1
        self.open[f"t{self.names}"] = (False, [])

    @precondition(lambda self: any(not prepared for prepared, _ in self.open.values()))
    @rule(data=st.data(), count=st.integers(1, 3))
    def draws(self, data: st.DataObject, count: int) -> None:
        name = data.draw(st.sampled_from([name for name, (prepared, _) in self.open.items() if not prepared]))
        for _ in range(count):
            self.last_id += 1
            self.open[name][1].append(self.last_id)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), commits=st.booleans())
    def ends(self, data: st.DataObject, commits: bool) -> None:
        _, drawn = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        if commits and drawn:
            self.committed |= set(drawn)
            self.durable = self.last_id  # a commit flushes what was logged before it

    @precondition(lambda self: any(not prepared for prepared, _ in self.open.values()))
    @rule(data=st.data())
    def prepares(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, (prepared, _) in self.open.items() if not prepared]))
        self.names += 1
        self.open[f"p{self.names}"] = (True, self.open.pop(name)[1])
        self.durable = self.last_id

    @rule()
    def crashes(self) -> None:
        self.open = {name: transaction for name, transaction in self.open.items() if transaction[0]}
        self.last_id = self.durable
        self.lives += 1

    @rule()
    def reads(self) -> None:
        prepared = any(prepared for prepared, _ in self.open.values())
        sample = _sample(self.last_id, *self.open, life=str(self.lives), prepared=prepared)
        upto = self.horizon.observe(sample)
        if upto is not None:
            self.read += sorted(n for n in self.committed if self.cursor < n <= upto)
            self.cursor = self.read[-1] if self.read else 0

    @invariant()
    def nothing_was_passed_by(self) -> None:
        assert self.read == sorted(n for n in self.committed if n <= self.cursor)

    def teardown(self) -> None:
        self.open.clear()
        self.reads()
        assert self.read == sorted(self.committed)


TestFeed = _Feed.TestCase


@given(st.lists(st.integers(1, 3), min_size=4, max_size=40))
def test_it_moves_although_there_is_always_a_writer(drawn: list[int]) -> None:
    """Under steady load the horizon is at most two transactions' lives behind."""
    horizon, last_id, ids = Horizon(), 0, [0]
    for n, count in enumerate(drawn):
        last_id += count
        ids.append(last_id)
        upto = horizon.observe(_sample(last_id, f"t{n}", f"t{n + 1}"))
        if n >= 4:
            assert upto is not None
            assert upto >= ids[n - 3]
