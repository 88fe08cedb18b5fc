"""The timeline tells, live, why an order is what it is."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from sandbox.app import create_app
from sandbox.config import SandboxConfig, ShopConfig
from sandbox.shop import timeline
from sandbox.shop.order_watch import QUIET_SECONDS
from tests.ports import own_port
from tests.sandbox.shop.conftest import ShopCaller


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The kinds of events in the order in which they happened, without the scans, which come when they come."""
    happened = sorted(events, key=lambda event: (event["at"], event["number"]))
    return [event["kind"] for event in happened if event["kind"] != "portone.list"]


async def test_a_paid_order_is_told_from_its_registration_to_its_version(shop: ShopCaller) -> None:
    """Registration, PortOne's states, webhook, notice, look, decision and version come in the order of their times."""
    merchant_uid = await shop.order(good="cup")
    await shop.sandbox.pay(merchant_uid, 9500)
    events = await shop.until(merchant_uid, "order.version", state="paid")
    # The look may begin before the webhook's answer has come back.
    assert [kind for kind in kinds(events) if kind != "webhook.answered"] == [
        "order.registered",
        "order.version",
        "payment.changed",
        "payment.changed",
        "webhook.sent",
        "notice.recorded",
        "portone.look",
        "decision",
        "order.version",
    ]
    evidence = {event["kind"]: event["evidence"] for event in events}
    assert evidence["webhook.answered"]["answer_status"] == 200
    assert evidence["notice.recorded"]["source"] == "webhook"
    assert evidence["portone.look"]["payments"][0]["status"] == "paid"
    assert evidence["decision"]["payment"]["amount"] == 9500


async def test_a_call_and_its_answer_are_two_entries(shop: ShopCaller) -> None:
    """A webhook stands where it was sent, its answer where it came, and the notice between the two."""
    merchant_uid = await shop.order()
    await shop.sandbox.pay(merchant_uid, 64900)
    events = await shop.until(merchant_uid, "notice.recorded")
    sent, answered, recorded = (
        next(event for event in events if event["kind"] == kind)
        for kind in ("webhook.sent", "webhook.answered", "notice.recorded")
    )
    seconds = answered["evidence"]["seconds"]
    assert seconds > 0
    assert answered["at"] - sent["at"] == pytest.approx(seconds, abs=1e-4)
    assert sent["at"] == pytest.approx(recorded["at"], abs=1e-4)
    assert recorded["evidence"]["within_seconds"] == pytest.approx(seconds, abs=1e-4)


async def test_a_webhook_that_nobody_answers_says_so_when_it_is_over(shop: ShopCaller) -> None:
    """An address at which nobody listens is called, and the call ends without an answer and without a notice."""
    merchant_uid = await shop.order()
    shop.sandbox.send_webhooks_to(f"http://127.0.0.1:{own_port()}/nobody")
    await shop.sandbox.pay(merchant_uid, 64900)
    events = await shop.until(merchant_uid, "webhook.answered", answer_status=None)
    sent = next(event for event in events if event["kind"] == "webhook.sent")
    assert sent["evidence"]["outcome"] == "failed"
    assert events[-1]["at"] >= sent["at"]
    assert "notice.recorded" not in kinds(events)


async def test_a_notice_that_a_stored_look_answered_says_so(shop: ShopCaller) -> None:
    """A webhook that comes again when the order is paid brings no look, and an entry names the look that answers it."""
    merchant_uid = await shop.order()
    paid = await shop.sandbox.pay(merchant_uid, 64900)
    events = await shop.until(merchant_uid, "order.version", state="paid")
    await shop.sandbox.send_webhook(paid["imp_uid"])
    async with asyncio.timeout(QUIET_SECONDS + 20):
        events = await shop.until(merchant_uid, "notice.served")
    by_number = {event["number"]: event["kind"] for event in events}
    served = events[-1]["evidence"]
    assert (by_number[served["notice"]], by_number[served["look"]]) == ("notice.recorded", "portone.look")


async def test_a_webhook_that_was_lost_shows_no_notice(shop: ShopCaller) -> None:
    """A dropped webhook and a completion call that was turned away record nothing, and the timeline says so."""
    merchant_uid = await shop.order()
    await shop.sandbox.faults(webhook_drop=True)
    await shop.sandbox.pay(merchant_uid, 64900)
    await shop.report(merchant_uid, "page.completion_answered", answer_status=429)
    events = await shop.until(merchant_uid, "page.completion_answered")
    assert [event["evidence"]["outcome"] for event in events if event["kind"] == "webhook.sent"] == ["dropped"]
    assert "notice.recorded" not in kinds(events)


async def test_a_completion_call_is_a_notice_too(shop: ShopCaller) -> None:
    """The timeline tells the page's own call, whose answer shows that the service recorded a notice."""
    merchant_uid = await shop.order()
    await shop.report(merchant_uid, "page.completion_answered", answer_status=200, answer={"state": "paid"})
    events = await shop.until(merchant_uid, "notice.recorded")
    assert events[-1]["evidence"]["source"] == "completion"


async def test_a_look_that_changes_nothing_is_told_as_such(shop: ShopCaller) -> None:
    """A second webhook of a paid order is looked at or not, but what was looked at is decided."""
    merchant_uid = await shop.order()
    opened = await shop.sandbox.open(merchant_uid, 64900)
    await shop.sandbox.send_webhook(opened["imp_uid"])
    async with asyncio.timeout(QUIET_SECONDS + 20):
        events = await shop.until(merchant_uid, "decision")
    assert events[-1]["evidence"]["changed"] is False
    assert [event["evidence"]["version"] for event in events if event["kind"] == "order.version"] == [1]


async def test_a_browser_that_connects_again_misses_nothing(shop: ShopCaller) -> None:
    """Last-Event-ID goes on behind it, also for a page that came later than the payment."""
    merchant_uid = await shop.order()
    await shop.sandbox.pay(merchant_uid, 64900)
    events = await shop.until(merchant_uid, "order.version", state="paid")
    async with shop.timeline(merchant_uid, after=events[2]["number"]) as coming:
        again = [await anext(coming) for _ in events[3:]]
    assert again == events[3:]


async def test_an_order_that_was_paid_before_anybody_watched_shows_its_payments(shop: ShopCaller) -> None:
    """For an order of one's own page, PortOne's states so far and the order's version are shown."""
    await shop.service.register("mine-1", 1000)
    await shop.sandbox.pay("mine-1", 1000)
    await shop.service.becomes("mine-1", state="paid")
    events = await shop.until("mine-1", "order.version")
    assert kinds(events) == ["payment.changed", "payment.changed", "order.version"]
    assert events[-1]["evidence"]["state"] == "paid"


async def test_a_return_by_redirect_is_a_notice_and_a_reload_is_not(shop: ShopCaller) -> None:
    """The service's redirect brings a state; the page then forgets it, and a page after a callback says `via`."""
    merchant_uid = await shop.order()
    for query in ("", "&state=paid&via=callback", "&state=pending&reason=too-many-calls", "&state=paid"):
        assert (await shop.call("GET", f"/return?merchant_uid={merchant_uid}{query}"))[0] == 200
    events = await shop.until(merchant_uid, "notice.recorded")
    assert kinds(events).count("page.returned") == 2
    assert events[-1]["evidence"]["source"] == "redirect"


async def test_a_quiet_stream_says_that_it_lives(shop: ShopCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment comes when no event does, so that no proxy closes the stream."""
    monkeypatch.setattr(timeline, "HEARTBEAT_SECONDS", 0.05)
    merchant_uid = await shop.order()
    async with shop.session.get(f"{shop.url}/api/orders/{merchant_uid}/events") as answer, asyncio.timeout(20):
        while await answer.content.readline() != b": still here\n":
            pass


async def test_streams_are_bounded_and_only_of_known_orders(shop: ShopCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown order is 404; more pages than the bound are 503."""
    assert (await shop.call("GET", "/api/orders/nobodys/events"))[0] == 404
    monkeypatch.setattr(timeline, "MOST_STREAMS", 1)
    merchant_uid = await shop.order()
    async with shop.timeline(merchant_uid) as coming:
        await anext(coming)
        assert (await shop.call("GET", f"/api/orders/{merchant_uid}/events"))[0] == 503


async def test_a_sandbox_that_stops_does_not_wait_for_its_pages() -> None:
    """An open stream ends with the sandbox, well before the time that a slow answer is given."""
    service = TestServer(_service_with_one_order())
    await service.start_server()
    config = SandboxConfig(shop=ShopConfig(str(service.make_url("")).rstrip("/"), "key"))
    runner = web.AppRunner(create_app(config), shutdown_timeout=60)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    address = f"http://{host}:{port}/shop/api/orders/order-1/events"
    async with asyncio.timeout(20), ClientSession() as session, session.get(address) as answer:
        await answer.content.readline()
        await runner.cleanup()
        await answer.read()
    await service.close()


def _service_with_one_order() -> web.Application:
    async def read(_request: web.Request) -> web.Response:
        return web.json_response({"merchant_uid": "order-1", "version": 1, "state": "pending"})

    app = web.Application()
    app.router.add_get("/orders/order-1", read)
    return app
