"""The steps of request_pay are those of PortOne's script: docs/portone.md §5."""

import json
import re
from typing import Any

import pytest

from tests.browser.merchant import STRICT_POLICY
from tests.browser.visitor import OPEN_FRAME, Visitor

BROKEN = "결제모듈 구동 중에 오류가 발생하였습니다. 페이지 새로고침 후 다시 시도해주세요.\n"


async def test_of_the_requests_before_the_channels_load_only_the_last_runs(desktop: Visitor) -> None:
    """Earlier requests are forgotten, without a callback."""
    await desktop.visit_plain_page()
    calls = "".join(
        f"IMP.request_pay({{ merchant_uid: 'order-{number}', amount: 1000 }}, (result) => results.push(result));"
        for number in (1, 2, 3)
    )
    await desktop.page.evaluate(f"window.results = []; IMP.init('imp00000000'); {calls}")
    await desktop.choose("paid")
    assert (await desktop.result())["merchant_uid"] == "order-3"
    assert [payment["merchant_uid"] for payment in await desktop.payments()] == ["order-3"]


async def test_defaults_are_filled_into_the_callers_own_object(desktop: Visitor) -> None:
    """merchant_uid, pay_method and request_id, none of which the callback repeats as its own."""
    await desktop.visit_ready_page()
    await desktop.request_pay(merchant_uid=None)
    await desktop.choose("paid")
    result = await desktop.result()
    params = await desktop.page.evaluate("params")
    assert re.fullmatch(r"nobody_\d{13}", params["merchant_uid"])
    assert re.fullmatch(r"req_\d{13}", params["request_id"])
    assert (params["pay_method"], result["merchant_uid"]) == ("card", params["merchant_uid"])


async def test_request_id_is_removed_before_the_callback(desktop: Visitor) -> None:
    """It is the SDK's own."""
    await desktop.visit_ready_page()
    await desktop.request_pay()
    await desktop.choose("paid")
    assert "request_id" not in await desktop.result()


@pytest.mark.parametrize("given", [{"amount": 0}, {"amount": "many"}, {"amount": None}, {"merchant_uid": "x" * 256}])
async def test_the_sdk_checks_no_parameter_and_the_server_refuses(desktop: Visitor, given: dict[str, Any]) -> None:
    """No window, no payment, and a callback without imp_uid."""
    await desktop.visit_ready_page()
    await desktop.request_pay(**given)
    result = await desktop.result()
    assert (result["success"], result["imp_uid"], desktop.dialogs) == (False, None, [])
    assert result["error_code"]
    assert result["error_msg"]
    assert await desktop.payments() == []


async def test_requests_go_to_the_frame_as_json_with_the_pages_address(desktop: Visitor) -> None:
    """`from` is iamport-sdk, `version` 1.2.0, and the parameters and location.href are in it."""
    await desktop.context.add_init_script(
        "window.heard = []; addEventListener('message', ({ data }) => heard.push(data));"
    )
    await desktop.visit_ready_page()
    await desktop.request_pay(pg="paypal_v2")  # its frame stays as it is beside the pop-up
    frame = desktop.page.frame_locator(OPEN_FRAME).locator("#focus")
    await frame.wait_for()
    heard = await frame.evaluate("window.heard")
    (message,) = [json.loads(one) for one in heard]
    assert (message["from"], message["version"], message["page_url"]) == ("iamport-sdk", "1.2.0", desktop.page.url)
    assert (message["params"]["merchant_uid"], message["params"]["amount"]) == ("order-1", 64900)


async def test_only_the_sandboxs_frames_are_answered_to(desktop: Visitor) -> None:
    """A message of another origin, or of the page itself, ends no window."""
    await desktop.visit_ready_page()
    await desktop.request_pay()
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    await desktop.page.evaluate(
        """() => {
            const data = { request_id: params.request_id, imp_uid: "imp_forged", merchant_uid: "order-1" };
            const message = JSON.stringify({ from: "iamport-core", action: "done", data });
            window.postMessage(message, "*");
            const origin = "https://evil.example";
            const event = new MessageEvent("message", { data: message, origin, source: window });
            window.dispatchEvent(event);
        }"""
    )
    await desktop.choose("paid")
    assert (await desktop.result())["imp_uid"] != "imp_forged"


async def test_the_callback_is_called_once_with_an_empty_this(desktop: Visitor) -> None:
    """It is not called again, whatever the window does afterwards."""
    await desktop.visit_ready_page()
    script = (
        "IMP.request_pay({merchant_uid: 'order-1', amount: 1000}, function () { (window.seen ??= []).push(this); })"
    )
    await desktop.page.evaluate(script)
    await desktop.window.locator("[data-outcome=paid]").dblclick()
    await desktop.page.wait_for_function("window.seen?.length")
    await desktop.page.locator(OPEN_FRAME).wait_for(state="detached")
    assert await desktop.page.evaluate("seen") == [{}]


async def test_an_exception_of_the_callback_is_only_logged(desktop: Visitor) -> None:
    """No alert, no uncaught error; the window closes all the same."""
    await desktop.visit_ready_page()
    await desktop.page.evaluate(
        "IMP.request_pay({merchant_uid: 'order-1', amount: 1000}, () => { throw new Error('from the page'); })"
    )
    await desktop.choose("paid")
    await desktop.page.locator(OPEN_FRAME).wait_for(state="detached")
    assert desktop.dialogs == []
    assert [error for error in desktop.errors if "from the page" in error] != []
    assert "from the page" not in desktop.errors  # which is how an uncaught one would be noted


async def test_the_promise_of_an_async_callback_is_ignored(desktop: Visitor) -> None:
    """The window closes though the promise never settles."""
    await desktop.visit_ready_page()
    await desktop.page.evaluate(
        "IMP.request_pay({merchant_uid: 'order-1', amount: 1000}, async () => { await new Promise(() => {}); })"
    )
    await desktop.choose("paid")
    await desktop.page.locator(OPEN_FRAME).wait_for(state="detached")
    assert desktop.dialogs == []


async def test_after_a_result_all_frames_are_fresh(desktop: Visitor) -> None:
    """The next request works, also when the callback itself makes it."""
    await desktop.visit_ready_page()
    await desktop.page.evaluate(
        """() => {
            window.results = [];
            const keep = (result) => results.push(result);
            IMP.request_pay({ merchant_uid: "order-1", amount: 1000 }, (result) => {
                keep(result);
                window.before = [...document.querySelectorAll(".imp-dialog iframe")];
                IMP.request_pay({ merchant_uid: "order-2", amount: 1000 }, keep);
            });
        }"""
    )
    await desktop.choose("failed")
    await desktop.page.wait_for_function("results.length === 1")
    await desktop.window.get_by_text("order-2").wait_for()
    assert await desktop.page.evaluate("before.every((frame) => !frame.isConnected)")
    await desktop.choose("paid")
    assert (await desktop.result(2))["merchant_uid"] == "order-2"


async def test_an_exception_inside_is_an_alert_without_a_callback(desktop: Visitor) -> None:
    """PortOne's sentence, with the reason in its second line."""
    await desktop.visit_ready_page()
    await desktop.page.wait_for_function("document.querySelectorAll('.imp-dialog iframe').length === 4")
    await desktop.page.evaluate("window.results = []; IMP.request_pay(null, (result) => results.push(result))")
    assert (await desktop.dialog()).startswith(BROKEN)
    assert await desktop.page.evaluate("results") == []
    assert desktop.errors == []


async def test_the_dialog_covers_the_page_as_pages_expect(desktop: Visitor) -> None:
    """`div.imp-dialog`, full screen, z-index 99999, with the window's frame in it."""
    await desktop.visit_ready_page()
    await desktop.request_pay()
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    style = await desktop.page.evaluate(
        """() => {
            const dialog = document.querySelector("div.imp-dialog");
            const { position, zIndex } = getComputedStyle(dialog);
            const { width, height } = dialog.getBoundingClientRect();
            return [position, zIndex, width === innerWidth, height === innerHeight];
        }"""
    )
    assert style == ["fixed", "99999", True, True]


async def test_on_a_phone_the_pages_other_children_are_hidden_meanwhile(phone: Visitor) -> None:
    """They are shown again when the window closes."""
    await phone.visit_ready_page()
    await phone.request_pay(pg="danal_tpay")
    await phone.window.locator("[data-outcome=paid]").wait_for()
    assert await phone.page.locator("main").is_hidden()
    await phone.choose("paid")
    await phone.result()
    await phone.page.locator("main").wait_for(state="visible")


@pytest.mark.parametrize("script", ["v1/iamport.js", "v1/iamport.js?window=overlay"])
async def test_the_sdk_works_under_a_strict_policy_of_the_page(desktop: Visitor, script: str) -> None:
    """A page that allows scripts and frames of the SDK's origin alone, and no inline styles, needs nothing more."""
    desktop.merchant.headers = {"Content-Security-Policy": STRICT_POLICY.replace("{origin}", desktop.sandbox.url)}
    await desktop.visit_plain_page(f"{desktop.sandbox.url}/{script}")
    await desktop.init()
    await desktop.request_pay()
    await desktop.choose("paid")
    assert (await desktop.result())["status"] == "paid"


async def test_a_phone_without_a_callback_takes_an_early_failure_to_its_redirect(phone: Visitor) -> None:
    """With imp_uid, merchant_uid, imp_success=false and error_msg, without error_code; an old query is kept."""
    await phone.sandbox.pay("order-1", 64900)
    await phone.visit_ready_page()
    address = f"{phone.merchant.origin}/back?from=here"
    await phone.page.evaluate(
        f"IMP.request_pay({{ merchant_uid: 'order-1', amount: 64900, m_redirect_url: '{address}' }})"
    )
    await phone.page.wait_for_url("**/back?*")
    query = phone.page.url.partition("?")[2]
    assert re.fullmatch(r"from=here&imp_uid=&merchant_uid=order-1&imp_success=false&error_msg=[^&]+", query)


async def test_a_phone_without_a_callback_and_a_redirect_ends_at_portones_failure_page(phone: Visitor) -> None:
    """`/payments/fail`, which names the reason."""
    await phone.sandbox.pay("order-1", 64900)
    await phone.visit_ready_page()
    await phone.page.evaluate("IMP.request_pay({ merchant_uid: 'order-1', amount: 64900 })")
    await phone.page.wait_for_url(f"{phone.sandbox.url}/payments/fail?*")
    await phone.page.get_by_text("이미 결제가 이루어진 거래건입니다.").wait_for()


async def test_a_phone_with_a_callback_gets_an_early_failure_there_only(phone: Visitor) -> None:
    """The page stays where it is, though there is an m_redirect_url."""
    await phone.sandbox.pay("order-1", 64900)
    await phone.visit_ready_page()
    await phone.request_pay(m_redirect_url=f"{phone.merchant.origin}/back")
    assert (await phone.result())["error_code"] == "F1002"
    assert phone.page.url == f"{phone.merchant.origin}/"
