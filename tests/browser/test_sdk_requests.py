"""The steps of request_pay are those of PortOne's script: docs/portone.md §5."""

import json
import re
from typing import Any

import pytest

from tests.browser.merchant import STRICT_POLICY
from tests.browser.visitor import OPEN_FRAME, Visitor

NO_CHANNEL = "등록되지 않은 PG모듈 정보입니다. 아임포트 관리자페이지에서 PG모듈 정보를 설정하신 후 다시 시도해주세요."
BROKEN = "결제모듈 구동 중에 오류가 발생하였습니다. 페이지 새로고침 후 다시 시도해주세요.\n"
POPUP_BLOCKED = "팝업차단을 해제해주셔야 결제창이 나타납니다."


async def payments(visitor: Visitor) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await visitor.sandbox.control("GET", "payments"))["payments"]
    return found


async def windows(visitor: Visitor) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await visitor.sandbox.control("GET", "window"))["windows"]
    return found


async def ready(visitor: Visitor, user_code: str = "imp00000000") -> None:
    await visitor.visit_plain_page()
    await visitor.init(user_code)


async def test_of_the_requests_before_the_channels_load_only_the_last_runs(desktop: Visitor) -> None:
    """Those before it are forgotten, without a callback."""
    await desktop.visit_plain_page()
    calls = "".join(
        f"IMP.request_pay({{ merchant_uid: 'order-{number}', amount: 1000 }}, (result) => results.push(result));"
        for number in (1, 2, 3)
    )
    await desktop.page.evaluate(f"window.results = []; IMP.init('imp00000000'); {calls}")
    await desktop.choose("paid")
    assert (await desktop.result())["merchant_uid"] == "order-3"
    assert [payment["merchant_uid"] for payment in await payments(desktop)] == ["order-3"]


async def test_defaults_are_filled_into_the_callers_own_object(desktop: Visitor) -> None:
    """merchant_uid, pay_method and request_id, none of which the callback repeats as its own."""
    await ready(desktop)
    await desktop.request_pay(merchant_uid=None)
    await desktop.choose("paid")
    result = await desktop.result()
    params = await desktop.page.evaluate("params")
    assert re.fullmatch(r"nobody_\d{13}", params["merchant_uid"])
    assert re.fullmatch(r"req_\d{13}", params["request_id"])
    assert (params["pay_method"], result["merchant_uid"]) == ("card", params["merchant_uid"])


async def test_request_id_is_removed_before_the_callback(desktop: Visitor) -> None:
    """It is the SDK's own."""
    await ready(desktop)
    await desktop.request_pay()
    await desktop.choose("paid")
    assert "request_id" not in await desktop.result()


@pytest.mark.parametrize("given", [{"amount": 0}, {"amount": "many"}, {"amount": None}, {"merchant_uid": "x" * 256}])
async def test_the_sdk_checks_no_parameter_and_the_server_refuses(desktop: Visitor, given: dict[str, Any]) -> None:
    """No window, no payment, and a callback without imp_uid."""
    await ready(desktop)
    await desktop.request_pay(**given)
    result = await desktop.result()
    assert (result["success"], result["imp_uid"], desktop.dialogs) == (False, None, [])
    assert result["error_code"]
    assert result["error_msg"]
    assert await payments(desktop) == []


async def test_requests_go_to_the_frame_as_json_with_the_pages_address(desktop: Visitor) -> None:
    """`from` is iamport-sdk, `version` 1.2.0, and the parameters and location.href are in it."""
    await desktop.context.add_init_script(
        "window.heard = []; addEventListener('message', ({ data }) => heard.push(data));"
    )
    await ready(desktop)
    await desktop.request_pay(pg="paypal_v2")  # its frame stays as it is beside the pop-up
    frame = desktop.page.frame_locator(OPEN_FRAME).locator("#focus")
    await frame.wait_for()
    heard = await frame.evaluate("window.heard")
    (message,) = [json.loads(one) for one in heard]
    assert (message["from"], message["version"], message["page_url"]) == ("iamport-sdk", "1.2.0", desktop.page.url)
    assert (message["params"]["merchant_uid"], message["params"]["amount"]) == ("order-1", 64900)


async def test_only_the_sandboxs_frames_are_answered_to(desktop: Visitor) -> None:
    """A message of another origin, or of the page itself, ends no window."""
    await ready(desktop)
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
    await ready(desktop)
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
    await ready(desktop)
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
    await ready(desktop)
    await desktop.page.evaluate(
        "IMP.request_pay({merchant_uid: 'order-1', amount: 1000}, async () => { await new Promise(() => {}); })"
    )
    await desktop.choose("paid")
    await desktop.page.locator(OPEN_FRAME).wait_for(state="detached")
    assert desktop.dialogs == []


async def test_after_a_result_all_frames_are_fresh(desktop: Visitor) -> None:
    """The next request works, also when the callback itself makes it."""
    await ready(desktop)
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


@pytest.mark.parametrize(
    ("pg", "provider"),
    [
        ("kakaopay.sandbox", "kakaopay"),
        ("kakaopay.another-store", "kakaopay"),
        ("kakaopay", "kakaopay"),
        ("tosspayments.iamporttest_3", "tosspayments"),
        ("kcp.A52CY", "kcp"),
        ("{PG사 코드}.{상점 ID}", "html5_inicis"),
        ("no_such_pg.store", "html5_inicis"),
        ("", "html5_inicis"),
    ],
)
async def test_pg_is_provider_and_store_then_provider_then_the_default(
    desktop: Visitor, pg: str, provider: str
) -> None:
    """An unknown or placeholder `pg` does not fail."""
    await ready(desktop)
    await desktop.request_pay(pg=pg)
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    assert [window["provider"] for window in await windows(desktop)] == [provider]


@pytest.mark.parametrize("key", ["channel-key-kakaopay", "{콘솔 내 연동 정보의 채널키}", "channel-key-0123"])
async def test_a_channel_key_or_its_placeholder_opens_a_window(desktop: Visitor, key: str) -> None:
    """The sandbox knows the key of each provider; others are the default's unless it is strict."""
    await ready(desktop)
    await desktop.request_pay(channelKey=key)
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    known = "kakaopay" if "kakaopay" in key else "html5_inicis"
    assert [window["provider"] for window in await windows(desktop)] == [known]


async def test_without_a_channel_of_its_kind_the_callback_gets_f1001(strict_desktop: Visitor) -> None:
    """With the key that PortOne's script misspells."""
    await ready(strict_desktop, "imp99999999")
    await strict_desktop.request_pay()
    expected = {"imp_success": False, "imp_uid": None, "merchant_uid": "order-1"}
    assert await strict_desktop.result() == expected | {"error_coe": "F1001", "error_msg": NO_CHANNEL}
    assert strict_desktop.dialogs == []


async def test_without_a_channel_and_a_callback_f1001_is_an_alert(strict_desktop: Visitor) -> None:
    """The text alone."""
    await ready(strict_desktop, "imp99999999")
    await strict_desktop.page.evaluate("IMP.request_pay({ merchant_uid: 'order-1', amount: 1000 })")
    assert await strict_desktop.dialog() == NO_CHANNEL


async def test_an_unknown_channel_key_is_refused_by_a_strict_sandbox(strict_desktop: Visitor) -> None:
    """A key that is set up opens a window, another gets a failure without imp_uid."""
    await ready(strict_desktop)
    await strict_desktop.request_pay(channelKey="channel-key-0123")
    result = await strict_desktop.result()
    assert (result["success"], result["imp_uid"]) == (False, None)
    await strict_desktop.request_pay(channelKey="channel-key-kakaopay")
    await strict_desktop.window.locator("[data-outcome=paid]").wait_for()


@pytest.mark.parametrize("user_code", ["고객사 식별코드", "imp12345678", ""])
async def test_the_guides_user_code_opens_a_window_at_the_default_account(desktop: Visitor, user_code: str) -> None:
    """Unless the sandbox is strict, any code does."""
    await ready(desktop, user_code)
    await desktop.request_pay()
    await desktop.choose("paid")
    await desktop.result()
    assert [payment["account"] for payment in await payments(desktop)] == ["default"]


async def test_an_exception_inside_is_an_alert_without_a_callback(desktop: Visitor) -> None:
    """PortOne's sentence, with the reason in its second line."""
    await ready(desktop)
    await desktop.page.wait_for_function("document.querySelectorAll('.imp-dialog iframe').length === 4")
    await desktop.page.evaluate("window.results = []; IMP.request_pay(null, (result) => results.push(result))")
    assert (await desktop.dialog()).startswith(BROKEN)
    assert await desktop.page.evaluate("results") == []
    assert desktop.errors == []


async def test_the_dialog_covers_the_page_as_pages_expect(desktop: Visitor) -> None:
    """`div.imp-dialog`, full screen, z-index 99999, with the window's frame in it."""
    await ready(desktop)
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
    await ready(phone)
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
    await ready(phone)
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
    await ready(phone)
    await phone.page.evaluate("IMP.request_pay({ merchant_uid: 'order-1', amount: 64900 })")
    await phone.page.wait_for_url(f"{phone.sandbox.url}/payments/fail?*")
    await phone.page.get_by_text("이미 결제가 이루어진 거래건입니다.").wait_for()


async def test_a_phone_with_a_callback_gets_an_early_failure_there_only(phone: Visitor) -> None:
    """The page stays where it is, though there is an m_redirect_url."""
    await phone.sandbox.pay("order-1", 64900)
    await ready(phone)
    await phone.request_pay(m_redirect_url=f"{phone.merchant.origin}/back")
    assert (await phone.result())["error_code"] == "F1002"
    assert phone.page.url == f"{phone.merchant.origin}/"


async def test_a_pop_up_opens_at_the_click_and_calls_back(desktop: Visitor) -> None:
    """The provider's window is another one; when it has ended it closes, and the page's callback comes."""
    await ready(desktop)
    async with desktop.context.expect_page() as opened:
        await desktop.request_pay(pg="paypal_v2")
    popup = await opened.value
    await popup.locator("[data-outcome=paid]").click()
    assert (await desktop.result()).keys() == {"imp_uid", "merchant_uid"}
    assert popup.is_closed()
    assert [window["mode"] for window in await windows(desktop)] == ["popup"]


async def test_a_pop_up_that_is_closed_is_a_failure(desktop: Visitor) -> None:
    """The SDK notices by looking, and the frame answers."""
    await ready(desktop)
    async with desktop.context.expect_page() as opened:
        await desktop.request_pay(pg="naverpay")
    popup = await opened.value
    await popup.locator("[data-outcome=paid]").wait_for()
    await popup.close()
    result = await desktop.result()
    assert (result["success"], result["error_msg"]) == (False, "[결제포기] 사용자가 결제를 취소하셨습니다")


async def test_a_blocked_pop_up_is_an_alert(desktop: Visitor) -> None:
    """No window, no callback."""
    await ready(desktop)
    await desktop.page.evaluate("window.open = () => null")
    await desktop.request_pay(pg="paypal_v2")
    assert await desktop.dialog() == POPUP_BLOCKED
    assert await desktop.page.evaluate("results") == []
    assert await payments(desktop) == []


async def test_popup_true_opens_a_pop_up_where_the_provider_takes_it(desktop: Visitor) -> None:
    """The others ignore the parameter."""
    await ready(desktop)
    async with desktop.context.expect_page() as opened:
        await desktop.request_pay(pg="paypal", popup=True, m_redirect_url="/back")
    await (await opened.value).locator("[data-outcome=paid]").click()
    await desktop.result()
    await desktop.request_pay(pg="html5_inicis", popup=True, merchant_uid="order-2")
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    assert [window["mode"] for window in await windows(desktop)] == ["popup", "overlay"]
