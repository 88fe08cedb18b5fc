"""An older answer never replaces a newer one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from service.domain.payment import Payment, Status, Store
from service.domain.staleness import Lesser, Look, StoredLook, Verdict, assess

NOW = datetime(2026, 11, 1, tzinfo=UTC)
READY = Payment("imp_1", "order-1", Store("default"), Status.READY, 64900, "KRW")
PAID = replace(READY, status=Status.PAID, paid_at=NOW)


def test_more_progress_is_always_stored() -> None:
    """More progress is stored even from a look that began before the stored one was written."""
    assert assess(StoredLook(READY, 10), Look(PAID, 1), NOW) is Verdict.STORE


def test_a_late_lesser_answer_is_dropped() -> None:
    """Less progress from a look that began before the stored one was written is dropped."""
    assert assess(StoredLook(PAID, 10), Look(READY, 9), NOW) is Verdict.LATE


def test_a_regression_is_kept_out_until_it_is_confirmed() -> None:
    """A lesser answer is stored once the same answer comes again at least 60 s later."""
    assert assess(StoredLook(PAID, 10), Look(READY, 11), NOW) is Verdict.KEEP_OUT
    stored = StoredLook(PAID, 10, Lesser(READY, NOW, 12))
    assert assess(stored, Look(READY, 13), NOW + timedelta(seconds=59)) is Verdict.KEEP_OUT
    assert assess(stored, Look(READY, 13), NOW + timedelta(seconds=60)) is Verdict.STORE
    assert assess(stored, Look(PAID, 13), NOW) is Verdict.RECOVERED


def test_equal_progress_with_other_facts_is_stored_only_from_a_later_look() -> None:
    """Other facts with equal progress are stored only from a look that began after the write."""
    other = replace(PAID, details=(("receipt_url", "https://example.test/r"),))
    assert assess(StoredLook(PAID, 10), Look(other, 11), NOW) is Verdict.STORE
    assert assess(StoredLook(PAID, 10), Look(other, 9), NOW) is Verdict.LATE
