"""A follower goes on where it was, and handles every event at least once."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from portone_orders_client import Event, EventPage, FileCursor
from portone_orders_client.following import follow

AT = datetime(2026, 11, 27, tzinfo=UTC)


def event(number: int) -> Event:
    return Event(
        id=str(number),
        type="order.paid",
        merchant_uid=f"order-{number}",
        version=2,
        state="paid",
        closed=None,
        amount=100,
        currency="KRW",
        paid_amount=100,
        cancelled_amount=0,
        imp_uid="imp_1",
        problems=(),
        at=AT,
    )


class Feed:
    """A feed of numbered events, two to a page."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers
        self.asked: list[str | None] = []

    async def read(self, after: str | None) -> EventPage:
        self.asked.append(after)
        page = [number for number in self.numbers if number > int(after or 0)][:2]
        return EventPage(events=tuple(map(event, page)), next=str(page[-1] if page else 99))


async def handled(feed: Feed, store: FileCursor, count: int, start: str | None = None) -> list[str]:
    """Handle this many events, and be killed in the midst of the next."""
    ids: list[str] = []
    events = follow(feed.read, store, start)
    async for each in events:
        if len(ids) == count:
            break
        ids.append(each.id)
    await events.aclose()
    return ids


async def test_a_follower_goes_on_after_the_last_event_that_it_handled(tmp_path: Path) -> None:
    """An event whose handling was cut short comes again; those before it do not."""
    feed, store = Feed([1, 2, 3, 4, 5]), FileCursor(tmp_path / "cursor")
    assert await handled(feed, store, 3) == ["1", "2", "3"]
    assert await handled(feed, store, 1) == ["4"]
    assert await store.load() == "4"


async def test_start_counts_only_while_nothing_is_stored(tmp_path: Path) -> None:
    """`start` is where a new follower begins; a stored cursor is stronger."""
    feed, store = Feed([1, 2, 3, 4]), FileCursor(tmp_path / "cursor")
    assert await handled(feed, store, 1, start="2") == ["3"]
    await handled(feed, store, 0, start="1")
    assert feed.asked == ["2", "3"]


async def test_what_was_filtered_out_is_passed_for_good(tmp_path: Path) -> None:
    """The cursor of an empty page is saved, so that a restart does not read what was passed again."""
    feed, store = Feed([]), FileCursor(tmp_path / "cursor")

    async def read(after: str | None) -> EventPage:
        if after == "99":
            raise KeyboardInterrupt
        return await feed.read(after)

    try:
        async for _ in follow(read, store, None):
            raise AssertionError
    except KeyboardInterrupt:
        pass
    assert await store.load() == "99"


async def test_a_cursor_file_is_whole_or_absent(tmp_path: Path) -> None:
    """Saving replaces the file; one without a cursor counts as none."""
    store = FileCursor(tmp_path / "cursor")
    assert await store.load() is None
    await store.save("12")
    await store.save("13")
    assert (await store.load(), os.listdir(tmp_path)) == ("13", ["cursor"])  # noqa: PTH208 - pathlib's blocks too
