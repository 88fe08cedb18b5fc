"""A reader who has an order's version is answered 304 (RFC 9110 §13.1.2)."""

import pytest

from tests.running import RunningService, bearer

PATH = "/orders/order-1"


async def _read(service: RunningService, *tags: str, method: str = "GET") -> tuple[int, str | None, int]:
    """Read order-1; return the status, the ETag and the length of the body."""
    headers = [*bearer().items(), *(("If-None-Match", tag) for tag in tags)]
    async with service.session.request(method, service.url + PATH, headers=headers) as answer:
        return answer.status, answer.headers.get("ETag"), len(await answer.read())


@pytest.mark.parametrize(
    "tags",
    [
        ('"1"',),
        ('W/"1"',),
        ("*",),
        ('"7", "1"',),
        ('"7","1"',),
        (', "1",, "9" ,',),
        ('"7"', '"1"'),
        ('"a,b", "1"',),
    ],
)
async def test_who_has_the_version_gets_no_body(receiver: RunningService, tags: tuple[str, ...]) -> None:
    """One of several tags, strong or weak, in one header or many, or `*`, is answered 304 with the ETag."""
    await receiver.register("order-1")
    assert await _read(receiver, *tags) == (304, '"1"', 0)
    assert await _read(receiver, *tags, method="HEAD") == (304, '"1"', 0)


@pytest.mark.parametrize("tag", ['"2"', '""', '"01"', '"1 "', '"0"', '"99999999999999999999"', '"*"', '"١"'])
async def test_another_version_is_answered_whole(receiver: RunningService, tag: str) -> None:
    """A tag that is not the order's own is answered with the order."""
    await receiver.register("order-1")
    status, etag, length = await _read(receiver, tag)
    assert (status, etag) == (200, '"1"')
    assert length > 0


@pytest.mark.parametrize("tags", ["1", "abc", '"1', '1"', '"1" "2"', 'w/"1"', '*, "1"', "W/1"])
async def test_what_is_no_tag_is_refused(receiver: RunningService, tags: str) -> None:
    """A header without quotes is refused in one sentence, because a reader would never be answered 304."""
    await receiver.register("order-1")
    status, body = await receiver.call("GET", PATH, headers=bearer() | {"If-None-Match": tags})
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:malformed-if-none-match")


async def test_a_changed_order_is_answered_whole(receiver: RunningService) -> None:
    """Once the order has another version, its reader gets it."""
    await receiver.register("order-1")
    headers = bearer() | {"If-Match": '"1"'}
    assert (await receiver.call("PATCH", PATH, json={"amount": 100}, headers=headers))[0] == 200
    assert (await _read(receiver, '"1"'))[:2] == (200, '"2"')
    assert await _read(receiver, '"2"') == (304, '"2"', 0)


async def test_an_unknown_order_is_not_304(receiver: RunningService) -> None:
    """Without a key, or for a number that nobody registered, `*` is answered as without the header."""
    assert (await _read(receiver, "*"))[0] == 404
    status, _ = await receiver.call("GET", PATH, headers={"If-None-Match": "*"})
    assert status == 401
