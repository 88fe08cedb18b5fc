"""The outcomes of a window: PortOne's own state, the webhooks, and the order in which things happen."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.browser import confirmation
from tests.sandbox.browser.conftest import PageCaller
from tests.sandbox.conftest import Shop

SENTENCE = "고객사 요청에 의해 결제를 중단합니다. (상세사유 : {})"


@dataclass
class Confirmer:
    """A shop's confirm_url."""

    url: str = ""
    status: int = 200
    body: bytes = b""
    questions: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.questions.put_nowait(await request.json())
        await self.answers.wait()
        return web.Response(status=self.status, body=self.body)


@pytest.fixture
async def confirmer() -> AsyncIterator[Confirmer]:
    confirmer = Confirmer()
    confirmer.answers.set()
    app = web.Application()
    app.router.add_post("/confirm", confirmer.answer)
    server = TestServer(app)
    await server.start_server()
    confirmer.url = str(server.make_url("/confirm"))
    yield confirmer
    confirmer.answers.set()
    await server.close()


async def quiet(page: PageCaller) -> list[dict[str, Any]]:
    """Wait until nothing is to come any more; the webhooks so far."""
    sent: dict[str, Any] = {"waiting": 1}
    while sent["waiting"]:
        sent = (await page.caller.control("webhooks", "GET")).content
    deliveries: list[dict[str, Any]] = sent["deliveries"]
    return deliveries


@pytest.mark.parametrize(
    ("outcome", "status", "webhooks"),
    [
        ("paid", "paid", ["paid"]),
        ("vbank_issued", "ready", ["ready"]),
        ("failed", "failed", []),
        ("closed", "failed", []),
        ("tampered_amount", "paid", ["paid"]),
        ("tampered_currency", "paid", ["paid"]),
        ("test_channel", "paid", ["paid"]),
        ("slow", "paid", ["paid"]),
        ("paid_without_webhook", "paid", []),
        ("webhook_first", "paid", ["paid"]),
        ("callback_first", "paid", ["paid"]),
        ("paid_then_refunded", "cancelled", ["paid", "cancelled"]),
    ],
)
async def test_each_outcome_has_its_status_and_webhooks(
    page: PageCaller, outcome: str, status: str, webhooks: list[str]
) -> None:
    """V1 has this status in the end, and the shop was sent these webhooks."""
    await page.caller.control("window", later_seconds=0)
    await page.end(outcome)
    assert [delivery["status"] for delivery in await quiet(page)] == webhooks
    assert (await page.payment())["status"] == status


async def test_portone_does_not_wait_for_the_webhook_before_the_callback(page: PageCaller, shop: Shop) -> None:
    """With webhook priority the callback comes after the webhook's answer."""
    shop.answers.clear()
    assert (await page.end("paid"))["status"] == "paid"
    await shop.next()
    first = asyncio.create_task(page.end("webhook_first", {"merchant_uid": "order-2"}))
    await shop.next()
    assert not first.done()
    shop.answers.set()
    assert (await first)["status"] == "paid"


async def test_a_late_webhook_comes_after_the_callback(page: PageCaller, shop: Shop) -> None:
    """A slow approval is not yet made when the browser is told."""
    await page.caller.control("window", later_seconds=600)
    assert (await page.end("callback_first"))["status"] == "paid"
    assert (await page.end("slow", {"merchant_uid": "order-2"}))["status"] == "ready"
    assert shop.so_far() == []
    assert [payment["status"] for payment in await page.payments()] == ["paid", "ready"]


async def test_a_tampered_amount_or_currency_is_what_portone_was_paid(page: PageCaller) -> None:
    """The payment differs from what the shop meant."""
    await page.end("tampered_amount")
    await page.end("tampered_currency", {"merchant_uid": "order-2"})
    first, second = await page.payments()
    assert (first["amount"], first["currency"]) == (100, "KRW")
    assert (second["amount"], second["currency"]) == (64900, "USD")


async def test_a_prepared_amount_cannot_be_tampered_with(page: PageCaller) -> None:
    """PortOne would not have opened that window: the failure has no imp_uid, and the payment stays ready."""
    await page.caller.call("POST", "/payments/prepare", json={"merchant_uid": "order-1", "amount": 64900})
    told = await page.end("tampered_amount")
    assert (told["success"], told["imp_uid"]) == (False, None)
    assert (await page.payment())["status"] == "ready"


async def test_a_test_channels_payment_is_hidden_as_v1_hides_it(page: PageCaller) -> None:
    """`sandbox` is true, and the single look is 404 without include_sandbox."""
    imp_uid = (await page.end("test_channel"))["imp_uid"]
    assert (await page.payment())["sandbox"] is True
    assert (await page.caller.v1(f"/payments/{imp_uid}")).status == 404
    assert (await page.caller.v1(f"/payments/{imp_uid}?include_sandbox=true")).status == 200


async def test_a_window_ends_once(page: PageCaller) -> None:
    """A second choice changes nothing and gets the first's result."""
    window = await page.open()
    first = await asyncio.gather(*(page.choose(window, outcome) for outcome in ("paid", "failed", "closed")))
    assert first[0] == first[1] == first[2]
    assert (await page.payment())["status"] == "paid"


async def test_an_account_is_paid_into_later(page: PageCaller, shop: Shop) -> None:
    """On the deposit page, which also lists the accounts that wait; the shop is told."""
    imp_uid = (await page.end("vbank_issued", {"pay_method": "vbank"}))["imp_uid"]
    waiting = (await page.caller.call("GET", "/v1/deposits/all/state")).content["accounts"]
    assert [account["imp_uid"] for account in waiting] == [imp_uid]
    paid = await page.caller.call("POST", f"/v1/deposits/{imp_uid}", json={})
    assert (paid.status, paid.content["status"]) == (200, "paid")
    assert [(await shop.next()).body["status"] for _ in range(2)] == ["ready", "paid"]
    again = await page.caller.call("POST", f"/v1/deposits/{imp_uid}", json={})
    assert (again.status, again.content["error"][-1]) == (409, ".")
    assert (await page.caller.call("GET", "/v1/deposits/all/state")).content["accounts"] == []


@pytest.mark.parametrize("outcome", ["paid", "slow", "webhook_first", "tampered_amount", "test_channel"])
async def test_confirm_url_is_asked_just_before_the_approval(
    page: PageCaller, confirmer: Confirmer, outcome: str
) -> None:
    """The question has imp_uid, merchant_uid and amount, and 200 approves."""
    await page.caller.control("window", later_seconds=0)
    confirmer.answers.clear()
    ending = asyncio.create_task(page.end(outcome, {"confirm_url": confirmer.url}))
    question = await asyncio.wait_for(confirmer.questions.get(), 20)
    payment = await page.payment()
    assert question == {"imp_uid": payment["imp_uid"], "merchant_uid": "order-1", "amount": payment["amount"]}
    assert payment["status"] == "ready"
    confirmer.answers.set()
    assert (await ending)["success"] is True
    await quiet(page)
    assert (await page.payment())["status"] == "paid"


@pytest.mark.parametrize("outcome", ["failed", "closed", "vbank_issued"])
async def test_confirm_url_is_asked_for_approvals_only(page: PageCaller, confirmer: Confirmer, outcome: str) -> None:
    """An outcome that takes no money asks nothing."""
    await page.end(outcome, {"confirm_url": confirmer.url})
    assert confirmer.questions.empty()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, '{"reason": "재고가 없습니다"}', "재고가 없습니다"),
        (400, '{"reason": ""}', "알 수 없음"),
        (404, "<html>", "알 수 없음"),
        (503, "[]", "알 수 없음"),
        (302, '{"reason": 5}', "알 수 없음"),
        (204, "", "알 수 없음"),
    ],
)
async def test_what_confirm_url_refuses_fails_with_its_reason_in_a_sentence(
    page: PageCaller, confirmer: Confirmer, status: int, body: str, reason: str
) -> None:
    """Anything but 200; without a reason it is unknown. No webhook tells of it."""
    confirmer.status, confirmer.body = status, body.encode()
    told = await page.end("paid", {"confirm_url": confirmer.url})
    payment = await page.payment()
    assert (told["success"], told["imp_uid"], told["error_msg"]) == (False, payment["imp_uid"], SENTENCE.format(reason))
    assert (payment["status"], payment["fail_reason"]) == ("failed", SENTENCE.format(reason))
    assert await quiet(page) == []


async def test_a_confirm_url_that_does_not_answer_in_time_fails_the_payment(
    page: PageCaller, confirmer: Confirmer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds at PortOne's; the reason is unknown."""
    assert confirmation.CONFIRM_WITHIN_SECONDS == 10
    monkeypatch.setattr(confirmation, "CONFIRM_WITHIN_SECONDS", 0.05)
    confirmer.answers.clear()
    told = await page.end("paid", {"confirm_url": confirmer.url})
    assert told["error_msg"] == SENTENCE.format("알 수 없음")
    assert (await page.payment())["status"] == "failed"


async def test_a_payment_that_a_test_moves_meanwhile_ends_its_window_in_a_failure(page: PageCaller) -> None:
    """The control API's move stands, and the window says why its own cannot be made."""
    window = await page.open()
    await page.caller.control(f"payments/{(await page.payment())['imp_uid']}/pay")
    told = await page.choose(window, "paid")
    assert (told["success"], told["error_code"]) == (False, "SANDBOX_REFUSED")


async def test_the_autopilot_is_set_read_and_cleared(page: PageCaller) -> None:
    """`POST /_control/window`; a reset clears it too."""
    window = await page.open()

    async def autopilot() -> Any:
        return (await page.caller.call("GET", f"/v1/windows/{window}/state")).content["autopilot"]

    assert await autopilot() is None
    assert (await page.caller.control("window", outcome="slow", later_seconds=1)).content == {
        "outcome": "slow",
        "later_seconds": 1,
    }
    assert await autopilot() == "slow"
    assert (await page.caller.control("window", outcome=None)).content["outcome"] is None
    assert await autopilot() is None
    await page.caller.control("window", outcome="paid")
    await page.caller.control("reset")
    known = (await page.caller.control("window", "GET")).content
    assert known == {"outcome": None, "later_seconds": 3.0, "windows": []}


@pytest.mark.parametrize("body", [{"outcome": "won"}, {"outcome": 1}, {"later_seconds": -1}, {"later": 1}])
async def test_a_wrong_autopilot_is_one_sentence(page: PageCaller, body: dict[str, Any]) -> None:
    """400, and nothing is set."""
    refused = await page.caller.control("window", **body)
    assert (refused.status, refused.content["error"][-1]) == (400, ".")
    assert (await page.caller.control("window", "GET")).content["outcome"] is None


async def test_the_control_api_shows_the_windows(page: PageCaller) -> None:
    """With what the page asked for, and what it was told."""
    told = await page.end("paid", {"m_redirect_url": "/back"})
    (window,) = (await page.caller.control("window", "GET")).content["windows"]
    assert (window["params"]["amount"], window["provider"], window["callback"]) == (64900, "html5_inicis", told)
    assert window["return_url"].startswith("http://localhost:3000/back?imp_uid=imp_")
