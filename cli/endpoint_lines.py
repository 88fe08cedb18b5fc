"""Write an endpoint and its attempts as lines for a person."""

from collections.abc import Iterator
from datetime import datetime

from cli.order_page import line_of
from service.db.endpoints import LATE_COUNTED_MAX, ShownAttempt, WebhookEndpoint
from service.domain.delivery import is_down
from service.domain.feed_cursor import cursor_of


def state(endpoint: WebhookEndpoint) -> str:
    """Return the endpoint's state in words."""
    if endpoint.disabled_at:
        return f"disabled since {_time(endpoint.disabled_at)}: {endpoint.disabled_why}"
    if endpoint.failing_since and is_down(endpoint.failures):
        return f"down since {_time(endpoint.failing_since)}"
    if endpoint.failing_since:
        return f"failing since {_time(endpoint.failing_since)}"
    return "ok"


def endpoint_line(endpoint: WebhookEndpoint) -> str:
    """Return an endpoint's line. Its parts are separated by two spaces."""
    parts = [endpoint.name, state(endpoint), endpoint.url, f"delivered {endpoint.delivered}"]
    if endpoint.late:
        parts.append(f"late {_late(endpoint)}")
    if endpoint.behind_seconds is not None:
        parts.append(f"behind {max(0.0, endpoint.behind_seconds):.0f} s")
    if endpoint.given_up:
        parts.append(f"given up {endpoint.given_up}")
    return "  ".join(parts)


def endpoint_lines(endpoint: WebhookEndpoint) -> Iterator[str]:
    """Yield a line for each fact of an endpoint."""
    yield f"{endpoint.name}: {state(endpoint)}"
    yield line_of("url", endpoint.url)
    yield line_of("types", ", ".join(endpoint.types) or "all")
    yield line_of("added", _time(endpoint.created_at))
    yield line_of("delivered", f"{endpoint.delivered}, the last {_last(endpoint)}")
    yield line_of("failed", f"{endpoint.failed} attempts, {endpoint.failures} since the last success")
    yield line_of("given up", str(endpoint.given_up))
    yield line_of("told to", f"{cursor_of(endpoint.told_to)}, but for {_late(endpoint)} late orders")
    if endpoint.old_secret_until:
        yield line_of("secrets", f"two; the older ends {_time(endpoint.old_secret_until)}")


def attempt_line(attempt: ShownAttempt) -> str:
    """Return an attempt's line: when, what about, what was answered and how soon."""
    about = f"{cursor_of(attempt.event_id)} of {attempt.merchant_uid}" if attempt.event_id else "a test"
    answer = str(attempt.status or "no answer")
    parts = [_time(attempt.at), about, answer, f"{attempt.seconds * 1000:.0f} ms", attempt.failure or ""]
    return "  " + "  ".join(part for part in parts if part)


def _late(endpoint: WebhookEndpoint) -> str:
    return f"{endpoint.late}{' or more' if endpoint.late == LATE_COUNTED_MAX else ''}"


def _last(endpoint: WebhookEndpoint) -> str:
    return _time(endpoint.delivered_at) if endpoint.delivered_at else "never"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
