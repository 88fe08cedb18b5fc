"""The age of an answer that a standby of Postgres gives (RFC 9111 §5.1), and how old a caller lets it be (§5.2.1)."""

import math
import re
from dataclasses import replace

from aiohttp import web

from service.http.endpoints import Header, Parameter

AGE = Header(
    "Age",
    "How many seconds old the answer may be. Without it the answer is as of now.",
    pattern="^[0-9]+$",
    required=False,
    example="2",
)
CACHE_CONTROL = Parameter(
    "Cache-Control",
    "header",
    str,
    "`no-cache` asks for an answer as of now, `max-age=2` for one that is at most 2 seconds old. It matters only where"
    " READ_DATABASE_URL lets standbys answer.",
    example="no-cache",
)
# Whoever decides by an order must not see an older one than an event has told: only who asks for less gets less.
OLD_ORDERS = replace(
    CACHE_CONTROL,
    description="`max-age=2` lets a standby answer that is at most 2 seconds old, where READ_DATABASE_URL names one."
    " Otherwise the answer is as of now.",
    example="max-age=2",
)
_MAX_AGE = re.compile(r'max-age\s*=\s*"?(\d{1,9})"?')


def age_max_seconds(request: web.Request, unless_said: float = math.inf) -> float:
    """Return how old the caller lets the answer be. What cannot be read is ignored, as the RFC has it."""
    directives = [part.strip().lower() for part in ",".join(request.headers.getall("Cache-Control", ())).split(",")]
    if "no-cache" in directives or "no-store" in directives:
        return 0.0
    return min((float(match[1]) for part in directives if (match := _MAX_AGE.fullmatch(part))), default=unless_said)


def age_headers(age_seconds: float) -> dict[str, str]:
    """Return the header that says how old an answer is; none for one that is as of now."""
    return {"Age": str(math.ceil(age_seconds))} if age_seconds else {}
