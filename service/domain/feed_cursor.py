"""Cursors of the feed: an event's id as followers keep it, opaque. `evt_0` stands before the first event."""

import re

_CURSOR = re.compile(r"evt_(0|[1-9a-f][0-9a-f]{0,14})")


def cursor_of(event_id: int) -> str:
    """Return the cursor that stands just after this event. It also names the event."""
    return f"evt_{event_id:x}"


def read_cursor(text: str) -> int | None:
    """Return the event's id, or None if the text is no cursor."""
    match = _CURSOR.fullmatch(text)
    return int(match[1], 16) if match else None
