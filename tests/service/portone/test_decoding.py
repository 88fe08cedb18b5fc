"""One text that cannot be decoded hides no payment beside it (docs/portone.md §4.19)."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import orjson
import pytest
from aiohttp import web

from service.domain.payment import Payment, Store
from service.errors import UnreadableAnswer
from service.portone import looks
from service.portone.client import PortOne
from service.portone.decoding import REPLACEMENT, decode
from service.portone.looks import look
from tests.service.conftest import Logged
from tests.service.portone.test_payment import PAID

STORE = Store("default")
HALF = b'"\xec\x9d\x98\xec\x9e\x90 \\ud83d"'


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (HALF, f"의자 {REPLACEMENT}"),
        (b'"\xec\x9d\x98\xec\x9e"', f"의{REPLACEMENT}"),
        (b'"\\udca9\\ud83d"', REPLACEMENT * 2),
        (b'"\\ud83d\\udca9"', "\U0001f4a9"),
        (b'"a\x00\tb"', "a\x00\tb"),
        (b'\xef\xbb\xbf"a"', "a"),
    ],
)
def test_what_cannot_be_decoded_is_replaced(text: bytes, meaning: str) -> None:
    """Half a character, of bytes or of a surrogate pair, becomes the replacement character; the rest stays."""
    assert decode(b'{"name": %s, "amount": 64900}' % text if text[:1] == b'"' else text) in (
        {"name": meaning, "amount": 64900},
        meaning,
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code": 0, "response": {"imp_uid": imp_', b"[" * 100_000, b'"a'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """A body that is cut off, or no JSON at all, is refused with one kind of error."""
    with pytest.raises(ValueError, match=r".*"):
        decode(body)


class Poisoned:
    """PortOne on the wire, which answers these payments' raw JSON to every question."""

    def __init__(self, rows: dict[str, bytes]) -> None:
        self.rows = rows
        self.calls = 0

    async def token(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"code": 0, "response": {"access_token": "token", "now": 1_790_000_000, "expired_at": 1_790_001_800}}
        )

    async def payment(self, request: web.Request) -> web.Response:
        return self._answer(self.rows[request.match_info["imp_uid"]])

    async def payments(self, request: web.Request) -> web.Response:
        rows = b"[%s]" % b",".join(self.rows.values())
        is_ledger = request.path.endswith("/status/all")
        return self._answer(b'{"list": %s, "total": 3, "next": 0}' % rows if is_ledger else rows)

    def _answer(self, response: bytes) -> web.Response:
        self.calls += 1
        body = b'{"code": 0, "message": null, "response": %s}' % response
        return web.Response(body=body, content_type="application/json")


@asynccontextmanager
async def _asking(poisoned: Poisoned) -> AsyncIterator[PortOne]:
    app = web.Application()
    app.router.add_post("/users/getToken", poisoned.token)
    app.router.add_get("/payments", poisoned.payments)
    app.router.add_get("/payments/status/all", poisoned.payments)
    app.router.add_get("/payments/{imp_uid}", poisoned.payment)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    portone = PortOne(f"http://127.0.0.1:{runner.addresses[0][1]}", "key", "secret")
    try:
        yield portone
    finally:
        await portone.close()
        await runner.cleanup()


def _row(imp_uid: str, **fields: Any) -> bytes:
    return orjson.dumps(PAID | {"imp_uid": imp_uid, **fields})


def _with_half_a_name(imp_uid: str) -> bytes:
    return _row(imp_uid, name="NAME").replace(b'"NAME"', HALF)


async def test_one_unreadable_row_poisons_no_page() -> None:
    """With half a character in one of ten payments, all ten are read: one by one, in a batch, and in the ledger."""
    rows = {f"imp_{number}": _row(f"imp_{number}") for number in range(9)} | {"imp_9": _with_half_a_name("imp_9")}
    async with _asking(Poisoned(rows)) as portone:
        answers = await look(portone, list(rows), STORE)
        assert {type(answer) for answer in answers.values()} == {Payment}
        assert isinstance((await look(portone, ["imp_9"], STORE))["imp_9"], Payment)
        page = await portone.ledger("", 1)
        assert [row["imp_uid"] for row in page.payments if isinstance(row, dict)] == list(rows)


async def test_a_row_that_is_no_payment_harms_no_neighbour(logged: Callable[[ModuleType], Logged]) -> None:
    """A row of another shape is left out, and one without an amount is named in the log by imp_uid and field alone."""
    odd = {"null": b"null", "list": b'[{"imp_uid": 1}]'}
    rows = {"imp_1": _row("imp_1"), "imp_2": _row("imp_2", amount="육만 원"), **odd}
    lines = logged(looks)
    async with _asking(Poisoned(rows)) as portone:
        answers = await look(portone, ["imp_1", "imp_2"], STORE)
    assert isinstance(answers["imp_1"], Payment)
    assert not isinstance(answers["imp_2"], Payment)
    [line] = lines.of("payment.unreadable")
    assert line["imp_uid"] == "imp_2"
    assert "amount" in line["reason"]
    assert "육만" not in str(line)


async def test_an_answer_that_came_never_opens_the_breaker() -> None:
    """However often PortOne's answer cannot be read, each question is asked: it is not taken for down."""
    poisoned = Poisoned({"imp_1": b'"no payment', "imp_2": _row("imp_2")})
    async with _asking(poisoned) as portone:
        for _ in range(12):
            with pytest.raises(UnreadableAnswer):
                await portone.payment("imp_1", "")
        assert isinstance((await look(portone, ["imp_2"], STORE))["imp_2"], Payment)
    assert poisoned.calls == 13


async def test_an_order_number_of_half_a_character_is_no_order_number() -> None:
    """A merchant_uid that was cut off within a character names no order: another one may be called so."""
    row = _row("imp_1", merchant_uid="NAME").replace(b'"NAME"', HALF)
    async with _asking(Poisoned({"imp_1": row})) as portone:
        assert not isinstance((await look(portone, ["imp_1"], STORE))["imp_1"], Payment)
