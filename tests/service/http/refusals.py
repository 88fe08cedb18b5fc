"""Assertions on refusals: a 4xx, a problem document, nothing stored."""

from typing import Any

from service.db.pool import Pool
from tests.running import RunningService
from tests.service import stored


def is_problem(status: int, body: Any, *expected: int) -> None:
    assert status in expected, body
    assert isinstance(body, dict), body
    assert body["type"].startswith("urn:portone-orders:problem:")
    assert body["status"] == status
    assert body["title"]
    assert isinstance(body["detail"], str)
    assert 0 < len(body["detail"]) < 1000


async def refused(service: RunningService, method: str, path: str, *expected: int, **options: Any) -> None:
    async with service.session.request(method, service.url + path, allow_redirects=False, **options) as answer:
        assert answer.content_type == "application/problem+json", (answer.status, await answer.text())
        is_problem(answer.status, await answer.json(), *(expected or (400,)))


async def nothing_stored(pool: Pool) -> None:
    stored_rows = {name: await stored.count(pool, name) for name in ("notices", "orders", "payments", "order_events")}
    assert stored_rows == dict.fromkeys(stored_rows, 0)
