"""The waits between the attempts at a delivery, and when there are no more."""

from datetime import timedelta

from service.domain.delivery import DeliveryAttempt, is_down, patience_seconds, wait_before, wait_for_probe
from service.domain.timetable import Timetable

_SCHEDULE = Timetable().deliveries
_NOT = timedelta()


def test_the_schedule_lasts_three_days() -> None:
    """The waits grow, and are two and a half to three days together even with the least and the most jitter."""
    assert list(_SCHEDULE) == sorted(_SCHEDULE)
    for chance in (0.0, 0.5, 1.0):
        waits = [wait_before(_SCHEDULE, tries, chance, _NOT) for tries in range(1, len(_SCHEDULE) + 1)]
        total = sum((wait for wait in waits if wait), timedelta())
        assert timedelta(days=2.3) < total < timedelta(days=3.7)


def test_a_delivery_is_given_up_after_the_last_wait() -> None:
    """One attempt more than there are waits, and the delivery is given up."""
    assert wait_before(_SCHEDULE, len(_SCHEDULE), 0.5, _NOT) == _SCHEDULE[-1]
    assert wait_before(_SCHEDULE, len(_SCHEDULE) + 1, 0.5, _NOT) is None


def test_retry_after_is_heeded_within_bounds() -> None:
    """A longer wait that the endpoint asks for is taken, but never beyond the schedule's longest."""
    assert wait_before(_SCHEDULE, 1, 0.5, timedelta(minutes=5)) == timedelta(minutes=5)
    assert wait_before(_SCHEDULE, 1, 0.5, timedelta(days=90)) == _SCHEDULE[-1]
    assert wait_before(_SCHEDULE, 1, 0.5, timedelta(seconds=1)) == _SCHEDULE[0]


def test_only_2xx_is_delivered() -> None:
    """A redirect, an error and no answer are failures; 410 asks for no more."""
    delivered = [status for status in (None, 100, 199, 200, 204, 299, 300, 307, 404, 410, 500)
                 if DeliveryAttempt(status, 0.1).is_delivered]  # fmt: skip
    assert delivered == [200, 204, 299]
    assert DeliveryAttempt(410, 0.1).is_gone


def test_probes_come_further_apart_the_longer_it_is_down() -> None:
    """Ten failures in a row make an endpoint down; its probes are a second to a minute apart."""
    assert [is_down(9), is_down(10)] == [False, True]
    first, last = timedelta(seconds=1), timedelta(minutes=1)
    waits = [wait_for_probe(timedelta(seconds=failing), first, last) for failing in (0, 100, 100_000)]
    assert waits == [first, timedelta(seconds=10), last]


def test_a_delivery_is_slow_beside_its_neighbours() -> None:
    """A quick endpoint's turn waits a quarter of a second for one that stalls; a slow endpoint's waits for all."""
    assert patience_seconds([]) == 1.0
    assert patience_seconds([0.005] * 100) == 0.25
    assert patience_seconds([0.4, 0.6]) == 2.0
    assert patience_seconds([9.0]) == 3.0
