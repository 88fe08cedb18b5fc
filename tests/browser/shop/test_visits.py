"""Visits beside the plain purchase: again, later, by keyboard, in both languages, in other windows, with bad luck."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.accessible import check_accessible
from tests.browser.pictures import take_picture
from tests.browser.shop.visit import ANNOUNCED, COMPLETED, DECIDED, OPENED, arrive_at, buy, tells
from tests.browser.visitor import Visitor
from tests.running import RunningService


async def test_a_paid_order_is_not_paid_twice(desktop: Visitor) -> None:
    """Paying the same order again opens no window: the page says that it is paid already, and stays as it is."""
    await buy(desktop)
    await desktop.choose("paid")
    await arrive_at(desktop.page, "paid")
    await desktop.page.get_by_role("button", name="같은 주문을 한 번 더 결제해 보기").click()
    await expect(desktop.page.get_by_role("alert")).to_have_text(
        "이미 결제된 주문이에요. 두 번 결제되지 않았으니 안심하세요."
    )
    await tells(desktop.page, ("order.version", "page.callback"))
    await check_accessible(desktop.page)
    await arrive_at(desktop.page, "paid")


async def test_a_failed_order_is_paid_at_the_next_attempt(desktop: Visitor, service: RunningService) -> None:
    """The page says why it failed; another attempt of the same order pays it."""
    await buy(desktop, pay_method="kakaopay")
    await desktop.choose("failed")
    number = await arrive_at(desktop.page, "failed")
    await expect(desktop.page.locator("#result-reason")).to_have_text("사유: 카드사 승인이 거절되었습니다.")
    await desktop.page.get_by_role("button", name="다시 결제하기").click()
    await desktop.choose("paid")
    assert await arrive_at(desktop.page, "paid") == number
    await tells(desktop.page, ("window.opened", "window.opened", *DECIDED))


async def test_a_window_that_leaves_the_payment_open_is_not_taken_for_a_failure(
    desktop: Visitor, phone: Visitor
) -> None:
    """With a provider whose closed window leaves the payment `ready`, the page says that nothing was paid yet."""
    await buy(desktop, pay_method="trans")
    await desktop.choose("closed")
    await arrive_at(desktop.page, "unfinished")
    await expect(desktop.page.locator("#result-reason")).to_have_text("사유: 사용자에 의해 결제가 취소되었습니다.")
    await buy(phone, pay_method="trans")
    await phone.page.locator("[data-outcome=closed]").click()
    await arrive_at(phone.page, "unfinished")
    await expect(phone.page.get_by_role("button", name="다시 결제하기")).to_be_visible()


async def test_a_return_without_an_order_is_one_calm_page(phone: Visitor, service: RunningService) -> None:
    """A redirect that names no order ends at the shop, with a page for people."""
    await phone.page.goto(f"{service.url}/payment-redirect?imp_uid=undefined&merchant_uid=")
    await phone.page.locator("#result[data-view=unknown]").wait_for()
    await check_accessible(phone.page)


async def test_a_deposit_is_awaited_and_turns_the_page_by_itself(desktop: Visitor, pictures: Path) -> None:
    """Bank, number and due date are shown; a transfer at the sandbox's bank makes the open page say that it is paid."""
    await buy(desktop, pay_method="vbank")
    await desktop.choose("vbank_issued")
    await arrive_at(desktop.page, "deposit")
    [payment] = (await desktop.sandbox.control("GET", "payments"))["payments"]
    account = desktop.page.locator("#account")
    await expect(account).to_contain_text(payment["vbank_name"])
    await expect(account).to_contain_text(payment["vbank_num"])
    await expect(account).to_contain_text("64,900원")
    await expect(desktop.page.locator("#account-due")).not_to_be_empty()
    async with desktop.context.expect_page() as opened:
        await desktop.page.get_by_role("link", name="연습 은행에서 입금하기").click()
    assert (await opened.value).url.endswith(f"/v1/deposits/{payment['imp_uid']}")
    await desktop.sandbox.move(payment["imp_uid"], "deposit")
    await arrive_at(desktop.page, "paid")


@pytest.mark.parametrize("mode", ["overlay", "popup", "redirect"])
async def test_the_window_opens_as_it_is_told(desktop: Visitor, mode: str) -> None:
    """Over the page, as a pop-up or by leaving the page, whatever the device would do."""
    if mode == "popup":
        async with desktop.context.expect_page() as opened:
            await buy(desktop, window=mode)
        await (await opened.value).locator("[data-outcome=paid]").click()
    else:
        await buy(desktop, window=mode)
        where = desktop.window if mode == "overlay" else desktop.page
        await where.locator("[data-outcome=paid]").click()
    await arrive_at(desktop.page, "paid")


async def test_dollars_are_paid_as_dollars(desktop: Visitor, service: RunningService) -> None:
    """A price in another currency is shown, paid and registered exactly."""
    await buy(desktop, "book")
    await desktop.choose("paid")
    order = await service.read(await arrive_at(desktop.page, "paid"))
    assert (order["paid_amount"], order["currency"]) == (600, "USD")
    await expect(desktop.page.locator("#order-paid")).to_have_text("US$6.00")


async def test_a_purchase_by_keyboard_alone(desktop: Visitor) -> None:
    """The keyboard alone chooses another good, two of it, presses the button, and ends the window."""
    page = desktop.page
    await page.goto(f"{desktop.sandbox.url}/shop")
    await page.locator("#pay:enabled").wait_for()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="본문으로 건너뛰기")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("input[value=lamp]")).to_be_checked()
    for _ in range(3):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#total")).to_have_text("56,000원")
    for _ in range(6):
        await page.keyboard.press("Tab")
    await expect(page.locator("#pay")).to_be_focused()
    await page.keyboard.press("Enter")
    await desktop.window.locator("[data-outcome=paid]").press("Enter")
    await arrive_at(page, "paid")


async def test_both_languages_are_spoken_from_checkout_to_timeline(desktop: Visitor, pictures: Path) -> None:
    """The button changes every text, the choice lasts to the next page, and screen readers are told the language."""
    page = desktop.page
    await page.goto(f"{desktop.sandbox.url}/shop")
    await check_accessible(page)
    await take_picture(page, pictures, "checkout-ko")
    await page.get_by_role("button", name="English").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Checkout")
    await page.get_by_role("button", name="Pay ₩64,900").click()
    await desktop.choose("paid")
    await arrive_at(page, "paid")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Thank you, it is paid")
    assert await page.title() == "Thank you, it is paid · Sunny Corner"
    assert await page.locator("html").get_attribute("lang") == "en"
    await expect(page.locator("li[data-kind='order.version']").last).to_contain_text("Order version 2: paid")
    assert not [text for text in await page.locator("main, aside, header").all_inner_texts() if "결제" in text]


async def test_an_entry_opens_on_its_evidence(desktop: Visitor) -> None:
    """The webhook's entry shows where it went and what it said, the next one what it was answered."""
    await buy(desktop)
    await desktop.choose("webhook_first")
    await arrive_at(desktop.page, "paid")
    evidence = {
        "webhook.sent": ("/webhooks/portone/v1", '"status": "paid"'),
        "webhook.answered": ('"answer_status": 200', '"seconds": '),
    }
    for kind, parts in evidence.items():
        entry = desktop.page.locator(f"li[data-kind='{kind}']")
        await entry.locator("summary").press("Enter")
        for part in parts:
            await expect(entry.locator("pre")).to_contain_text(part)
    await check_accessible(desktop.page)


async def test_an_order_that_is_not_there_is_said_to_be_not_there(desktop: Visitor, pictures: Path) -> None:
    """A wrong number in the address is one calm page."""
    await desktop.page.goto(f"{desktop.sandbox.url}/shop/return?merchant_uid=nobodys")
    await desktop.page.locator("#result[data-view=unknown]").wait_for()
    await check_accessible(desktop.page)
    await take_picture(desktop.page, pictures, "desktop-unknown")


async def test_a_service_that_is_away_is_one_sentence(desktop: Visitor, service: RunningService) -> None:
    """When the order cannot be registered, the page says so and can be used again; no window opens."""
    page = desktop.page
    await page.route("**/shop/api/orders", lambda route: route.fulfill(status=502, json={"error": "away"}))
    await buy(desktop)
    await expect(page.locator("#message")).to_contain_text("서비스가 주문을 등록하지 못했어요.")
    await expect(page.locator("#pay")).to_be_enabled()
    assert (await desktop.sandbox.control("GET", "payments"))["payments"] == []


async def test_the_pictures_of_the_readme(desktop: Visitor, pictures: Path) -> None:
    """The checkout under the window, and the result with its whole timeline, in both languages."""
    page = desktop.page
    for language, suffix in (("en", ""), ("ko", "-ko")):
        await page.set_viewport_size({"width": 1180, "height": 860})
        await page.goto(f"{desktop.sandbox.url}/shop?lang={language}")
        await page.locator("#pay:enabled").click()
        await desktop.window.locator("[data-outcome=paid]").wait_for()
        await take_picture(page, pictures, f"window{suffix}", whole=False)
        await desktop.choose("paid")
        await arrive_at(page, "paid")
        await tells(page, (*OPENED, *ANNOUNCED))
        await tells(page, COMPLETED)
        await page.set_viewport_size({"width": 1180, "height": 1240})
        await take_picture(page, pictures, f"shop{suffix}")


async def test_the_page_reads_the_state_at_the_service_with_a_token(desktop: Visitor, service: RunningService) -> None:
    """The return page asks the service itself, with a token that no address holds, also in a tab that never had one."""
    page = desktop.page
    await buy(desktop)
    await desktop.choose("paid")
    number = await arrive_at(page, "paid")
    asked = [url for url in desktop.requests if url.startswith(f"{service.url}/checkout/")]
    assert set(asked) == {f"{service.url}/checkout/{number}"}
    token = await page.evaluate("(name) => sessionStorage.getItem(name)", f"checkout_token {number}")
    assert not [url for url in desktop.requests if token in url]
    await page.evaluate("sessionStorage.clear()")
    await page.goto(f"{desktop.sandbox.url}/shop/return?merchant_uid={number}")
    assert await arrive_at(page, "paid") == number
