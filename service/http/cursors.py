"""Cursors: where a list goes on, as a text that means nothing to its reader."""

import base64
from collections.abc import Mapping
from hashlib import sha256

import orjson

from service.http.problems import HttpProblem

_MARK_BYTES = 6


def write_cursor(place: str | int, filters: Mapping[str, object]) -> str:
    """Return the place as a cursor, which is good for a list with these filters and no other."""
    return base64.urlsafe_b64encode(orjson.dumps([_mark(filters), place])).decode().rstrip("=")


def read_cursor(cursor: str, filters: Mapping[str, object]) -> str | int:
    """Return the cursor's place. Raises HttpProblem for one that is not of a list with these filters."""
    try:
        mark, place = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError):
        raise _malformed() from None
    if mark != _mark(filters) or type(place) not in (str, int):
        raise _malformed()
    return place if isinstance(place, str) else int(place)


def _malformed() -> HttpProblem:
    return HttpProblem(
        400, "malformed-cursor", "Send `next` of the page before as cursor, with the same parameters as for that page."
    )


def _mark(filters: Mapping[str, object]) -> str:
    """Return a short digest of the filters, so that no cursor goes on in another list unnoticed."""
    return sha256(orjson.dumps(filters, option=orjson.OPT_SORT_KEYS)).hexdigest()[: 2 * _MARK_BYTES]
