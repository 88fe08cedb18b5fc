"""Strangers' work is bounded where they cause it (docs/design.md §2.13): the bounds that have no test elsewhere."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from service.db import notices, promise
from service.db.pool import Pool, in_transaction
from service.domain.judgement import Unanswered
from service.domain.notice import Notice, OpenNotice, Source
from service.domain.payment import Store
from service.http.connection import HEAD_LINE_MAX_BYTES
from service.notice_ids import new_notice_id
from service.redis.budget import Lane
from service.usecases.verification import Answers, Verifier
from tests.running import RunningService, until
from tests.service import stored

DEFAULT, SLOW = Store("default"), Store("slow")


class Unlimited:
    """A budget without limits."""

    async def take(self, lane: Lane, wait_seconds: float = 0.0, account: str = "") -> bool:
        return True


class Knows:
    """A PortOne that knows no payment, and answers when it is let go."""

    def __init__(self) -> None:
        self.go_on, self.asked = asyncio.Event(), 0

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        self.asked += 1
        await self.go_on.wait()
        return None

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        raise AssertionError("each look is of one payment")


def _open(store: Store) -> OpenNotice:
    notice = Notice(new_notice_id(), Source.WEBHOOK, "imp_1", "order-1")
    return OpenNotice(notice.id, notice.source, True, "imp_1", store, None, "paid", 1, 0, timedelta())


async def _look(verifier: Verifier, store: Store) -> list[Answers]:
    return [answers async for answers in verifier.look([_open(store)])]


async def test_a_slow_account_leaves_places_to_the_others(pool: Pool) -> None:
    """Of twenty looks of an account that does not answer six are made, and the other account is asked all the while."""
    slow, quick = Knows(), Knows()
    quick.go_on.set()
    verifier = Verifier(pool, {"slow": slow, "default": quick}, Unlimited())  # type: ignore[arg-type]
    looks = [asyncio.create_task(_look(verifier, SLOW)) for _ in range(20)]
    await asyncio.sleep(0)
    [answers] = await _look(verifier, DEFAULT)
    assert answers.results == {"imp_1": None}

    async def fourteen_are_done() -> bool:
        return sum(look.done() for look in looks) == 14

    await until(fourteen_are_done)
    refused = [answers for look in looks if look.done() for answers in look.result()]
    assert slow.asked == 6
    assert all(isinstance(answers.results["imp_1"], Unanswered) for answers in refused)
    slow.go_on.set()
    await asyncio.gather(*looks)


async def test_what_was_parked_long_ago_is_pruned(pool: Pool) -> None:
    """A thousand old parked notices of a registered order go in small batches, and what is open or young stays."""
    await stored.register_order(pool, "order-1")
    await pool.execute(
        "INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, received_at, parked_at, last_outcome)"
        " SELECT gen_random_uuid(), 'webhook', 'imp_' || n, 'order-1', true, now() - interval '40 days',"
        " now() - make_interval(days => CASE WHEN n > 1000 THEN 29 ELSE 40 END), 'payment_unknown'"
        " FROM generate_series(1, 1010) AS n"
    )
    await pool.execute(
        "INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, received_at, due_at)"
        " VALUES (gen_random_uuid(), 'webhook', 'imp_open', 'order-1', true, now() - interval '40 days', now())"
    )
    keep = timedelta(days=30)
    batches = [await in_transaction(pool, notices.prune, keep, keep, 300) for _ in range(5)]
    assert (sum(batches), max(batches), batches[-1]) == (1000, 300, 0)
    assert await stored.count(pool, "notices") == 11


async def test_counting_the_promise_reads_a_bounded_number_of_rows(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of parked notices ends at its bound, however many there are."""
    monkeypatch.setattr(promise, "COUNTED_MAX", 100)
    await pool.execute(
        "INSERT INTO notices (id, source, imp_uid, registered, parked_at, last_outcome)"
        " SELECT gen_random_uuid(), 'webhook', 'imp_' || n, true, now(), 'payment_unknown'"
        " FROM generate_series(1, 1000) AS n"
    )
    async with pool.acquire() as db:
        assert (await promise.measure(db, [DEFAULT])).parked_notices == 100


@pytest.mark.parametrize("part", ["line", "header"])
async def test_a_head_that_is_too_long_is_refused(receiver: RunningService, part: str) -> None:
    """A head with a line beyond the bound is answered 400, and its connection is closed."""
    long = b"x" * (HEAD_LINE_MAX_BYTES + 100)
    head = b"GET /%b HTTP/1.1\r\n" % long if part == "line" else b"GET / HTTP/1.1\r\nX: %b\r\n" % long
    parts = urlsplit(receiver.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head + b"Host: x\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.split(b" ")[1] == b"400"
