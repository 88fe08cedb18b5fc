"""Pop-up windows: they open at the click, may be blocked, and may be closed."""

from tests.browser.visitor import Visitor

POPUP_BLOCKED = "팝업차단을 해제해주셔야 결제창이 나타납니다."


async def test_a_pop_up_opens_at_the_click_and_calls_back(desktop: Visitor) -> None:
    """The provider's window is another one; when it has ended it closes, and the page's callback comes."""
    await desktop.visit_ready_page()
    async with desktop.context.expect_page() as opened:
        await desktop.request_pay(pg="paypal_v2")
    popup = await opened.value
    await popup.locator("[data-outcome=paid]").click()
    assert (await desktop.result()).keys() == {"imp_uid", "merchant_uid"}
    assert popup.is_closed()
    assert [window["mode"] for window in await desktop.windows()] == ["popup"]


async def test_a_pop_up_that_is_closed_is_a_failure(desktop: Visitor) -> None:
    """The SDK notices by looking, and the frame answers."""
    await desktop.visit_ready_page()
    async with desktop.context.expect_page() as opened:
        await desktop.request_pay(pg="naverpay")
    popup = await opened.value
    await popup.locator("[data-outcome=paid]").wait_for()
    await popup.close()
    result = await desktop.result()
    assert (result["success"], result["error_msg"]) == (False, "[결제포기] 사용자가 결제를 취소하셨습니다")


async def test_a_blocked_pop_up_is_an_alert(desktop: Visitor) -> None:
    """No window, no callback."""
    await desktop.visit_ready_page()
    await desktop.page.evaluate("window.open = () => null")
    await desktop.request_pay(pg="paypal_v2")
    assert await desktop.dialog() == POPUP_BLOCKED
    assert await desktop.page.evaluate("results") == []
    assert await desktop.payments() == []


async def test_popup_true_opens_a_pop_up_where_the_provider_takes_it(desktop: Visitor) -> None:
    """The others ignore the parameter."""
    await desktop.visit_ready_page()
    async with desktop.context.expect_page() as opened:
        await desktop.request_pay(pg="paypal", popup=True, m_redirect_url="/back")
    await (await opened.value).locator("[data-outcome=paid]").click()
    await desktop.result()
    await desktop.request_pay(pg="html5_inicis", popup=True, merchant_uid="order-2")
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    assert [window["mode"] for window in await desktop.windows()] == ["popup", "overlay"]
