"""The rate of traces holds under load, and all processes keep the same traces."""

from uuid import UUID

from service.notice_ids import new_notice_id
from service.trace_rate import TraceRate


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(rate: TraceRate, clock: Clock, seconds: int, batches: int, notices: int) -> list[list[UUID]]:
    """Count batches for some seconds, and return the ids that were kept in each second."""
    by_second: list[list[UUID]] = []
    for _ in range(seconds):
        by_second.append([])
        for _ in range(batches):
            clock.now += 1 / batches
            ids = [new_notice_id() for _ in range(notices)]
            rate.count(notices)
            by_second[-1] += [notice_id for notice_id in ids if rate.keeps(notice_id)]
    return by_second


def test_everything_is_kept_below_the_rate() -> None:
    """A hundred notices a second, also in one batch, are all kept."""
    clock = Clock()
    for batches, notices in ((1, 100), (100, 1)):
        seconds = kept(TraceRate(100.0, clock), clock, 5, batches, notices)
        assert [len(ids) for ids in seconds] == [100] * 5


def test_under_load_about_the_rate_is_kept() -> None:
    """Of five thousand notices a second about a hundred are kept, and in the first second not many more."""
    clock = Clock()
    first, *rest = kept(TraceRate(100.0, clock), clock, 6, 100, 50)
    assert len(first) < 1_000
    assert all(40 < len(ids) < 200 for ids in rest)


def test_after_load_everything_is_kept_again() -> None:
    """When the load is over, nothing is left out for longer than a second."""
    clock = Clock()
    rate = TraceRate(100.0, clock)
    kept(rate, clock, 3, 100, 50)
    *_, last = kept(rate, clock, 4, 10, 1)
    assert len(last) == 10


def test_processes_keep_the_same_traces() -> None:
    """A receiver that counts each notice and a worker that counts batches keep nearly the same ones."""
    clock = Clock()
    receiver, worker = TraceRate(100.0, clock), TraceRate(100.0, clock)
    both = either = 0
    for _ in range(300):
        clock.now += 0.01
        ids = [new_notice_id() for _ in range(50)]
        keeps = []
        for rate in (receiver, worker):
            if rate is receiver:
                for _ in ids:
                    rate.count(1)
            else:
                rate.count(len(ids))
            keeps.append({notice_id for notice_id in ids if rate.keeps(notice_id)})
        both += len(keeps[0] & keeps[1])
        either += len(keeps[0] | keeps[1])
    assert both > 0.9 * either > 0
