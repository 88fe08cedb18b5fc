"""Accessibility of the window's pages: axe finds nothing serious, and everything fits on a phone."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.accessible import check_accessible
from tests.browser.visitor import Visitor


async def window_page(visitor: Visitor, **params: Any) -> Page:
    """Open a window as a page of its own, where axe and the width can look at all of it."""
    await visitor.visit_plain_page()
    await visitor.init()
    await visitor.request_pay(sandbox={"window": "redirect"}, **params)
    await visitor.page.locator("[data-outcome=paid]").wait_for()
    return visitor.page


async def click(page: Page, name: str) -> None:
    await page.locator("#step").get_by_role("button", name=name).first.click()


async def provider_step(visitor: Visitor) -> None:
    await window_page(visitor, language="ko")


async def english_window(visitor: Visitor) -> None:
    await window_page(visitor, language="en")


async def company_step(visitor: Visitor) -> None:
    await click(await window_page(visitor), "BC카드")


async def isp_step(visitor: Visitor) -> None:
    page = await window_page(visitor)
    await click(page, "BC카드")
    await click(page, "ISP")


async def mpi_step(visitor: Visitor) -> None:
    page = await window_page(visitor)
    await click(page, "신한카드")
    await click(page, "MPI")


async def result_step(visitor: Visitor) -> None:
    page = await window_page(visitor, pay_method="vbank")
    await click(page, "신한은행")
    await page.locator("#leave").wait_for()


async def certification(visitor: Visitor) -> None:
    await visitor.visit_plain_page()
    await visitor.init()
    await visitor.request_pay("certification", sandbox={"window": "redirect"})
    await visitor.page.locator("[data-outcome=paid]").wait_for()


async def deposits(visitor: Visitor) -> None:
    paid = await visitor.sandbox.open("order-1", 64900, pay_method="vbank")
    await visitor.sandbox.move(paid["imp_uid"], "issue")
    await visitor.page.goto(f"{visitor.sandbox.url}/v1/deposits")
    await visitor.page.get_by_role("button", name="64,900원 입금하기").wait_for()


async def failure_page(visitor: Visitor) -> None:
    await visitor.page.goto(f"{visitor.sandbox.url}/payments/fail?error_msg=reason")


async def open_dialog(visitor: Visitor) -> None:
    """The page and the window over it, frames included."""
    await visitor.visit_plain_page()
    await visitor.init()
    await visitor.request_pay(pg="danal_tpay")
    await visitor.window.locator("[data-outcome=paid]").wait_for()


async def pop_up_note(visitor: Visitor) -> None:
    await visitor.visit_plain_page()
    await visitor.init()
    await visitor.request_pay(pg="paypal_v2")
    await visitor.window.locator("#focus").wait_for()


PAGES = [
    provider_step, english_window, company_step, isp_step, mpi_step, result_step, certification, deposits, failure_page,
    open_dialog, pop_up_note,
]  # fmt: skip


@pytest.mark.parametrize("show", PAGES, ids=lambda show: show.__name__)
async def test_axe_finds_nothing_serious(desktop: Visitor, show: Callable[[Visitor], Awaitable[None]]) -> None:
    """Contrast, names, roles and order of each page are right."""
    await show(desktop)
    await check_accessible(desktop.page)


@pytest.mark.parametrize("show", PAGES, ids=lambda show: show.__name__)
async def test_a_phone_shows_it_whole(phone: Visitor, show: Callable[[Visitor], Awaitable[None]]) -> None:
    """Nothing is wider than the screen, every target is large enough, and axe finds nothing serious."""
    await show(phone)
    await check_accessible(phone.page)
    assert await phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    script = "(all) => all.filter((one) => one.getBoundingClientRect().height < 44).map((one) => one.outerHTML)"
    shown = phone.page.locator("button:visible, input:visible")
    if show not in (open_dialog, pop_up_note):  # there the page behind is the test's own
        assert await shown.evaluate_all(script) == []
