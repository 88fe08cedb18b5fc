"""The ways in which a window opens on each device, and the autopilot that ends it by itself."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.merchant import PLAIN
from tests.browser.visitor import Visitor

STAYS_IN_THE_PAGE = ["danal", "danal_tpay", "smilepay", "payco", "bluewalnut", "settle_acc"]


async def modes(visitor: Visitor) -> list[str]:
    """Return the modes of the windows so far."""
    return [window["mode"] for window in await visitor.windows()]


@pytest.mark.parametrize("provider", STAYS_IN_THE_PAGE)
async def test_on_a_phone_these_windows_stay_in_the_page(phone: Visitor, provider: str) -> None:
    """They call back instead of redirecting."""
    await phone.open_window(pg=provider)
    await phone.choose("paid")
    assert (await phone.result())["imp_success"] is True
    assert await modes(phone) == ["overlay"]


@pytest.mark.parametrize(
    ("params", "mode"),
    [
        ({"pg": "html5_inicis", "customer_uid": "card-1"}, "overlay"),
        ({"pg": "mobilians", "pay_method": "phone"}, "overlay"),
        ({"pg": "mobilians"}, "redirect"),
        ({"pg": "html5_inicis"}, "redirect"),
        ({"pg": "kakaopay"}, "redirect"),
        ({"pg": "tosspayments"}, "redirect"),
    ],
)
async def test_on_a_phone_the_provider_and_the_request_decide(
    phone: Visitor, params: dict[str, Any], mode: str
) -> None:
    """Most windows redirect; Inicis with customer_uid and Mobilians' phone bill stay in the page."""
    await phone.open_window(**params)
    where = phone.page if mode == "redirect" else phone.window
    await where.locator("[data-outcome=paid]").wait_for()
    assert await modes(phone) == [mode]


async def test_on_a_pc_windows_stay_in_the_page_and_the_old_paypal_redirects(desktop: Visitor) -> None:
    """It is the one that does so on both devices."""
    await desktop.open_window(pg="paypal", m_redirect_url="/back")
    await desktop.page.locator("[data-outcome=paid]").click()
    await desktop.page.wait_for_url("**/back?imp_uid=*")
    assert await modes(desktop) == ["redirect"]


async def test_paypal_v2_is_a_pop_up_with_a_callback_on_a_phone_too(phone: Visitor) -> None:
    """`m_redirect_url` is ignored."""
    await phone.visit_plain_page()
    await phone.init()
    async with phone.context.expect_page() as opened:
        await phone.request_pay(pg="paypal_v2", m_redirect_url="/back")
    await (await opened.value).locator("[data-outcome=paid]").click()
    assert (await phone.result()).keys() == {"imp_uid", "merchant_uid"}


@pytest.mark.parametrize("mode", ["overlay", "popup", "redirect"])
async def test_a_request_may_choose_how_its_window_opens(desktop: Visitor, mode: str) -> None:
    """`sandbox: {window}` is for shops that want to see all three; PortOne's script ignores it."""
    await desktop.visit_plain_page()
    await desktop.init()
    await choose_in(desktop, mode, "paid", sandbox={"window": mode})
    assert await modes(desktop) == [mode]


async def choose_in(visitor: Visitor, mode: str, outcome: str, **params: Any) -> None:
    """Request a payment whose window opens so, and choose its outcome there."""
    if mode == "popup":
        async with visitor.context.expect_page() as opened:
            await visitor.request_pay(**params)
        await (await opened.value).locator(f"[data-outcome={outcome}]").click()
        await visitor.result()
        return
    await visitor.request_pay(m_redirect_url="/back", **params)
    where = visitor.page if mode == "redirect" else visitor.window
    await where.locator(f"[data-outcome={outcome}]").click()
    await (visitor.page.wait_for_url("**/back?*") if mode == "redirect" else visitor.result())


async def test_a_redirect_without_an_address_loses_its_result(phone: Visitor) -> None:
    """The window ends on a page of PortOne's, which says so; the payment is made all the same."""
    await phone.open_window()
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.get_by_role("heading", name="결제 결과를 받을 곳이 없어요").wait_for()
    assert (await phone.payment())["status"] == "paid"


async def test_a_redirect_calls_nothing_back(phone: Visitor) -> None:
    """The page is left at the request, and its callback never comes."""
    await phone.open_window(m_redirect_url="/back")
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.wait_for_url("**/back?*")
    assert await phone.page.evaluate("window.results ?? null") is None


async def complete(visitor: Visitor, page: Page, mode: str) -> None:
    """Wait for the autopilot to end the window that a request has opened."""
    if mode == "redirect":
        await page.wait_for_url("**/back?*")
        return
    await visitor.result()


@pytest.mark.parametrize("mode", ["overlay", "popup", "redirect"])
@pytest.mark.parametrize(("outcome", "status"), [("paid", "paid"), ("failed", "failed"), ("closed", "failed")])
async def test_the_autopilot_ends_every_window_by_itself(
    desktop: Visitor, mode: str, outcome: str, status: str
) -> None:
    """`POST /_control/window` is all that another product's own tests need."""
    await desktop.sandbox.control("POST", "window", outcome=outcome)
    await desktop.open_window(m_redirect_url="/back", sandbox={"window": mode})
    await complete(desktop, desktop.page, mode)
    assert (await desktop.payment())["status"] == status


async def test_the_scripts_address_may_be_the_autopilot(desktop: Visitor) -> None:
    """`?outcome=` lets every window of the page end so, `?window=` lets it open so."""
    await desktop.visit_plain_page(f"{desktop.sandbox.url}/v1/iamport.js?outcome=failed&window=redirect")
    await desktop.init()
    await desktop.request_pay(m_redirect_url="/back")
    await desktop.page.wait_for_url("**/back?*imp_success=false*")
    assert await modes(desktop) == ["redirect"]


async def test_a_page_opened_from_a_file_works(desktop: Visitor, tmp_path: Path) -> None:
    """It has the origin `null`, to which no message can be addressed by name."""
    page = tmp_path / "shop.html"
    page.write_text(PLAIN.replace("{script}", f"{desktop.sandbox.url}/v1/iamport.js"))
    await desktop.page.goto(page.as_uri())
    await desktop.init()
    await desktop.request_pay()
    await desktop.choose("paid")
    assert (await desktop.result())["status"] == "paid"


async def test_a_window_that_is_loaded_again_after_its_end_goes_on_to_the_page(phone: Visitor) -> None:
    """A browser's back button leads there."""
    await phone.open_window(m_redirect_url="/back")
    await phone.page.locator("[data-outcome=paid]").wait_for()
    window = phone.page.url
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.wait_for_url("**/back?*")
    await phone.page.goto(window)
    await phone.page.wait_for_url("**/back?*")
    assert (await phone.payment())["status"] == "paid"


async def test_a_window_that_is_forgotten_says_so(phone: Visitor) -> None:
    """A reset of the sandbox forgets it."""
    await phone.open_window()
    await phone.page.locator("[data-outcome=paid]").wait_for()
    await phone.sandbox.control("POST", "reset")
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.get_by_role("alert").wait_for()
