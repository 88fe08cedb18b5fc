"""The channel that a request means is found as PortOne's script finds it: docs/portone.md §5."""

import pytest

from tests.browser.visitor import Visitor

NO_CHANNEL = "등록되지 않은 PG모듈 정보입니다. 아임포트 관리자페이지에서 PG모듈 정보를 설정하신 후 다시 시도해주세요."


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
    await desktop.visit_ready_page()
    await desktop.request_pay(pg=pg)
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    assert [window["provider"] for window in await desktop.windows()] == [provider]


@pytest.mark.parametrize("key", ["channel-key-kakaopay", "{콘솔 내 연동 정보의 채널키}", "channel-key-0123"])
async def test_a_channel_key_or_its_placeholder_opens_a_window(desktop: Visitor, key: str) -> None:
    """The sandbox knows the key of each provider; others are the default's unless it is strict."""
    await desktop.visit_ready_page()
    await desktop.request_pay(channelKey=key)
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    known = "kakaopay" if "kakaopay" in key else "html5_inicis"
    assert [window["provider"] for window in await desktop.windows()] == [known]


async def test_without_a_channel_of_its_kind_the_callback_gets_f1001(strict_desktop: Visitor) -> None:
    """With the key that PortOne's script misspells."""
    await strict_desktop.visit_ready_page("imp99999999")
    await strict_desktop.request_pay()
    expected = {"imp_success": False, "imp_uid": None, "merchant_uid": "order-1"}
    assert await strict_desktop.result() == expected | {"error_coe": "F1001", "error_msg": NO_CHANNEL}
    assert strict_desktop.dialogs == []


async def test_without_a_channel_and_a_callback_f1001_is_an_alert(strict_desktop: Visitor) -> None:
    """The text alone."""
    await strict_desktop.visit_ready_page("imp99999999")
    await strict_desktop.page.evaluate("IMP.request_pay({ merchant_uid: 'order-1', amount: 1000 })")
    assert await strict_desktop.dialog() == NO_CHANNEL


async def test_an_unknown_channel_key_is_refused_by_a_strict_sandbox(strict_desktop: Visitor) -> None:
    """A key that is set up opens a window, another gets a failure without imp_uid."""
    await strict_desktop.visit_ready_page()
    await strict_desktop.request_pay(channelKey="channel-key-0123")
    result = await strict_desktop.result()
    assert (result["success"], result["imp_uid"]) == (False, None)
    await strict_desktop.request_pay(channelKey="channel-key-kakaopay")
    await strict_desktop.window.locator("[data-outcome=paid]").wait_for()


@pytest.mark.parametrize("user_code", ["고객사 식별코드", "imp12345678", ""])
async def test_the_guides_user_code_opens_a_window_at_the_default_account(desktop: Visitor, user_code: str) -> None:
    """Unless the sandbox is strict, any code does."""
    await desktop.visit_ready_page(user_code)
    await desktop.request_pay()
    await desktop.choose("paid")
    await desktop.result()
    assert [payment["account"] for payment in await desktop.payments()] == ["default"]
