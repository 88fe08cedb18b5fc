"""The shop's pages as a visitor meets them: what is in view, and that each sentence is true."""

from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.accessible import check_accessible
from tests.browser.shop.visit import arrive_at, buy
from tests.browser.visitor import PHONE, Visitor
from tests.running import RunningService, bearer

DEVICES: dict[str, dict[str, int]] = {"desktop": {"width": 1280, "height": 800}, "phone": PHONE["viewport"]}

IS_ABOVE_THE_BAR = """(field) => {
    const bar = document.querySelector(".pay").getBoundingClientRect();
    return field.getBoundingClientRect().bottom <= bar.top;
}"""


@pytest_asyncio.fixture(loop_scope="session", params=DEVICES)
async def visitor(request: pytest.FixtureRequest, desktop: Visitor, phone: Visitor) -> Visitor:
    """A visitor with each device, whose window is as large as such a device's."""
    chosen = desktop if request.param == "desktop" else phone
    await chosen.page.set_viewport_size(DEVICES[request.param])  # type: ignore[arg-type]
    return chosen


async def is_in_view(page: Page, selector: str) -> bool:
    """Return whether all of an element is on the screen."""
    script = """(element) => {
        const { top, bottom } = element.getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight;
    }"""
    return bool(await page.locator(selector).last.evaluate(script))


async def choose(visitor: Visitor, outcome: str) -> None:
    """Press an outcome's button, in the window over the page or in that which the page has left for."""
    over = await visitor.page.evaluate("location.pathname") == "/shop" and visitor.page.viewport_size
    where: Any = visitor.window if over and over["width"] > 500 else visitor.page
    await where.locator(f"[data-outcome={outcome}]").click()


async def test_the_pay_button_is_in_view_at_once(visitor: Visitor) -> None:
    """Nobody has to scroll to find the button that pays, at a desk or on a phone."""
    await visitor.page.goto(f"{visitor.sandbox.url}/shop")
    await visitor.page.locator("#pay:enabled").wait_for()
    assert await is_in_view(visitor.page, "#pay")
    await check_accessible(visitor.page)


async def test_what_the_keyboard_reaches_is_not_behind_the_pay_button(visitor: Visitor) -> None:
    """Every field that gets the focus is moved above the bar at the foot of the screen."""
    page = visitor.page
    await page.goto(f"{visitor.sandbox.url}/shop")
    await page.locator("#pay:enabled").wait_for()
    for field in ("#buyer_email", "input[name=pay_method]:checked", "input[name=window]:checked"):
        await page.locator(field).focus()
        assert await page.locator(field).evaluate(IS_ABOVE_THE_BAR), field


async def test_the_end_of_the_story_is_in_view(visitor: Visitor) -> None:
    """The timeline's last entry is seen beside the result; on a phone its sentence stands in the result itself."""
    page = visitor.page
    await buy(visitor)
    await choose(visitor, "paid")
    await arrive_at(page, "paid")
    last = "page.completion_answered" if page.viewport_size == DEVICES["desktop"] else "page.returned"
    await page.locator(f"li[data-kind='{last}']").wait_for()
    assert await is_in_view(page, "#timeline > li" if page.viewport_size == DEVICES["desktop"] else "#latest")
    await expect(page.locator("#latest a")).to_have_text(
        f"{await page.locator('#timeline > li .title').last.inner_text()} ↓"
    )
    await check_accessible(page)


async def test_an_entry_shows_that_it_opens(desktop: Visitor) -> None:
    """Each entry of the timeline has a chevron."""
    await buy(desktop)
    entry = desktop.page.locator("#timeline summary").first
    assert await entry.evaluate("(entry) => getComputedStyle(entry, '::after').borderRightWidth") == "2px"


async def test_money_that_was_not_accepted_is_shown(desktop: Visitor) -> None:
    """Beside a paid amount of 0 stands what came in and does not fit the order."""
    await buy(desktop)
    await desktop.choose("tampered_amount")
    await arrive_at(desktop.page, "mismatched")
    await expect(desktop.page.locator("#order-paid")).to_have_text("0원")
    await expect(desktop.page.locator("#order-unaccepted")).to_have_text("100원")


async def test_a_paid_order_has_no_row_for_what_was_not_accepted(desktop: Visitor) -> None:
    """Rows without content are not shown: neither this one nor a refund's, nor the item of an order without a name."""
    page = desktop.page
    await buy(desktop)
    await desktop.choose("paid")
    await arrive_at(page, "paid")
    await expect(page.locator("#facts > div:visible")).to_have_count(5)


async def test_a_withdrawn_order_reads_closed(desktop: Visitor, service: RunningService) -> None:
    """Its state alone is `pending`; the page and the timeline say that it is closed, and why. It has no item's row."""
    page = desktop.page
    await service.register("mine-1", 1000)
    await page.goto(f"{desktop.sandbox.url}/shop/return?merchant_uid=mine-1")
    await page.locator("#result[data-view=waiting]").wait_for()
    await expect(page.locator("#order-name")).to_be_hidden()
    await expect(page.locator("dt[data-text=order_name]")).to_be_hidden()
    await service.call("POST", "/orders/mine-1/withdraw", headers=bearer())
    await arrive_at(page, "closed")
    await expect(page.locator("#order-state")).to_have_text("pending, 마감 (withdrawn) · 버전 2")
    for kind in ("decision", "order.version"):
        await expect(page.locator(f"li[data-kind='{kind}']").last).to_contain_text("pending, 마감 (withdrawn)")


async def test_the_bank_names_the_zone_of_its_time(desktop: Visitor, phone: Visitor) -> None:
    """Shop and bank show the same due time with its zone, and the bank's page has one title and no empty band."""
    await buy(desktop, pay_method="vbank")
    await desktop.choose("vbank_issued")
    await arrive_at(desktop.page, "deposit")
    due = await desktop.page.locator("#account-due").inner_text()
    assert due.endswith("(한국 시간)")
    bank = await desktop.page.locator("#deposit").get_attribute("href")
    await phone.page.goto(f"{phone.sandbox.url}{bank}")
    await expect(phone.page.locator(".fact-due")).to_have_text(due)
    await expect(phone.page.get_by_text("가상계좌 입금", exact=True)).to_have_count(1)
    box = await phone.page.locator(".pane").bounding_box()
    assert box is not None
    assert (box["x"], box["y"]) == (0, 0)
    await check_accessible(phone.page)


async def test_the_timeline_names_an_outcome_as_its_button_does(desktop: Visitor) -> None:
    """One name for each outcome, on the button and in the timeline."""
    await buy(desktop)
    button = desktop.window.locator("[data-outcome=paid_without_webhook]")
    name = await button.locator("strong").inner_text()
    await button.click()
    await arrive_at(desktop.page, "paid")
    await expect(desktop.page.locator("li[data-kind='window.chosen'] .title")).to_have_text(
        f"결제창에서 고른 결과: {name}"
    )
